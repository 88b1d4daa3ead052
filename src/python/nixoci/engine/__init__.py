"""Container engines: getting images into podman or docker without an archive, and running them.

In: a descriptor, where its layers come from. Out: an image in the engine, a container that ends. Uses
`registry` (its server) and `image`.
"""
