"""Layers that another registry has: copied from there, verified, taken up again where they broke off."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import nixoci
import pytest
from nixoci.errors import NixOciError
from nixoci.image.config import ImageConfig
from nixoci.image.descriptor import descriptor_json
from nixoci.image.image import History, LayerInImage, assemble
from nixoci.image.reference import Reference
from nixoci.layer.layer import copied_layer
from nixoci.layer.source import LayerSource
from nixoci.recipe.blob import BlobRecipe
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.push import PushOptions, PushResult, push
from nixoci.registry.reading.copies import LayerCopier, LayerNotCopiedError
from nixoci.store.nix import Nix

from tests.integration.support.engines import skopeo
from tests.integration.support.faulty_registry import (
    Act,
    Fault,
    FaultyRegistry,
    TokenGate,
    cut,
    cut_answer,
    faulty_registry,
    status,
    with_body,
    with_header,
    without_range,
)
from tests.integration.support.registry import Registry, registry
from tests.nixoci.image.layout_support import KnownImage, known_image

_SOURCES = Path(nixoci.__file__).parent.parent
_RETRY = RetryPolicy(attempts=4, first_delay=0.01, longest_delay=0.05)
_BLOB = "/blobs/sha256:"
_SIZE = 10_000_000


@pytest.fixture(scope="module")
def staging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that has `known`."""
    with registry(tmp_path_factory.mktemp("staging")) as running:
        image = known()
        push(
            *(image.image, image.recipes, [Reference.parse(f"{running.host}/acme/api:1")]),
            image.write_layer,
            {},
        )
        yield running


@pytest.fixture()
def production(plain_registry: Registry) -> Registry:
    return plain_registry


def known() -> KnownImage:
    """One layer that is larger than what sockets hold, and a small one."""
    return known_image(b"small", b"large" * (_SIZE // 5))


def no_nix() -> Nix:
    raise NixOciError("There is no Nix here.")


def promote(
    production: Registry, *repositories: str, environment: dict[str, str] = {}
) -> PushResult:
    """Pushes the image with an empty store, on a machine without Nix."""
    image = known()
    copier = LayerCopier(repositories, environment, retry=_RETRY)
    source = LayerSource(no_nix, copy=copier.copy, copies_missing=True)
    reference = Reference.parse(f"{production.host}/acme/api:1")
    options = PushOptions(retry=_RETRY, abort=copier.abort)
    try:
        return push(
            *(image.image, image.recipes, [reference], source.write_layer, environment, options)
        )
    finally:
        copier.close()


def assert_whole(production: Registry) -> None:
    reference = f"{production.host}/acme/api:1"
    text = skopeo("inspect", "--tls-verify=false", f"docker://{reference}").stdout
    assert json.loads(text)["Digest"] == known().image.digest


def assert_no_tag(production: Registry) -> None:
    assert not production.requests("PUT", "/manifests/")


def _ranges(proxy: FaultyRegistry) -> list[str]:
    return [r.headers.get("Range", "") for r in proxy.requests if r.method == "GET"]


def test_layers_are_copied_and_broken_connections_taken_up_again(
    staging: Registry, production: Registry
) -> None:
    """What has come already is not asked for again; an error in passing is waited for."""
    faults = [
        Fault(status(503), "GET", _BLOB),
        Fault(cut_answer(3_000_000), "GET", known().image.layers[1].layer.digest, times=2),
        Fault(cut(0), "GET", known().image.layers[1].layer.digest),
    ]
    with faulty_registry(staging.host, *faults) as proxy:
        result = promote(production, f"{proxy.host}/acme/api")
        assert not any(fault.times for fault in faults)
        starts = [int(text[6:-1]) for text in _ranges(proxy) if text]
    assert len(result.blobs) == 3
    # Whole portions of 256 KiB went on, and the rest of a broken one came again.
    assert starts == sorted(starts) and 2_000_000 < starts[0] < 3_000_001 < starts[-1] < 6_000_001
    assert_whole(production)


@pytest.mark.parametrize(
    "act",
    (without_range, with_header("Content-Range", "bytes 0-1/2"), status(416)),
    ids=("ignored", "another", "refused"),
)
def test_a_registry_that_knows_no_ranges(
    staging: Registry, production: Registry, act: Act
) -> None:
    """It sends the blob from its beginning, of which only the rest is new."""
    digest = known().image.layers[1].layer.digest
    faults = [Fault(cut_answer(3_000_000), "GET", digest), Fault(act, "GET", digest)]
    with faulty_registry(staging.host, *faults) as proxy:
        promote(production, f"{proxy.host}/acme/api")
        assert not any(fault.times for fault in faults)
    assert_whole(production)


def _spoil(body: bytes) -> bytes:
    return body[:-1] + b"!"


@pytest.mark.parametrize(
    "fault",
    (
        Fault(cut_answer(1_000_000), "GET", _BLOB, times=100),
        Fault(with_body(_spoil), "GET", _BLOB, times=100),
        Fault(status(404), "GET", _BLOB, times=100),
        Fault(status(403), "GET", _BLOB, times=100),
    ),
    ids=("cut", "spoiled", "missing", "forbidden"),
)
def test_the_next_repository_is_asked(
    staging: Registry, production: Registry, fault: Fault
) -> None:
    """It goes on where the first one broke off; after wrong bytes the upload starts again. Alone, the first one
    is an error, and no tag is written."""
    with faulty_registry(staging.host, fault) as proxy:
        name = f"{proxy.host}/acme/api"
        with pytest.raises(NixOciError) as caught:
            promote(production, name)
        assert_no_tag(production)
        # What was not begun would be made here, if there was a Nix.
        begun = isinstance(caught.value, LayerNotCopiedError)
        assert begun or "There is no Nix here" in str(caught.value)
        promote(production, name, f"{staging.host}/acme/api")
    assert_whole(production)


def test_credentials_stay_with_the_registry(
    staging: Registry, production: Registry, tmp_path: Path
) -> None:
    """Blobs that lie on another host are read there without credentials, also in the midst."""
    digest = known().image.layers[1].layer.digest
    with faulty_registry(staging.host, Fault(cut_answer(3_000_000), "GET", digest)) as storage:
        elsewhere = f"http://{storage.host}/v2/acme/api/blobs/{digest}"
        redirect = Fault(status(307, {"Location": elsewhere}), "GET", digest, times=2)
        with faulty_registry(staging.host, redirect, gate=TokenGate()) as proxy:
            directory = Registry(proxy.host, tmp_path).write_docker_config(tmp_path / "docker").parent
            environment = {"DOCKER_CONFIG": str(directory)}
            promote(production, f"{proxy.host}/acme/api", environment=environment)
        assert len(storage.requests) == 2 and "Range" in storage.requests[1].headers
        assert not any("Authorization" in request.headers for request in storage.requests)
    assert_whole(production)


_PROGRAM = """\
import resource, sys
sys.path.insert(0, sys.argv[1])
from nixoci.layer.layer import copied_layer
from nixoci.recipe.blob import BlobRecipe
from nixoci.registry.reading.copies import LayerCopier
recipe = BlobRecipe.from_json(sys.argv[2].encode())
print(LayerCopier((), {}).copy(recipe, copied_layer(recipe), lambda part: None))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_layer(production: Registry) -> None:
    size = 150_000_000
    image = known_image(bytes(size))
    name = f"{production.host}/large"
    push(image.image, image.recipes, [Reference.parse(name)], image.write_layer, {})
    layer = image.image.layers[0].layer
    recipe = BlobRecipe(layer.digest, size, layer.diff_id, layer.media_type, (name,))
    words = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(_SOURCES), recipe.to_json().decode()]
    # The shell between keeps this process out of the peak that the kernel reports.
    shell = ("sh", "-c", '"$@"; exit $?', "sh", *words)
    written, peak = subprocess.run(shell, check=True, capture_output=True, text=True).stdout.split()
    assert int(written) == size and int(peak) < 60_000


def _nixoci(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the program without Nix."""
    return subprocess.run(
        [sys.executable, "-m", "nixoci", *map(str, words)],
        env={"PYTHONPATH": str(_SOURCES), "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_commands_with_a_base_image(
    staging: Registry, production: Registry, tmp_path: Path
) -> None:
    """A descriptor says where layers are: pushed to the same registry they are mounted, to another one copied, and
    archives are streamed. All without Nix."""
    layers = [item.layer for item in known().image.layers]
    recipes = [
        BlobRecipe(
            *(layer.digest, layer.size, layer.diff_id, layer.media_type),
            (f"{staging.host}/acme/api",),
        )
        for layer in layers
    ]
    image = assemble(
        ImageConfig(architecture="amd64"),
        [LayerInImage(copied_layer(r), before=(History("ENV A=1"),)) for r in recipes],
    )
    descriptor = tmp_path / "image.json"
    descriptor.write_bytes(descriptor_json(image, recipes))
    same = _nixoci("push", descriptor, f"{staging.host}/other/one:1")
    assert same.returncode == 0 and "1 blobs uploaded" in same.stdout and "2 mounted" in same.stdout
    other = _nixoci("push", descriptor, f"{production.host}/other/one:1")
    assert other.returncode == 0 and "3 blobs uploaded" in other.stdout, other.stderr
    for output_format in ("oci-archive", "docker-archive"):
        output = tmp_path / output_format
        written = _nixoci("write", f"--format={output_format}", f"--output={output}", descriptor)
        assert written.returncode == 0, written.stderr
        text = skopeo("inspect", "--config", f"{output_format}:{output}").stdout
        assert json.loads(text)["rootfs"]["diff_ids"] == [layer.diff_id for layer in layers]
    # A layer that was deleted is one line.
    recipe = BlobRecipe("sha256:" + "0" * 64, 1, "sha256:" + "0" * 64, layers[0].media_type, (f"{staging.host}/x",))
    gone = assemble(ImageConfig(architecture="amd64"), [LayerInImage(copied_layer(recipe))])
    descriptor.write_bytes(descriptor_json(gone, [recipe]))
    failed = _nixoci("push", descriptor, f"{production.host}/gone:1")
    assert failed.returncode == 1 and f"{staging.host}/x: The registry" in failed.stderr
    assert not production.requests("PUT", "/gone/manifests/")


def test_a_layer_in_an_archive_is_read_in_place(tmp_path: Path) -> None:
    """From its offset in a file among the contents; what is wrong with it is said."""
    blob = b"layer" * 100_000
    (tmp_path / "base.tar").write_bytes(b"head" + blob + b"tail")
    image = known_image(blob)
    layer = image.image.layers[0].layer
    source = LayerSource(no_nix, contents=str(tmp_path))

    def read(file: str, offset: int) -> bytes:
        parts: list[bytes] = []
        recipe = BlobRecipe(
            *(layer.digest, layer.size, layer.diff_id, layer.media_type), file=file, offset=offset
        )
        source.write_layer(recipe, copied_layer(recipe), lambda part: parts.append(bytes(part)))
        return b"".join(parts)

    assert read("base.tar", 4) == blob
    for file, offset, says in (
        ("base.tar", 3, "other bytes"),
        ("base.tar", 5000, "too short"),
        ("other.tar", 0, "No such file"),
        (".", 0, "below the contents"),
        ("../base.tar", 4, "below the contents"),
        ("a/../../x", 4, "below the contents"),
    ):
        with pytest.raises(NixOciError, match=says):
            read(file, offset)
