"""A `pex_binary` laid out in layers that does not fit, and what makes it fit: interpreters and libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support.engines import run_in_bwrap, umoci_unpack
from tests.integration.support.nix import Nix
from tests.integration.support.pex_clone import Clone, pex_clone
from tests.integration.support.pex_monorepo import SITE, older_python, paths_of


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Iterator[Clone]:
    """A machine that has packaged nothing yet."""
    directory = tmp_path_factory.mktemp("here")
    with pex_clone(directory, machine_nix, directory / "wheels") as clone:
        yield clone


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("for_mac", ["do not fit the Python 3.11.2", "native", "macosx_11_0_arm64"]),
        ("for_musl", ["do not fit the Python 3.11.2", "native", "musllinux_1_1_x86_64"]),
        ("inherits", ["`inherit_path` has no meaning"]),
        ("no_script", ["has the script 'nothing'", "They have: tool."]),
        ("unknown", ["interpreter='/usr/bin/python3'", "`complete_platforms`"]),
    ],
)
def test_what_does_not_fit_is_an_error(here: Clone, name: str, words: list[str]) -> None:
    """When the image is packaged: the target, the field, and what is wrong."""
    run = here.pants("package", f"app:image-{name}", check=False)
    assert run.result.returncode
    for word in [*words, f"app:image-{name}", "`contents`"]:
        assert word in run.error, run.error


def test_an_interpreter_of_another_version_is_an_error(here: Clone) -> None:
    """Also if all requirements are Python."""
    constraint, place = older_python()
    run = here.pants(
        f"--python-interpreter-constraints=['{constraint}']",
        f"--python-bootstrap-search-path=['{place}']",
        "package",
        "app:image-sources",
        check=False,
    )
    assert run.result.returncode, run.stderr
    for word in (constraint, "Python 3.11.2", "app:image-sources", "`interpreter_constraints`"):
        assert word in run.error, run.error


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "needs_library",
            [f"libstdc++.so.6, for {SITE}/needy.so", "`packages`", "LD_LIBRARY_PATH"],
        ),
        ("no_loader", ["/lib64/ld-linux-x86-64.so.2, for /bin/true", "symlinks"]),
    ],
)
def test_a_missing_library_is_an_error(here: Clone, name: str, words: list[str]) -> None:
    """It names the image, the file, what is missing, and what can be done."""
    run = here.pants("package", f"app:image-{name}", check=False)
    assert run.result.returncode
    for word in [*words, f"app:image-{name}", "`contents`", "`ignore_missing_libraries`"]:
        assert word in run.error, run.error


def test_libraries_that_are_there(here: Clone, tmp_path: Path) -> None:
    """By LD_LIBRARY_PATH and a link for the loader; and one that the container gets from elsewhere."""
    here.pants(
        "package",
        *(f"app:image-{name}" for name in ("has_library", "ignores_library", "has_loader")),
    )
    layout = here.machine.monorepo.root / "dist" / "app" / "image-has_loader"
    tree = umoci_unpack(layout, "latest", tmp_path / "tree")
    (variable,) = here.descriptor("has_loader")["config"]["config"]["Env"]
    name, _, value = variable.partition("=")
    run_in_bwrap(tree, ["/bin/true"], env={name: value})
    # Without it, the container would say so.
    assert run_in_bwrap(tree, ["/bin/true"], check=False).returncode == 127


def test_an_interpreter_at_a_plain_path(here: Clone, tmp_path: Path) -> None:
    """Copied to the root, or the end of links: it is found in its package, and makes the bytecode."""
    here.pants("package", "app:image-copied", "app:image-linked")
    for name in ("copied", "linked"):
        paths = paths_of(here.descriptor(name))
        assert f"{SITE}/app/__pycache__/plain.cpython-311.pyc" in paths
    layout = here.machine.monorepo.root / "dist" / "app" / "image-linked"
    tree = umoci_unpack(layout, "latest", tmp_path / "tree")
    assert run_in_bwrap(tree, ["/app/pex"]).stdout == "plain\n"


def test_an_interpreter_that_is_not_in_the_image_yet(here: Clone) -> None:
    """The platform says what it takes; what its bytecode is like nobody can know."""
    here.pants("package", "app:image-foreign")
    paths = paths_of(here.descriptor("foreign"))
    assert paths["/app/bin/python3"]["target"] == "/usr/bin/python3"
    assert f"{SITE}/app/plain.py" in paths
    assert not any(path.endswith(".pyc") for path in paths)
