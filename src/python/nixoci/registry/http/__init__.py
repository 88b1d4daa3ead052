"""One request to a registry and its answer: connections, TLS, proxies, what is tried again.

In: a URL, headers, a body. Out: `Answer`, or an error that says what to do. Uses `registry.address`,
`settings` and `errors`.
"""
