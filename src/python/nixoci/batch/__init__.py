"""Many packages at once, since to start Nix takes longer than most of its answers.

In: attribute paths, derivations. Out: derivations, valid outputs, or an error for each that fails; answers in a
directory, where the cached step of each package finds its own. Uses `store`.
"""
