"""A read-only registry of images in the Nix store, for tools that can only pull.

In: images with their names, where layers come from. Out: answers on a socket. Uses `image` and
`registry.http`'s errors.
"""
