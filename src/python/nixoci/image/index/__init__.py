"""Images for several platforms → one index, its descriptor, and the image for a platform.

In: images, annotations, names. Out: `ImageIndex`, the descriptor of an index, the image that a machine takes. Uses
`image`, but for what writes images.
"""
