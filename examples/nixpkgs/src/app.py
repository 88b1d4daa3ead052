"""Says hello from an image."""

import platform

print(f"Hello from Python {platform.python_version()} out of nixpkgs")
