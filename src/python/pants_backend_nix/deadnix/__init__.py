"""The backend `pants_backend_nix.deadnix`: Nix files without what nothing uses.

In: files of targets. Out: results for goals of Pants. Uses `lint` and `register`.
"""
