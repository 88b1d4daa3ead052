"""Images that others made, as the lowest layers of ours: read, chosen by platform, inherited from.

In: manifests and configs of any tool, where they are. Out: `BaseImage`, and the config that an image on top of
it has. Uses `image`, and `registry` to fetch.
"""
