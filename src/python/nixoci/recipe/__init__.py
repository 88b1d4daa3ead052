"""What layers are made of: the values that are stored and cached in place of layers.

In: store paths with hashes, registrations. Out: `LayerRecipe`, `DatabaseRecipe`, and their JSON. Uses
`store`.
"""
