"""Layers and config → image: config, manifest, descriptor, and the forms that hold all bytes.

In: layers, an image config, names. Out: `Image`, the descriptor in `dist/`, OCI layouts and archives. Uses
`layer`, `recipe` and `store`.
"""
