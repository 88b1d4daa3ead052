"""Archives and layouts in dist/ are written when there is something to write, by `package` and `publish`."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest

from tests.integration.support.half_warm import builds, write
from tests.integration.support.machines import Machine
from tests.integration.support.monorepo import PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.registry import Registry

_IMAGE = """\
file(name="own", source="own.txt")
nix_image(
    name="image",
    contents={":own": "/own"},
    repository="acme/image",
    image_tags=["%s"],
    output_format="%s",
)
"""

#: What is written, by format, and a file that has bytes of it.
_OUTPUTS = {
    "oci-archive": ("app/image.tar", "app/image.tar"),
    "docker-archive": ("app/image.tar", "app/image.tar"),
    "oci-layout": ("app/image", "app/image/index.json"),
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Machine:
    return Machine.create(tmp_path_factory.mktemp("machine"), machine_nix, "machine")


@pytest.fixture(scope="module")
def daemon(machine: Machine) -> Iterator[Callable[..., PantsRun]]:
    with machine.daemon() as pants:

        def run(*arguments: str) -> PantsRun:
            # Pants hears of changed files from the kernel, and a run does not wait for that.
            time.sleep(0.5)
            return pants(*arguments)

        yield run


def _write(machine: Machine, output_format: str, tag: str = "1", text: str = "own\n") -> None:
    machine.monorepo.write("app/BUILD", _IMAGE % (tag, output_format))
    machine.monorepo.write("app/own.txt", text * 10_000)


def _empty_dist(machine: Machine) -> Path:
    dist = machine.monorepo.root / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    return dist


def _wrote(run: PantsRun, output: str) -> bool:
    """Whether the output was written; it says so on one line if it was not."""
    said = f"dist/{output} of app:image is up to date and was not written again."
    written = bool(run.processes(f"Write dist/{output}"))
    assert run.stderr.count(said) == (not written)
    return written


@pytest.mark.parametrize("output_format", _OUTPUTS)
def test_packaged_again(
    machine: Machine, daemon: Callable[..., PantsRun], output_format: str
) -> None:
    """What is in dist/ must be exactly this, and as it was written."""
    output, file = _OUTPUTS[output_format]
    bytes_of = _empty_dist(machine) / file
    _write(machine, output_format)
    assert _wrote(daemon("package", "app:image"), output)
    first, content = bytes_of.stat().st_ino, bytes_of.read_bytes()
    again = daemon("package", "app:image")
    assert not _wrote(again, output)
    assert again.started == ()
    assert bytes_of.stat().st_ino == first

    before = bytes_of.stat()
    with bytes_of.open("r+b") as opened:
        opened.write(b"#")
    os.utime(bytes_of, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert _wrote(daemon("package", "app:image"), output)
    assert bytes_of.read_bytes() == content

    # Names are in the output, and no part of the image.
    _write(machine, output_format, tag="2")
    assert _wrote(daemon("package", "app:image"), output)
    assert bytes_of.read_bytes() != content
    assert not _wrote(daemon("package", "app:image"), output)


def test_another_image_or_format_at_the_same_place(
    machine: Machine, daemon: Callable[..., PantsRun]
) -> None:
    """And back again: the record is of what is there, not of what has ever been."""
    output = "app/image.tar"
    archive = _empty_dist(machine) / output
    _write(machine, "oci-archive")
    daemon("package", "app:image")
    content = archive.read_bytes()
    for output_format, text in (("docker-archive", "own\n"), ("oci-archive", "other\n")):
        _write(machine, output_format, text=text)
        assert _wrote(daemon("package", "app:image"), output)
        assert archive.read_bytes() != content
    _write(machine, "oci-archive")
    assert _wrote(daemon("package", "app:image"), output)
    assert archive.read_bytes() == content
    archive.unlink()
    assert _wrote(daemon("package", "app:image"), output)
    assert archive.read_bytes() == content


@pytest.mark.parametrize("output_format", _OUTPUTS)
def test_published_again(
    machine: Machine,
    daemon: Callable[..., PantsRun],
    plain_registry: Registry,
    output_format: str,
) -> None:
    """Of an image that is in the registry, and in dist/, nothing is written; no process is started."""
    output, file = _OUTPUTS[output_format]
    dist = _empty_dist(machine)
    _write(machine, output_format)
    registries = {"a": {"address": plain_registry.host, "default": True}}
    command = [f"--nix-images-registries={registries}", "publish", "app:image"]
    assert _wrote(daemon(*command), output)
    again = daemon(*command)
    assert not _wrote(again, output)
    assert again.started == ()
    assert "skipped (app:image: the registry has it already" in again.stderr
    os.truncate(dist / file, 10)
    assert _wrote(daemon(*command), output)


def test_packaged_again_without_a_daemon(machine: Machine) -> None:
    """By a process that remembers nothing; another version of the program may write other bytes."""
    _empty_dist(machine)
    _write(machine, "oci-archive")
    assert _wrote(machine.pants("package", "app:image"), "app/image.tar")
    assert not _wrote(machine.pants("package", "app:image"), "app/image.tar")
    plugin = machine.monorepo.root.with_name("machine-plugin")
    with (plugin / "nixoci" / "errors.py").open("a") as file:
        file.write("# Another version.\n")
    assert _wrote(machine.pants("package", "app:image"), "app/image.tar")


def test_no_store_path_is_realised(tmp_path: Path, machine_nix: Nix) -> None:
    """For an output that is there already; for one that is not, what it is made of is built again."""
    nix = machine_nix.with_fresh_root(tmp_path / "nix")
    machine = Machine.create(tmp_path, nix, "machine")
    write(machine, output_format="oci-layout")
    with machine.daemon() as pants:
        assert builds(pants("package", "app:image"))
        machine.monorepo.nix.run("nix-store", "--gc")
        assert not list((tmp_path / "nix" / "store").glob("*-greeting"))
        again = pants("package", "app:image")
        assert again.started == ()
        assert again.stderr.count("was not written again") == 1
        # A layout that was only touched would be made of its own blobs.
        shutil.rmtree(machine.monorepo.root / "dist" / "app" / "image")
        third = pants("package", "app:image")
        assert third.processes("Write") and builds(third) == ()
        # By the process that writes, which knows what it needs.
        assert list((tmp_path / "nix" / "store").glob("*-greeting"))
        assert "was not written again" not in third.stderr
