"""The backend `pants_backend_nix.statix`: Nix files without what is better said otherwise.

In: files of targets. Out: results for goals of Pants. Uses `lint` and `register`.
"""
