"""Entry point of the backend: `backend_packages = ["pants_backend_nix", "pants_backend_nix.nixfmt"]`."""

from __future__ import annotations

from pants_backend_nix import register as nix
from pants_backend_nix.lint import files, program, run
from pants_backend_nix.nixfmt import rules as nixfmt
from pants_backend_nix.nixfmt import skip_field


def rules():
    # Those of the plugin are the same ones, however many backends bring them.
    modules = (nix, program, files, run, skip_field, nixfmt)
    return [rule for module in modules for rule in module.rules()]
