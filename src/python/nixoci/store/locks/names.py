"""Names of the files of a flake."""

from __future__ import annotations

FLAKE = "flake.nix"
FLAKE_LOCK = "flake.lock"
