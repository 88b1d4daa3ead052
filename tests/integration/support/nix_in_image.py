"""The monorepo of `examples/nix-in-image`, with Debian's Nix in place of that of nixpkgs."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.integration.support.closures import materialize_debian_closure
from tests.integration.support.monorepo import Monorepo

EXAMPLE = Path(__file__).parents[3] / "examples" / "nix-in-image"

_DEFAULT_NIX = """\
{ system ? builtins.currentSystem }:
let
  debian = import ./debian;
  certificates = derivation {
    name = "ca-bundle.crt";
    inherit system;
    builder = "/bin/sh";
    args = [ "-ec" "/bin/cat ${debian.cacert}/share/ca-certificates/mozilla/*.crt > $out; exit" ];
  };
in
import ./image.nix {
  inherit system certificates;
  inherit (debian) nix bash coreutils;
}
"""

#: What is different in BUILD.
_CHANGES = (
    ('source="flake.nix"', 'source="default.nix"'),
    ('"flake.lock"', '"debian/**"'),
    ('output_format="docker-archive"', 'output_format="oci-layout"'),
)


def write_nix_in_image(repository: Monorepo) -> Path:
    """Writes the example into the directory `nix-in-image`, which is returned.

    It stands alone: `default.nix` evaluates to the packages of the image in the image as well. The
    targets `image` and `unprivileged` are packaged as OCI layouts.
    """
    directory = repository.root / "nix-in-image"
    directory.mkdir()
    shutil.copyfile(EXAMPLE / "image.nix", directory / "image.nix")
    (directory / "default.nix").write_text(_DEFAULT_NIX)
    materialize_debian_closure(directory / "debian")
    targets = (EXAMPLE / "BUILD").read_text()
    for old, new in _CHANGES:
        assert old in targets
        targets = targets.replace(old, new)
    (directory / "BUILD").write_text(targets)
    return directory
