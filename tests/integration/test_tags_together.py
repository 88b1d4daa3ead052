"""`[nix-images].tags_together`: tags of a whole `pants publish` move when all images are in their registries, or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from nixoci.image.manifest_format import OCI
from nixoci.registry.batch.members import PUSHED, WAITING, labels, read_members

from tests.integration.support.faulty_registry import Fault, faulty_registry, status, wait
from tests.integration.support.machines import Machine
from tests.integration.support.monorepo import PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.registry import Registry, registry

_IMAGE = """\
file(name="own", source="own.txt")
nix_image(
    name="image",
    contents={":own": "/own"},
    registries=["%s"],
    repository="acme/{directory}",
    %s
)
"""

_NAMES = ("one", "two", "three")


def _write(machine: Machine, name: str, host: str, text: str = "", fields: str = "") -> None:
    machine.monorepo.write(f"{name}/BUILD", _IMAGE % (host, fields))
    machine.monorepo.write(f"{name}/own.txt", f"{name} {text}\n" * 1000)


def _tag(host: str, name: str, tag: str = "latest") -> str:
    """Returns the digest that a tag, or a digest, names; empty if there is none."""
    address = f"http://{host}/v2/acme/{name}/manifests/{tag}"
    request = Request(address, method="HEAD", headers={"Accept": OCI.manifest})
    try:
        with urlopen(request, timeout=10) as answer:
            return answer.headers["Docker-Content-Digest"]
    except HTTPError as error:
        assert error.code == 404
        return ""


def _options(*hosts: str, together: bool = True) -> list[str]:
    registries = {f"r{n}": {"address": host, "plain_http": True} for n, host in enumerate(hosts)}
    return [
        f"--nix-images-registries={registries}",
        f"--nix-images-tags-together={together}",
        "--publish-output=published.json",
        "publish",
    ]


def _published(machine: Machine) -> dict[str, dict[str, Any]]:
    entries = json.loads((machine.monorepo.root / "published.json").read_text())
    return {entry["target"]: entry for entry in entries}


def _batches(machine: Machine) -> list[Path]:
    return list((machine.monorepo.root / ".pants.d" / "nix" / "publish").glob("*"))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix) -> Machine:
    return Machine.create(tmp_path_factory.mktemp("machine"), machine_nix, "machine")


@pytest.fixture(scope="module")
def daemon(machine: Machine) -> Iterator[Callable[..., PantsRun]]:
    with machine.daemon() as pants:

        def run(*arguments: str, check: bool = True) -> PantsRun:
            # Pants hears of changed files from the kernel, and a run does not wait for that.
            time.sleep(0.5)
            return pants(*arguments, check=check)

        yield run


@contextlib.contextmanager
def _nobody(_: Registry) -> Iterator[str]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{unused.getsockname()[1]}"


def _refusing(method: str, path: str) -> Callable[[Registry], contextlib.AbstractContextManager]:
    @contextlib.contextmanager
    def refusing(behind: Registry) -> Iterator[str]:
        with faulty_registry(behind.host) as proxy:
            proxy.faults.append(Fault(status(403), method, f"/acme/two/{path}", times=1_000))
            yield proxy.host

    return refusing


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(_nobody, id="down"),
        pytest.param(_refusing("PUT", "blobs/uploads/"), id="blob"),
        pytest.param(_refusing("PUT", "manifests/"), id="manifest"),
        pytest.param(_refusing(".*", ""), id="denied"),
    ],
)
def test_no_tag_moves_when_one_image_cannot_be_pushed(
    machine: Machine,
    daemon: Callable[..., PantsRun],
    plain_registry: Registry,
    tmp_path: Path,
    second: Callable[[Registry], contextlib.AbstractContextManager[str]],
) -> None:
    """Whichever is pushed first; the images are there by their digests, and the next command moves all tags."""
    first = plain_registry.host
    targets = [f"{name}:image" for name in _NAMES]
    for name in _NAMES:
        _write(machine, name, first)
    daemon(*_options(first), *targets)
    before = {name: _tag(first, name) for name in _NAMES}
    assert all(before.values())
    with registry(tmp_path / "b") as other, second(other) as host:
        for name in _NAMES:
            _write(machine, name, host if name == "two" else first, "changed")
        run = daemon(*_options(first, host), *targets, check=False)
        assert run.result.returncode
        assert {name: _tag(first, name) for name in _NAMES} == before
        assert "No tag of any image was written, as these were not pushed: two:image." in run.stderr
        assert " written: " not in run.stdout
        for name in ("one", "three"):
            entry = _published(machine)[f"{name}:image"]
            assert entry["names"] == [f"{first}/acme/{name}@{entry['digest']}"]
            assert _tag(first, name, entry["digest"]) == entry["digest"]
            assert f"{name}:image: {first}/acme/{name}:latest@{entry['digest']} pending: " in run.stdout
        assert _published(machine)["two:image"]["published"] is False
        assert _batches(machine) == []
        _write(machine, "two", other.host, "changed")
        after = daemon(*_options(first, other.host), *targets)
        assert after.stdout.count(" written: ") == 3
        for name in _NAMES:
            where = other.host if name == "two" else first
            assert _tag(where, name) == _published(machine)[f"{name}:image"]["digest"]


def test_all_tags_are_written_at_the_end(
    machine: Machine, daemon: Callable[..., PantsRun], plain_registry: Registry
) -> None:
    """After the last blob of the last image; parametrized targets, several tags, and what is there already."""
    host = plain_registry.host
    _write(machine, "one", host, fields='image_tags=["1", "2"]')
    _write(machine, "two", host, fields='image_tags=parametrize(x=["x"], y=["y"])')
    _write(machine, "three", host)
    daemon(*_options(host), "three:image")
    _write(machine, "skipped", host, fields="skip_push=True")
    start = len(plain_registry.requests())
    run = machine.pants(*_options(host), "one::", "two::", "three::", "skipped::")
    puts = [r for r in plain_registry.requests()[start:] if r.method == "PUT"]
    names = [r.path.rpartition("/manifests/")[2] for r in puts]
    assert sorted(names[-4:]) == ["1", "2", "x", "y"]
    assert not {"1", "2", "x", "y", "latest"} & set(names[:-4])
    published = _published(machine)
    assert _tag(host, "one", "1") == _tag(host, "one", "2") == published["one:image"]["digest"]
    for tag in "xy":
        entry = published[f"two:image@image_tags={tag}"]
        assert _tag(host, "two", tag) == entry["digest"]
        assert (entry["published"], entry["tags"]) == (True, [tag])
        assert entry["names"] == [entry["reference"]] == [f"{host}/acme/two@{entry['digest']}"]
        line = f"two:image@image_tags={tag}: {host}/acme/two:{tag}@{entry['digest']} written: "
        assert line in run.stdout
    assert published["three:image"]["unchanged"]
    assert f"{host}/acme/three:latest skipped (three:image: the registry has it already" in run.stderr
    assert _batches(machine) == []


def test_an_image_alone_and_commands_without_the_option(
    machine: Machine, daemon: Callable[..., PantsRun], plain_registry: Registry
) -> None:
    host = plain_registry.host
    _write(machine, "one", host)
    daemon(*_options(host), "one:image")
    first = _tag(host, "one")
    assert first == _published(machine)["one:image"]["digest"]
    _write(machine, "one", host, "changed")
    daemon(*_options(host, together=False), "one:image")
    entry = _published(machine)["one:image"]
    assert _tag(host, "one") == entry["digest"] != first
    assert entry["names"] == [f"{host}/acme/one:latest"]


def test_a_command_that_is_interrupted(machine: Machine, plain_registry: Registry) -> None:
    """Moves no tag, and leaves nothing that matters to the next one."""
    targets = ["one:image", "two:image"]
    with faulty_registry(plain_registry.host) as proxy:
        for name in ("one", "two"):
            _write(machine, name, proxy.host)
        options = _options(proxy.host)
        # Both hang, so that whichever comes second does.
        for name in ("one", "two"):
            proxy.faults.append(Fault(wait(0.5), "PUT", f"/acme/{name}/manifests/"))
        with subprocess.Popen(
            machine.monorepo.command(*options, *targets),
            env=machine.monorepo.environment(),
            cwd=machine.monorepo.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as pants:
            deadline = time.monotonic() + 300
            while not proxy.count("PUT", "/manifests/"):
                assert pants.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            pants.send_signal(signal.SIGKILL)
        # The push that was under way goes on by itself. What is left is found by no later command, and removed
        # some days later.
        (left,) = _batches(machine)
        while not labels(read_members(str(left)), PUSHED):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert len(labels(read_members(str(left)), WAITING)) == 1
        assert not _tag(plain_registry.host, "one") and not _tag(plain_registry.host, "two")
        os.utime(left, (0, 0))
        machine.pants(*options, *targets)
    for name in ("one", "two"):
        digest = _published(machine)[f"{name}:image"]["digest"]
        assert _tag(plain_registry.host, name) == digest
    assert _batches(machine) == []


def test_the_daemon_forgets_who_took_part(
    machine: Machine,
    daemon: Callable[..., PantsRun],
    plain_registry: Registry,
    tmp_path: Path,
) -> None:
    """Each command has a batch of its own: of what is pushed in it, and of nothing else."""
    host = plain_registry.host
    targets = ["one:image", "two:image"]

    def run(text: str, *some: str, second: str = host, check: bool = True) -> PantsRun:
        _write(machine, "one", host, text)
        _write(machine, "two", second, text)
        return daemon(*_options(host, second), *(some or targets), check=check)

    run("first")
    before = [_tag(host, name) for name in ("one", "two")]
    assert all(before)
    with registry(tmp_path / "b") as other:
        with _refusing("PUT", "blobs/uploads/")(other) as refusing:
            failed = run("second", second=refusing, check=False)
    assert failed.result.returncode and "not pushed: two:image." in failed.stderr
    assert [_tag(host, name) for name in ("one", "two")] == before
    # The same image as in the command before, alone: two:image is not waited for.
    run("second", "one:image")
    assert _tag(host, "one") == _published(machine)["one:image"]["digest"] != before[0]
    again = run("second")
    assert again.stdout.count(" written: ") == 1
    assert _tag(host, "two") == _published(machine)["two:image"]["digest"] != before[1]
    assert _batches(machine) == []
