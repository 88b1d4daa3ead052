"""The target `nix_image_index`, and what it depends on.

In: BUILD files. Out: fields, addresses of images. Uses `targets`, `targets.fields`.
"""
