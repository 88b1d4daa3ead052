"""Reading from registries: manifests, and blobs as streams that go on where they broke off.

In: repositories, digests, credentials of the machine. Out: verified bytes. Uses `registry.session` and what
is below it, `image` and `layer`.
"""
