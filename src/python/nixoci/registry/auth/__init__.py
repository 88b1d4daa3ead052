"""Who asks: credentials of docker and podman, and the tokens that registries make of them.

In: files and programs that keep credentials, a registry's challenge. Out: an `Authorization` header. Uses
`registry.http`.
"""
