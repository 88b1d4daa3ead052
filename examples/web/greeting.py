"""What the service says."""


def greeting(path: str) -> str:
    """Returns a greeting for who is named by the path of a request."""
    return f"Hello, {path.strip('/') or 'world'}!\n"
