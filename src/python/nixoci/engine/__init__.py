"""Container engines: getting images into podman or docker without an archive, and running them."""
