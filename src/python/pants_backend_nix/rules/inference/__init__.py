"""Text of Nix files → the targets that they read.

In: the text of a Nix file, and the files that targets own. Out: the dependencies of `nix_source` and
`nix_package`, and who owns a file that an evaluation lacked. `grammar`, `values`, `calls`, `paths`, `flake`
and `references` are functions of a text, without Pants and without Nix. Uses `targets` and `options`, and no
other room of rules.
"""
