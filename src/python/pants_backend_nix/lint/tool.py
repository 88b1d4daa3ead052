"""Options that each tool for Nix files has, and how its program is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pants.option.option_types import StrOption
from pants.option.subsystem import Subsystem
from pants.util.strutil import softwrap


@dataclass(frozen=True)
class Tool:
    """Which program a tool is.

    :param scope: of its options; its name.
    :param program: a name, or an absolute path.
    :param package: address of the `nix_package` that has it; empty: this machine has it.
    """

    scope: str
    program: str
    package: str


class NixFilesTool(Subsystem):
    """Base of the options of a tool."""

    default_program: ClassVar[str]

    program = StrOption(
        default=lambda cls: cls.default_program,
        help=lambda cls: softwrap(
            f"""
            The program, as a name that is looked for in the directories of `[nix].search_path`, or as an absolute
            path. With `[{cls.options_scope}].package`, its name in the directory `bin` of the package.
            """
        ),
    )
    package = StrOption(
        default=None,
        help=lambda cls: softwrap(
            f"""
            The address of a `nix_package` that has the program, such as `//tools:{cls.options_scope}`. So
            everybody has the same version. It is built only when files have to be looked at that no cache
            knows. Its system must be that of the machine that runs Pants.
            """
        ),
    )

    @property
    def tool(self) -> Tool:
        return Tool(self.options_scope, self.program, self.package or "")
