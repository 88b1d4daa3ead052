"""Facts of an image's layers for people and scripts: as a table, JSON, or a page.

In: layers with their recipes, a closure graph, perhaps an older image. Out: text. Uses `image`, `layering`
and `recipe`.
"""
