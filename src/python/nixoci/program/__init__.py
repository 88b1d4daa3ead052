"""Programs that are run on files: those of packages in the store, and those that the machine has.

In: where a program is, its arguments, a directory. Out: what it printed, its status, and what it made of the
files. Uses `store`.
"""
