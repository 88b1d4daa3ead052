"""Python programs as plain directory trees: what pex laid out, with bytecode and without traces of where.

In: a flat tree of installed distributions, an interpreter in a Nix store. Out: a virtual environment for
a place in the image. Uses `store`.
"""
