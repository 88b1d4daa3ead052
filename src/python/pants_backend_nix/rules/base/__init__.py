"""Base images in registries: which one is meant, and what its manifest and its config say.

In: addresses of `oci_base_image` targets, platforms. Out: `FoundBase`, without any layer. Uses `core` and `registry`.
"""
