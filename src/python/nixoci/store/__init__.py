"""The Nix store: store paths, closures, registrations, names on the disk, and running Nix.

In: Nix files, store paths, what Nix prints. Out: `StorePath`, `Derivation`, `ClosureGraph`,
`Registrations`. Uses no other room.
"""
