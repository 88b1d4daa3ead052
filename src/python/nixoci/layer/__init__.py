"""Recipe → layer: digested, written with verification, compressed, kept.

In: recipes, a store or a file that keeps a layer. Out: `Layer` (digest, size, diff ID), and its bytes to
whoever asks. Uses `compression`, `processes`, `tar`, `recipe` and `store`.
"""
