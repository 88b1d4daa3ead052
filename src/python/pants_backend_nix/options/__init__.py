"""Options: the scopes `[nix]` and `[nix-images]`.

In: `pants.toml`, flags. Out: checked values. Uses no other room.
"""
