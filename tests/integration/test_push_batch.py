"""`nixoci push --batch` and the tags of a batch, with registries that fail at an awkward moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nixoci
import pytest
from nixoci.image.config import ImageConfig
from nixoci.image.descriptor import descriptor_json
from nixoci.image.image import Image, assemble
from nixoci.image.reference import Reference
from nixoci.registry.batch.members import PUSHED, WAITING, Member, write_member
from nixoci.registry.batch.tags import TagsMissingError, write_tags
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.push import PushOptions, push
from nixoci.registry.push_result import PENDING

from tests.integration.support.faulty_registry import Fault, faulty_registry, status, wait
from tests.integration.support.registry import Registry, registry

_FAST = RetryPolicy(attempts=2, first_delay=0.01, longest_delay=0.05)


def _image(text: str) -> Image:
    """An image without layers."""
    return assemble(ImageConfig(architecture="amd64", cmd=(text,)), [])


def _pushed(host: str, name: str) -> Member:
    """An image that is in its repository by its digest."""
    image = _image(name)
    options = PushOptions(retry=_FAST, writes_tags=False)
    references = [Reference(f"{host}/acme/{name}", tag) for tag in ("1", "2")]
    result = push(image, (), references, lambda *_: None, os.environ, options)
    assert [tag.outcome for tag in result.tags] == [PENDING] * 2
    tags = tuple(tag.reference for tag in result.tags)
    return Member(name, PUSHED, image.digest, image.manifest.decode(), image.media_type, tags)


def _tags(running: Registry) -> list[str]:
    puts = running.requests("PUT", "/manifests/[0-9]$")
    return [request.path.partition("/acme/")[2] for request in puts if request.status == 201]


def test_tags_of_all(plain_registry: Registry) -> None:
    members = [_pushed(plain_registry.host, name) for name in ("a", "b")]
    assert _tags(plain_registry) == []
    told: list[str] = []
    nothing = Member("c", PUSHED, "sha256:0", "{}", members[0].media_type)
    write_tags([*members, nothing], os.environ, tell=told.append, retry=_FAST)
    assert _tags(plain_registry) == ["a/manifests/1", "a/manifests/2", "b/manifests/1", "b/manifests/2"]
    assert [text.partition(":")[0] for text in told] == ["a", "b"]


@pytest.mark.parametrize("tag", ["1", "2"])
def test_a_tag_that_is_refused(plain_registry: Registry, tag: str) -> None:
    """Names the images that do not have all of their tags; those before have theirs."""
    with faulty_registry(plain_registry.host) as proxy:
        members = [_pushed(proxy.host, name) for name in ("a", "b", "c")]
        proxy.faults.append(Fault(status(403), "PUT", f"/b/manifests/{tag}", times=9))
        told: list[str] = []
        with pytest.raises(TagsMissingError) as caught:
            write_tags(members, os.environ, tell=told.append, retry=_FAST)
    assert caught.value.missing == ("b", "c")
    assert "tags of these were not written: b, c." in str(caught.value)
    assert [text.partition(":")[0] for text in told] == ["a"]
    assert not [path for path in _tags(plain_registry) if path.startswith("c/")]


def test_a_registry_that_has_gone_away(plain_registry: Registry, tmp_path: Path) -> None:
    """Before the tags, after its blobs: no tag of another one is written."""
    with registry(tmp_path / "b") as other:
        members = [_pushed(plain_registry.host, "a"), _pushed(other.host, "b")]
    with pytest.raises(TagsMissingError) as caught:
        write_tags(members, os.environ, tell=print, retry=_FAST)
    assert caught.value.missing == ("a", "b")
    assert _tags(plain_registry) == []


def _start(directory: Path, host: str, name: str) -> subprocess.Popen[str]:
    descriptor = directory / f"{name}.image.json"
    descriptor.write_bytes(descriptor_json(_image(name), ()))
    sources = str(Path(nixoci.__file__).parent.parent)
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "nixoci", "push", descriptor, f"{host}/acme/{name}:1"),
            *(f"--label={name}", f"--batch={directory / 'batch' / name}.json"),
        ],
        env={**os.environ, "PYTHONPATH": sources},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_push_that_is_killed(
    plain_registry: Registry, tmp_path: Path, end: signal.Signals
) -> None:
    """Counts as failed, so the last one writes no tag. The next batch is another one."""
    for name in ("a", "b"):
        write_member(str(tmp_path / "batch" / f"{name}.json"), Member(name, WAITING))
    with faulty_registry(plain_registry.host) as proxy:
        proxy.faults.append(Fault(wait(60), "PUT", "/blobs/uploads/"))
        with _start(tmp_path, proxy.host, "a") as first:
            deadline = time.monotonic() + 60
            while not proxy.count("PUT"):
                assert first.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
            first.send_signal(end)
    last = _start(tmp_path, plain_registry.host, "b")
    output, errors = last.communicate(timeout=60)
    assert last.returncode == 1
    assert "pending: " in output and "written" not in output
    assert "No tag of any image was written, as these were not pushed: a." in errors
    assert not _tags(plain_registry) and not (tmp_path / "batch").exists()


def test_the_last_one_has_it_all(plain_registry: Registry, tmp_path: Path) -> None:
    """The others write no tag."""
    names = ("a", "b", "c")
    for name in names:
        write_member(str(tmp_path / "batch" / f"{name}.json"), Member(name, WAITING))
    outputs = []
    for name in names:
        assert _tags(plain_registry) == []
        process = _start(tmp_path, plain_registry.host, name)
        outputs.append(process.communicate(timeout=60)[0])
        assert process.returncode == 0
    assert [output.count(" written: ") for output in outputs] == [0, 0, 3]
    assert _tags(plain_registry) == [f"{name}/manifests/1" for name in names]
