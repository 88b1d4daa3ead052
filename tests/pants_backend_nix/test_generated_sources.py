"""What other targets generate, as sources of a Nix package: beside the files of the repository, and in their places."""

from __future__ import annotations

import uuid

import pytest

from tests.integration.support.nix import machine_nix
from tests.pants_backend_nix.packager_support import Packager

_NIX = """
derivation {
  name = "generated"; system = "x86_64-linux"; builder = "/bin/sh";
  text = builtins.readFile PATH;
  args = [ "-e" "-c" "echo $text WORD > $out" ];
}
"""

_MADE = 'shell_command(name="made", command="echo generated > made.txt", tools=["echo"], output_files=["made.txt"])'


@pytest.fixture(scope="module")
def packager() -> Packager:
    return Packager(machine_nix(), {"static.txt": "static"})


def _build(source: str, depends: str, *targets: str) -> str:
    return "\n".join(
        [
            *targets,
            f'nix_package(name="package", source="{source}", dependencies=["{depends}"])',
            'nix_image(name="image", packages=[":package"])',
        ]
    )


@pytest.mark.parametrize(
    "path, targets",
    [
        ("./made.txt", (_MADE,)),
        (
            "./moved/static.txt",
            (
                'file(name="static", source="static.txt")',
                'relocated_files(name="made", files_targets=[":static"], src="DIR", dest="DIR/moved")',
            ),
        ),
        (
            "./made.txt",
            (_MADE.replace('"made"', '"first"'), 'target(name="made", dependencies=[":first"])'),
        ),
    ],
    ids=["shell_command", "relocated_files", "of a dependency"],
)
def test_generated_files(packager: Packager, path: str, targets: tuple[str, ...]) -> None:
    """The evaluation reads them as if they were there."""
    packager.files["default.nix"] = _NIX.replace("PATH", path).replace("WORD", uuid.uuid4().hex)
    descriptor = packager.descriptor(_build("default.nix", ":made", *targets))
    (layer,) = descriptor["layers"]
    assert [entry["path"][44:] for entry in layer["recipe"]["entries"]] == ["generated"]


def test_a_generated_file_that_is_not_among_the_dependencies(packager: Packager) -> None:
    """It is in no directory, and the error says what to do."""
    packager.files["default.nix"] = _NIX.replace("PATH", "./made.txt")
    error = packager.error(_build("default.nix", ":other", _MADE, 'target(name="other")'))
    assert "made.txt" in error and "No target owns it" in error
    assert "`dependencies`" in error
