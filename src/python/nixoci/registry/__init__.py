"""Container registries (OCI distribution specification): pushing images, and serving them."""
