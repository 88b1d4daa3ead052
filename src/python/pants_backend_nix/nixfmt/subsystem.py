"""Options of the scope `[nixfmt]`."""

from __future__ import annotations

from pants.option.option_types import ArgsListOption, SkipOption
from pants.util.strutil import softwrap

from pants_backend_nix.lint.tool import NixFilesTool


class Nixfmt(NixFilesTool):
    options_scope = "nixfmt"
    name = "nixfmt"
    default_program = "nixfmt"
    help = softwrap(
        """
        The formatter of Nix files (https://github.com/NixOS/nixfmt), or another one that formats the files that it is
        given in place: nixpkgs-fmt, alejandra.
        """
    )

    skip = SkipOption("fmt", "lint")
    args = ArgsListOption(example="--width=120")
