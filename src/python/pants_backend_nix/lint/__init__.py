"""What formatters and linters of Nix files have in common.

In: the options of a tool, targets with Nix files. Out: the files that it is for, where its program is, and what
that made of them. Uses `rules` and `targets`.
"""
