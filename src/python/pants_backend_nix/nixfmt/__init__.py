"""The backend `pants_backend_nix.nixfmt`: Nix files are formatted, and held against that by `lint`.

In: files of targets. Out: results for goals of Pants. Uses `lint` and `register`.
"""
