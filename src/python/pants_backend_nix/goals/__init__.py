"""Goals: `package`, `publish`, `run` and `nix-layers` for images and layers.

In: field sets of targets. Out: what the goals of Pants ask for. Uses `rules`.
"""
