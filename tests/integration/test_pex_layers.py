"""A `pex_binary` laid out in layers: it does what its PEX file does, it fits, and it is the same everywhere."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import Callable, Iterator

import pytest

from tests.integration.support.engines import run_in_bwrap, umoci_unpack
from tests.integration.support.machines import Machine
from tests.integration.support.nix import Nix
from tests.integration.support.pex_clone import Clone, pex_clone
from tests.integration.support.pex_monorepo import (
    RUN,
    SITE,
    paths_of,
    write_pex_monorepo,
)
from tests.integration.support.remote_cache import RemoteCache, remote_cache


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteCache]:
    with remote_cache(tmp_path_factory.mktemp("remote-cache")) as running:
        yield running


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all machines have in the place of a package index: its address is in cache keys of Pants."""
    return tmp_path_factory.mktemp("index") / "wheels"


@pytest.fixture(scope="module")
def here(
    tmp_path_factory: pytest.TempPathFactory,
    machine_nix: Nix,
    cache: RemoteCache,
    wheels: Path,
) -> Iterator[Clone]:
    """A machine that has packaged the images that run, and written the remote cache."""
    directory = tmp_path_factory.mktemp("here")
    with pex_clone(directory, machine_nix, wheels, *cache.options) as clone:
        names = (*RUN, "stable_abi", "for_several")
        clone.pants("package", *(f"app:image-{name}" for name in names))
        yield clone


@pytest.fixture(scope="module")
def trees(here: Clone, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the root file system of an image."""
    directory = tmp_path_factory.mktemp("trees")

    @functools.lru_cache(None)
    def unpacked(name: str) -> Path:
        layout = here.machine.monorepo.root / "dist" / "app" / f"image-{name}"
        return umoci_unpack(layout, "latest", directory / name)

    return unpacked


@pytest.mark.parametrize("name", ["module", "function", "script", "sources", "library"])
def test_it_does_what_its_pex_does(
    here: Clone, trees: Callable[[str], Path], name: str
) -> None:
    """Arguments, environment, resources, namespaces, a file of two distributions, exit status."""
    expected = here.pants("run", f"app:{name}", "--", "a b", "--c", check=False)
    assert expected.stdout, expected.stderr
    found = run_in_bwrap(trees(name), ["/app/pex", "a b", "--c"], check=False)
    assert found.stdout == expected.stdout, found.stderr
    assert found.returncode == expected.result.returncode


def test_variables_of_the_container_count_more_than_those_of_the_pex(
    trees: Callable[[str], Path],
) -> None:
    """As in a PEX file: its `env` has what is not set."""
    variables = {"SET": "by the user"}
    found = run_in_bwrap(trees("function"), ["/app/pex"], env=variables, check=False)
    facts = json.loads(found.stdout)
    assert (facts["set"], facts["greeting"]) == ("by the user", "hello")


def test_without_an_entry_point_it_is_an_interpreter(trees: Callable[[str], Path]) -> None:
    """As a PEX file is."""
    command = ["/app/pex", "-c", "import sys, tool, space.own; print(sys.prefix)"]
    found = run_in_bwrap(trees("requirements"), command, check=False)
    assert "No module named 'space.own'" in found.stderr
    command[-1] = command[-1].replace(", space.own", "")
    assert run_in_bwrap(trees("requirements"), command).stdout == "/app\n"


def test_processes_of_a_program_have_its_modules(trees: Callable[[str], Path]) -> None:
    """`sys.executable` starts an interpreter with the same modules, and scripts start."""
    text = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'app.main'], check=True)"
    tree = trees("module")
    assert '"shared": "of one"' in run_in_bwrap(tree, ["/app/bin/python3", "-c", text]).stdout
    assert run_in_bwrap(tree, ["/app/bin/tool", "x"]).stdout == "tool x\n"


def test_all_is_compiled(here: Clone, trees: Callable[[str], Path]) -> None:
    """Bytecode of own modules and requirements is there and used; what is no Python has none."""
    paths = paths_of(here.descriptor("module"))
    assert f"{SITE}/app/__pycache__/main.cpython-311.pyc" in paths
    assert f"{SITE}/__pycache__/shared.cpython-311.pyc" in paths
    assert f"{SITE}/broken.py" in paths
    assert f"{SITE}/__pycache__/broken.cpython-311.pyc" not in paths
    text = "import shared, app.main; print(shared.__cached__, shared.__loader__.get_code('shared').co_filename)"
    found = run_in_bwrap(trees("module"), ["/app/bin/python3", "-v", "-c", text])
    assert f"code object from '{SITE}/__pycache__/shared.cpython-311.pyc'" in found.stderr
    assert found.stdout.splitlines()[-1].endswith(f" {SITE}/shared.py")


def test_data_of_wheels_is_in_the_environment(here: Clone) -> None:
    assert "/app/share/two/data.txt" in paths_of(here.descriptor("module"))


def test_images_with_the_same_requirements_share_the_layer(here: Clone) -> None:
    """Whatever their sources are; and a library that one takes apart is no layer of the other."""

    def digests(name: str) -> list[str]:
        return [layer["digest"] for layer in here.descriptor(name)["layers"]]

    module, function, library = digests("module"), digests("function"), digests("library")
    assert module[:-1] == function[:-1] and module[-1] != function[-1]
    assert library[:-2] == module[:-1]
    layer = here.descriptor("library")["layers"][-2]
    files = [file["path"] for file in layer["recipe"]["files"] if "sha256" in file]
    assert files == [
        f"{SITE}/space/__pycache__/own.cpython-311.pyc",
        f"{SITE}/space/own.py",
    ]


def test_another_machine_needs_no_process(
    here: Clone, machine_nix: Nix, cache: RemoteCache, wheels: Path, tmp_path: Path
) -> None:
    """With an empty store and a warm remote cache: the same descriptor, and no content is fetched."""
    machine = Machine.create(
        tmp_path,
        machine_nix.with_fresh_root(tmp_path / "nix"),
        "there",
        *cache.options,
        "--cache-content-behavior=validate",
    )
    options = write_pex_monorepo(machine.monorepo, wheels)
    cache.forget_log()
    run = machine.pants(*options, "package", "app:image-stable_abi")
    other = machine.monorepo.descriptor("app/image-stable_abi.image.json")
    assert other == here.descriptor("stable_abi")
    # Pants looks for tools on each machine, and starts its own processes while a remote cache is asked.
    allowed = ("Searching", "Find", "Test", "Determine", "Building local_dists.pex", "Resolve ")
    assert [text for text in run.started if not text.startswith(allowed)] == []
    assert "remote_cache_speculation_local_completed_first" not in run.counters
    contents = {
        file["sha256"] for file in paths_of(other).values() if "sha256" in file
    }
    assert not contents & set(cache.blobs_read)


def test_the_same_digests_everywhere(here: Clone, machine_nix: Nix, tmp_path: Path) -> None:
    """Another directory, user, time and umask, and nothing in common: the same image."""
    as_user = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
    root = machine_nix.with_fresh_root(tmp_path / "another" / "nix")
    user = dataclasses.replace(root, prefix=(*root.prefix, *as_user))
    machine = Machine.create(tmp_path / "another" / "place", user, "there", umask="077")
    options = write_pex_monorepo(machine.monorepo, tmp_path / "other-wheels")
    for file in machine.monorepo.root.rglob("*.py"):
        os.utime(file, (0, 1_000_000_000))
    machine.pants(*options, "package", "app:image-module")
    assert machine.monorepo.descriptor("app/image-module.image.json") == here.descriptor("module")


def test_what_fits(here: Clone) -> None:
    """A wheel for the stable ABI; and of several platforms, that of the image is taken."""
    assert f"{SITE}/stable.py" in paths_of(here.descriptor("stable_abi"))
    (native,) = [
        file for path, file in paths_of(here.descriptor("for_several")).items() if path == f"{SITE}/native.py"
    ]
    assert native["size"] == len("NAME = 'linux'\n")


def test_own_code_takes_the_place_of_a_requirement(here: Clone, trees: Callable[[str], Path]) -> None:
    """With its bytecode; without any, that of the requirement would be taken for it."""
    say = ["/app/bin/python3", "-c", "import stable; print(stable.NAME)"]
    assert run_in_bwrap(trees("own"), say).stdout == "own\n"
    stable = here.machine.monorepo.root / "stable.py"
    text = stable.read_text()
    stable.write_text("this is no Python\n")
    run = here.pants("package", "app:image-own", check=False)
    stable.write_text(text)
    assert run.result.returncode
    for word in (f"{SITE}/stable.py takes the place", "app:image-own", "`contents`"):
        assert word in run.error, run.error
