"""Options of the scope `[deadnix]`."""

from __future__ import annotations

from pants.option.option_types import ArgsListOption, BoolOption, SkipOption
from pants.util.strutil import softwrap

from pants_backend_nix.lint.tool import NixFilesTool


class Deadnix(NixFilesTool):
    options_scope = "deadnix"
    name = "deadnix"
    default_program = "deadnix"
    help = softwrap(
        """
        Finds what nothing uses in Nix files (https://github.com/astro/deadnix): `deadnix --fail` with the goal `lint`,
        and `deadnix --edit` with the goal `fix` if the option `fix` says so.
        """
    )

    skip = SkipOption("lint", "fix")
    args = ArgsListOption(example="--no-lambda-pattern-names")
    fix = BoolOption(
        default=False,
        help="If true, the goal `fix` takes out what nothing uses, as `deadnix --edit` does.",
    )
