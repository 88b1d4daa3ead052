"""The command line `nixoci`: one command for each step of the flow.

In: arguments and files. Out: files, lines, an exit status that a caller can act on. Uses every room, each
command only what it needs.
"""
