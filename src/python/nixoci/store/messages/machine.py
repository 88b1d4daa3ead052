"""What Nix says where no machine can build a derivation → what that derivation wants."""

from __future__ import annotations

import re
from dataclasses import dataclass

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

#: How versions of Nix say that no machine can build a derivation (libstore, derivation-building-goal.cc): until
#: 2.28; from then on; and since 2.32, where only features are missing.
_NO_MACHINE = (
    re.compile(
        r"^ *error: a '(?P<system>[^'\n]+)' with features \{(?P<features>[^}\n]*)\} is required to build "
        r"'(?P<drv>[^'\n]+)', but I am a '(?P<machine>[^'\n]+)'",
        re.MULTILINE,
    ),
    re.compile(
        r"^ *error: Cannot build '(?P<drv>[^'\n]+)'\.\s+Reason: [^\n]*\s+Required system: '(?P<system>[^'\n]+)'"
        r"(?: with features \{(?P<features>[^}\n]*)\})?\s+Current system: '(?P<machine>[^'\n]+)'",
        re.MULTILINE,
    ),
    re.compile(
        r"^ *error: Cannot build '(?P<drv>[^'\n]+)'\.\s+Reason: [^\n]*\s+"
        r"Required features: \{(?P<features>[^}\n]*)\}",
        re.MULTILINE,
    ),
)


@dataclass(frozen=True)
class MissingMachine:
    """What Nix wants of a machine that builds a derivation, and does not find.

    :param drv_path: the derivation.
    :param system: that it is for; empty if only features are missing.
    :param machine: the system of this machine, likewise.
    :param features: that it needs (`requiredSystemFeatures`).
    """

    drv_path: str
    system: str
    machine: str
    features: str

    @property
    def why(self) -> str:
        """What the derivation is or needs, to follow its name."""
        if self.system:
            return f"is for {self.system}, and this machine is {self.machine}"
        return f"needs a machine with the features {{{self.features}}}, not all of which this one has"

    @property
    def way_out(self) -> str:
        """What the user can do, as sentences."""
        if self.system:
            return (
                f"Nix needs a remote builder for {self.system} (`builders` in nix.conf), emulation on this machine "
                f"(QEMU by binfmt_misc, and `extra-platforms = {self.system}` in nix.conf), or a substituter that has "
                "what is built."
            )
        return (
            "Give Nix a remote builder that has them (`builders` in nix.conf), or add them to `system-features` in "
            "nix.conf if this machine has them."
        )


def missing_machine(text: str) -> Optional[MissingMachine]:
    """Returns what Nix wants of a machine and does not find, if that is why it has failed.

    :param text: what Nix has printed.
    """
    for pattern in _NO_MACHINE:
        found = pattern.search(text)
        if found is not None:
            facts = found.groupdict()
            system, machine = facts.get("system") or "", facts.get("machine") or ""
            if system == machine:
                system = machine = ""
            return MissingMachine(facts["drv"], system, machine, facts["features"] or "")
    return None
