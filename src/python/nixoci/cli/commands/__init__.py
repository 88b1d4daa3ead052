"""The commands, a module for each kind of thing that they work on.

In: parsed options. Out: files, lines, an exit status. What a command needs is imported when it runs.
"""
