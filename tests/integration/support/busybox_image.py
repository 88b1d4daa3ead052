"""Targets of an image that runs in any engine: one static busybox, in one store path."""

from __future__ import annotations

import shutil

from tests.integration.support.images import static_busybox
from tests.integration.support.monorepo import Monorepo

_NIX = """\
{ system }:
derivation {
  name = "busybox";
  inherit system;
  program = builtins.path { path = ./busybox; name = "busybox-program"; };
  builder = "/bin/sh";
  args = [ "-ec" "/bin/mkdir $out; /bin/cp $program $out/sh; /bin/chmod +x $out/sh; exit 0" ];
}
"""

_BUILD = """\
files(name="program", sources=["busybox"])
nix_package(name="busybox", source="default.nix", dependencies=[":program"])
nix_image(name="image", packages=[":busybox"], entrypoint=["{busybox}/sh", "-c"])
"""


def write_busybox_image(monorepo: Monorepo, directory: str) -> None:
    """Writes the target `image`, whose argument is a shell script, and what it is made of."""
    monorepo.write(f"{directory}/default.nix", _NIX)
    monorepo.write(f"{directory}/BUILD", _BUILD)
    shutil.copyfile(static_busybox(), monorepo.root / directory / "busybox")
