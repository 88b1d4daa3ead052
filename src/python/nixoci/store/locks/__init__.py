"""Lock files of flakes.

In: the text of a `flake.lock`, or a copy of a flake. Out: what is locked, what has moved between two lock files, and
lock files that Nix has updated. Uses `store`.
"""
