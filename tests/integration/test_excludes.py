"""Images with `excludes`: what is in them, and that the rest of the commands know of it."""

from __future__ import annotations

from pathlib import Path

from tests.integration.support import engines
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.store_images import nixoci

_NIX = """\
{ system }:
derivation {
  name = "app";
  inherit system;
  builder = "/bin/sh";
  args = [ "-ec" ''
    /bin/mkdir -p $out/bin $out/lib/test $out/share/man/man1
    for file in bin/app lib/a.py lib/test/a.py lib/a.a share/man/man1/app.1; do
      echo $file > $out/$file
    done
  '' ];
}
"""

_BUILD = """\
nix_package(name="app", source="default.nix")
nix_image(
    name="image",
    packages=[":app"],
    copy_to_root=[":app"],
    excludes=["share/man/**", "**/test", "**/*.a"],
    image_tags=["test"],
    output_format="oci-layout",
)
"""


def test_an_image_has_less_than_the_store(machine_nix: Nix, tmp_path: Path) -> None:
    """In its store as at its root; it verifies, and its layers are shown."""
    monorepo = Monorepo.create(tmp_path / "repository", machine_nix)
    monorepo.write("app/default.nix", _NIX)
    monorepo.write("app/BUILD", _BUILD)
    monorepo.pants("package", "app:image")
    descriptor = monorepo.descriptor("app/image.image.json")
    (path,) = {e["path"] for layer in descriptor["layers"] for e in layer["recipe"]["entries"]}
    rootfs = engines.umoci_unpack(monorepo.root / "dist/app/image", "test", tmp_path / "bundle")
    expected = ["bin", "bin/app", "lib", "lib/a.py", "share", "share/man"]
    top = Path(f"{rootfs}{path}")
    assert sorted(p.relative_to(top).as_posix() for p in top.rglob("*")) == expected
    at_root = [p.relative_to(rootfs).as_posix() for p in rootfs.rglob("*")]
    assert sorted(name for name in at_root if name.split("/")[0] != "nix") == expected
    nixoci(machine_nix, "verify", monorepo.root / "dist/app/image.image.json")
    assert "less what is excluded" in monorepo.pants("nix-layers", "app:image").stdout
