"""Builds OCI images from Nix store closures without layer archives. Standard library only."""
