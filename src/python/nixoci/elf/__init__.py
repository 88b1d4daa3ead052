"""ELF files: what they need, what the Nix store has of it, and what an image lacks.

In: files, store paths, the paths of an image. Out: `ElfFacts`, `StoreLibraries`, `Missing`. Uses `store`. Reads
ELF files with a package (pyelftools), when one is read.
"""
