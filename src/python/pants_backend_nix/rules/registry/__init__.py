"""How registries are spoken to: what the options say of them, and the environment with credentials and proxies.

In: options, variables. Out: `RegistryOptions`, and an environment that is in no cache. Uses `targets` and `options`.
"""
