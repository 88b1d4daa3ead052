"""Options of the scope `[statix]`."""

from __future__ import annotations

from pants.option.option_types import ArgsListOption, BoolOption, FileOption, SkipOption
from pants.util.strutil import softwrap

from pants_backend_nix.lint.tool import NixFilesTool


class Statix(NixFilesTool):
    options_scope = "statix"
    name = "statix"
    default_program = "statix"
    help = softwrap(
        """
        Lints for Nix files (https://github.com/oppiliappan/statix): `statix check` with the goal `lint`, and
        `statix fix` with the goal `fix` if the option `fix` says so.
        """
    )

    skip = SkipOption("lint", "fix")
    args = ArgsListOption(example="--ignore=*.gen.nix")
    fix = BoolOption(
        default=False,
        help="If true, the goal `fix` changes files as `statix fix` does.",
    )
    config = FileOption(
        default=None,
        advanced=True,
        help=softwrap(
            """
            Path to the configuration file of statix, relative to the build root. By default `statix.toml` at the
            build root, if it is there; others are not read.
            """
        ),
    )
