"""Closure → layers: what a layer target holds, and its split over OCI layers.

In: a closure graph, what is ignored, a budget of layers, preferences. Out: `Contents`, a `Split`, layer
recipes. Pure functions. Uses `recipe` and `store`.
"""
