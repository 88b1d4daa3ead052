"""Images of many packages: what is done at once, and what fails alone."""

from __future__ import annotations

import uuid
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tests.integration.support.nix import machine_nix
from tests.nixoci.store.nix_support import program
from tests.pants_backend_nix.packager_support import Packager

#: What one of many packages can be, and what the error of it says.
BROKEN = {
    "assertion": ("assert 1 == 2; null", "assertion"),
    "recursion": ("let x = x; in x", "infinite recursion encountered"),
    "syntax": ("import ./syntax.nix", "syntax error"),
    "thrown": ('throw "its own words"', "its own words"),
    "undeclared": ("import ../elsewhere.nix", "elsewhere.nix"),
    "fetch": ('import (builtins.fetchTarball "https://example.org/x.tar.gz")', "without a hash"),
    "built": ('run "built" "echo the last words of the build; exit 3"', "the last words of the build"),
    "nothing": ('run "nothing" ":"', "Nix could not build"),
}

_COUNT = 20


def _file(word: str) -> str:
    attributes = "\n".join(f'  p{n} = run "p{n}" "echo {word} {n} > $out";' for n in range(_COUNT))
    broken = "\n".join(f"  {name} = {value};" for name, (value, _) in BROKEN.items())
    return f"""{{ system }}:
let run = name: script: derivation {{
  inherit name system; builder = "/bin/sh"; args = [ "-e" "-c" script ];
}};
in {{
{attributes}
{broken}
  several = derivation {{
    name = "several"; inherit system; builder = "/bin/sh"; outputs = [ "out" "dev" ];
    args = [ "-e" "-c" "echo {word} > $out; echo {word} $out > $dev" ];
  }};
}}
"""


@pytest.fixture(scope="module")
def packages() -> Packager:
    return Packager(machine_nix(), {"many.nix": _file(uuid.uuid4().hex), "syntax.nix": "{"})


def _targets(*broken: str) -> str:
    names = [*(f"p{n}" for n in range(_COUNT)), *broken]
    targets = [f'nix_package(name="{n}", source="many.nix", attr="{n}", dependencies=[":s"])' for n in names]
    return "\n".join([*targets, 'nix_source(name="s", source="syntax.nix")', ""])


def _image(names: list[str], name: str = "image") -> str:
    listed = ", ".join(f'":{name}"' for name in names)
    return f'nix_image(name="{name}", packages=[{listed}], max_layers=30)\n'


def _paths(descriptor: dict[str, Any]) -> set[str]:
    """Returns the names of the store paths in an image."""
    return {
        entry["path"].partition("-")[2]
        for layer in descriptor["layers"]
        for entry in layer["recipe"]["entries"]
    }


def test_many(packages: Packager) -> None:
    descriptor = packages.descriptor(_targets() + _image([f"p{n}" for n in range(_COUNT)]))
    assert _paths(descriptor) == {f"p{n}" for n in range(_COUNT)}


@pytest.mark.parametrize("broken", BROKEN)
def test_one_of_many_fails(packages: Packager, broken: str) -> None:
    """The error names it and nothing else, and says what Nix says of it."""
    names = [f"p{n}" for n in range(_COUNT)]
    error = packages.error(_targets(broken) + _image([*names[:7], broken, *names[7:]]))
    assert f"DIR:{broken}: " in error and BROKEN[broken][1] in error
    assert "DIR:p" not in error


def test_a_closure_that_was_not_left_is_asked_for(packages: Packager, tmp_path: Path) -> None:
    """Who builds leaves closures, and a query that fails then fails nobody; it is made once more."""
    environment = machine_nix().environment()
    nix = which("nix", path=environment["PATH"])
    assert nix is not None
    queries, programs = tmp_path / "queries", tmp_path / "bin"
    script = f"""
if [ "$1" = path-info ]; then
  echo "$$" >>'{queries}'
  if [ "$(wc -l <'{queries}')" -eq 1 ]; then echo "error: Resource temporarily unavailable" >&2; exit 1; fi
fi
exec '{nix}' "$@"
"""
    program(programs, "nix", script)
    (programs / "nix-store").symlink_to(Path(nix).with_name("nix-store"))
    build = """
        nix_package(name="one", source="alone.nix", attr="alone")
        nix_image(name="image", packages=[":one"])
    """
    packages.files["alone.nix"] = _file(uuid.uuid4().hex).replace("several", "alone")
    path = f"{programs}:{environment['PATH']}"
    assert _paths(packages.descriptor(build, environment={"PATH": path})) == {"alone"}
    assert len(queries.read_text().splitlines()) == 2


def test_one_attribute_for_several_targets(packages: Packager) -> None:
    """As outputs of one derivation, and under two names."""
    build = """
        nix_package(name="one", source="many.nix", attr="several")
        nix_package(name="other", source="many.nix", attr="several", outputs=["dev"])
        nix_package(name="both", source="many.nix", attr="several", outputs=["out", "dev"])
        nix_image(name="image", packages=[":one", ":other", ":both"])
    """
    assert _paths(packages.descriptor(build)) == {"several", "several-dev"}


def test_systems_are_apart(packages: Packager) -> None:
    """One file, evaluated for two systems in one command."""
    build = """
        nix_package(name="p", source="many.nix", attr="p1")
        nix_package(name="q", source="many.nix", attr="p1", system="aarch64-linux")
        nix_image(name="image", packages=[":p", ":q"])
    """
    error = packages.error(build)
    assert "aarch64-linux" in error and "DIR:q" in error
