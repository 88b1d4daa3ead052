"""How registries are spoken to: what options say of them, and the environment with credentials and proxies.

In: options. Out: settings of registries, variables. Uses `core`'s neighbours `options` and `targets` alone.
"""
