"""The stations of the flow: evaluate, closure, subtract, split, digest, compress, register.

In: one request of its own for each station. Out: a frozen value of the core. Uses `rules.core`.
"""
