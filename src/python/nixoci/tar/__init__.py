"""Recipe → tar: the bytes of a layer, the same for the same recipe, everywhere and always.

In: a recipe, and the store that it names. Out: a stream through one buffer. Uses `database`, `recipe` and
`store`.
"""
