"""Archives and layouts in dist/ are written when there is something to write, by `package` and `publish`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.support.half_warm import builds, write
from tests.integration.support.machines import Machine
from tests.integration.support.monorepo import Monorepo, PantsRun
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


def _repository(
    directory: Path, nix: Nix, output_format: str, tag: str = "1", text: str = "own\n"
) -> Monorepo:
    repository = Monorepo.create(directory, nix)
    _write(repository, output_format, tag, text)
    return repository


def _write(repository: Monorepo, output_format: str, tag: str = "1", text: str = "own\n") -> None:
    repository.write("app/BUILD", _IMAGE % (tag, output_format))
    repository.write("app/own.txt", text * 10_000)


def _wrote(run: PantsRun, output: str) -> bool:
    """Whether the output was written; it says so on one line if it was not."""
    said = f"dist/{output} of app:image is up to date and was not written again."
    written = bool(run.processes(f"Write dist/{output}"))
    assert run.stderr.count(said) == (not written)
    return written


@pytest.mark.parametrize("output_format", _OUTPUTS)
def test_packaged_again(tmp_path: Path, machine_nix: Nix, output_format: str) -> None:
    """Each run is a session of its own; what is in dist/ must be exactly this, and as it was written."""
    output, file = _OUTPUTS[output_format]
    repository = _repository(tmp_path, machine_nix, output_format)
    bytes_of = repository.root / "dist" / file
    assert _wrote(repository.pants("package", "app:image"), output)
    first, content = bytes_of.stat().st_ino, bytes_of.read_bytes()
    again = repository.pants("package", "app:image")
    assert not _wrote(again, output)
    assert again.started == ()
    assert bytes_of.stat().st_ino == first

    before = bytes_of.stat()
    with bytes_of.open("r+b") as opened:
        opened.write(b"#")
    os.utime(bytes_of, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert _wrote(repository.pants("package", "app:image"), output)
    assert bytes_of.read_bytes() == content

    # Names are in the output, and no part of the image.
    _write(repository, output_format, tag="2")
    assert _wrote(repository.pants("package", "app:image"), output)
    assert bytes_of.read_bytes() != content
    assert not _wrote(repository.pants("package", "app:image"), output)


def test_another_image_or_format_at_the_same_place(tmp_path: Path, machine_nix: Nix) -> None:
    """And back again: the record is of what is there, not of what has ever been."""
    repository = _repository(tmp_path, machine_nix, "oci-archive")
    output = "app/image.tar"
    archive = repository.root / "dist" / output
    repository.pants("package", "app:image")
    content = archive.read_bytes()
    for output_format, text in (("docker-archive", "own\n"), ("oci-archive", "other\n")):
        _write(repository, output_format, text=text)
        assert _wrote(repository.pants("package", "app:image"), output)
        assert archive.read_bytes() != content
    _write(repository, "oci-archive")
    assert _wrote(repository.pants("package", "app:image"), output)
    assert archive.read_bytes() == content
    archive.unlink()
    assert _wrote(repository.pants("package", "app:image"), output)
    assert archive.read_bytes() == content


@pytest.mark.parametrize("output_format", _OUTPUTS)
def test_published_again(
    tmp_path: Path, machine_nix: Nix, plain_registry: Registry, output_format: str
) -> None:
    """Of an image that is in the registry, and in dist/, nothing is written; no process is started."""
    output, file = _OUTPUTS[output_format]
    repository = _repository(tmp_path, machine_nix, output_format)
    option = f"--nix-images-registries={{'a': {{'address': '{plain_registry.host}', 'default': True}}}}"
    assert _wrote(repository.pants(option, "publish", "app:image"), output)
    again = repository.pants(option, "publish", "app:image")
    assert not _wrote(again, output)
    assert again.started == ()
    assert "skipped (app:image: the registry has it already" in again.stderr
    os.truncate(repository.root / "dist" / file, 10)
    assert _wrote(repository.pants(option, "publish", "app:image"), output)


@pytest.mark.parametrize("daemon", [False, True], ids=["alone", "pantsd"])
def test_no_store_path_is_realised(tmp_path: Path, machine_nix: Nix, daemon: bool) -> None:
    """For an output that is there already; for one that is not, what it is made of is built again."""
    nix = machine_nix.with_fresh_root(tmp_path / "nix")
    machine = Machine.create(tmp_path, nix, "machine")
    write(machine, output_format="oci-layout")
    with machine.daemon() as with_daemon:
        pants = with_daemon if daemon else machine.pants
        assert builds(pants("package", "app:image"))
        machine.monorepo.nix.run("nix-store", "--gc")
        again = pants("package", "app:image")
        assert not builds(again)
        assert again.started == ()
        (machine.monorepo.root / "dist" / "app" / "image" / "index.json").touch()
        assert again.stderr.count("was not written again") == 1
        third = pants("package", "app:image")
        assert third.processes("Write")
        assert "was not written again" not in third.stderr
