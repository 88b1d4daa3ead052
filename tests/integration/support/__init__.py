"""What integration tests share: real Nix, real closures, real engines, a real registry.

Expensive things (packages, a newer Nix) are made once, kept in the user's cache directory and
used again by every later run; see `cache.py`.
"""
