"""Container registries (OCI distribution specification): pushing images, and asking for them.

In: an image, where its layers come from, names, credentials of the machine. Out: requests; what was sent
and why. Uses `image`; has the rooms `http`, `auth`, `server` and
`batch`.
"""
