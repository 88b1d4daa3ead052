"""`pants tailor` on directories with Nix files, in the real Pants."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix

_LIB = "{ word = builtins.readFile ./word.txt; }"
_PACKAGE = """\
{ system }: derivation {
  name = "p"; inherit system; builder = "/bin/sh"; word = (import ../lib/lib.nix).word;
  args = [ "-c" "echo $word > $out" ];
}
"""
_FLAKE = """\
{ outputs = { self }: { packages.x86_64-linux.default = import ./package.nix { system = "x86_64-linux"; }; }; }
"""

#: Projects as they are found, with what makes an image of each.
_FILES = {
    "lib/lib.nix": _LIB,
    "lib/word.txt": "word",
    "a/default.nix": _PACKAGE,
    "b/b.nix": _PACKAGE,
    "b/shell.nix": "{ }",
    "c/flake.nix": _FLAKE,
    "c/flake.lock": '{"nodes": {"root": {}}, "root": "root", "version": 7}',
    "c/package.nix": _PACKAGE.replace("(import ../lib/lib.nix).word", '"c"'),
    "d/nested/deep/x.nix": "{ }",
    "e/owned.nix": "{ }",
    "e/BUILD": 'nix_sources(name="mine", sources=["*.nix"])\n',
    "f/flake.lock": "{}",
    "g/README.md": "no Nix",
}

_IMAGES = {
    "lib/BUILD": '\nfile(name="word", source="word.txt")\n',
    "a/BUILD": '\nnix_package(name="p", source="default.nix")\nnix_image(name="image", packages=[":p"])\n',
    "b/BUILD": '\nnix_package(name="p", source="b.nix")\nnix_image(name="image", packages=[":p"])\n',
    "c/BUILD": '\nnix_package(name="p", source="flake.nix", system="x86_64-linux")\nnix_image(name="image", packages=[":p"])\n',
}


@pytest.fixture(scope="module")
def monorepo(machine_nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> Monorepo:
    found = Monorepo.create(tmp_path_factory.mktemp("tailor"), machine_nix)
    for name, text in _FILES.items():
        found.write(name, text)
    return found


def _targets(monorepo: Monorepo) -> dict[str, str]:
    return {
        str(path.parent.relative_to(monorepo.root)): path.read_text()
        for path in sorted(monorepo.root.rglob("BUILD"))
    }


def test_from_files_to_images(monorepo: Monorepo) -> None:
    """Each directory with Nix files gets a target, once; packages and images find their files by it."""
    check = monorepo.pants("tailor", "--check", "::", check=False)
    assert check.result.returncode == 1
    monorepo.pants("tailor", "::")
    generated = 'nix_sources(\n    name="nix",\n)'
    targets = _targets(monorepo)
    assert {name for name, text in targets.items() if generated in text} == {
        *("a", "b", "c", "d/nested/deep", "lib")
    }
    assert targets["e"] == _FILES["e/BUILD"] and "f" not in targets and "g" not in targets
    again = monorepo.pants("tailor", "--check", "::")
    assert _targets(monorepo) == targets and again.stdout == ""
    for name, text in _IMAGES.items():
        path = monorepo.root / name
        path.write_text(path.read_text() + text)
    monorepo.pants("package", "::")
    for name in "abc":
        assert monorepo.descriptor(f"{name}/image.image.json")["layers"]
    monorepo.pants("tailor", "--check", "update-build-files", "--check", "--no-update-build-files-fmt", "::")


def test_it_can_be_turned_off(machine_nix: Nix, tmp_path: Path) -> None:
    other = Monorepo.create(tmp_path, machine_nix)
    other.write("a/x.nix", "{ }")
    other.pants("--no-nix-tailor", "tailor", "--check", "::")
    assert _targets(other) == {}
