"""Entry point of the backend: `backend_packages = ["pants_backend_nix", "pants_backend_nix.deadnix"]`."""

from __future__ import annotations

from pants_backend_nix import register as nix
from pants_backend_nix.deadnix import rules as deadnix
from pants_backend_nix.deadnix import skip_field
from pants_backend_nix.lint import files, program, run


def rules():
    # Those of the plugin are the same ones, however many backends bring them.
    modules = (nix, program, files, run, skip_field, deadnix)
    return [rule for module in modules for rule in module.rules()]
