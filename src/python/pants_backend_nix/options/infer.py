"""Options of the scope `[nix-infer]`: dependencies that Pants finds in Nix files."""

from __future__ import annotations

from enum import Enum

from pants.option.option_types import BoolOption, EnumOption
from pants.option.subsystem import Subsystem
from pants.util.strutil import softwrap

#: In a comment at the end of a line: its paths are no dependencies.
NO_INFERENCE = "pants: no-infer-dep"


class UnownedPathBehavior(Enum):
    """What happens when no target has the files of a path. The values are those of `[python-infer]`."""

    RaiseError = "error"
    LogWarning = "warning"
    DoNothing = "ignore"


class NixInferSubsystem(Subsystem):
    options_scope = "nix-infer"
    help = "Options controlling which dependencies will be inferred for Nix files."

    paths = BoolOption(
        default=True,
        help=softwrap(
            f"""
            Infer the dependencies of `nix_source` and `nix_package` targets by parsing their Nix files: imports,
            files and directories that they name, inputs of a flake that are paths, and the lock file. No Nix is
            needed for it.

            To ignore a false positive, you can either put `# {NO_INFERENCE}` on the line of the path or put
            `!{{bad_address}}` in the `dependencies` field of your target.
            """
        ),
    )
    unowned_dependency_behavior = EnumOption(
        default=UnownedPathBehavior.LogWarning,
        help=softwrap(
            f"""
            How to handle paths of Nix files that no target owns.

            Usually evaluation fails at such a path, as it sees only the files of dependencies; the warning says so
            before. To ignore one, put `# {NO_INFERENCE}` on its line. A path that the file asks for with
            `builtins.pathExists` is never reported, and neither are single files of a directory.
            """
        ),
    )
