"""A `pex_binary` as a directory tree in layers: its requirements, its sources, and bytecode of both.

In: a target, a place in the image, an interpreter of the image. Out: entries for layers of files. Uses
`core`, and of `flow` nothing but the tree of an own target.
"""
