"""The split by expected cost, step by step: what an update is expected to move, and less of it.

In: a closure graph with change rates. Out: groups of store paths. Uses `store` and `layering.preferences`.
"""
