"""The target `oci_base_image` and the fields `base` and `inherit_config`: what they add, what they refuse."""

from __future__ import annotations

import gzip
import hashlib
from typing import Any, Iterator

import pytest
from nixoci.base.lock import BaseLock
from pants.engine.addresses import Address, Addresses
from pants.testutil.rule_runner import QueryRule

from pants_backend_nix.rules.locks.bases import LockBasesRequest, LockedBases
from pants_backend_nix.rules.locks.locked_file import LockChoice, LockedFile
from tests.integration.support.base_images import put_image, put_index
from tests.integration.support.engines import skopeo
from tests.integration.support.images import write_hello_layout
from tests.integration.support.nix import machine_nix
from tests.integration.support.registry import Registry, registry
from tests.nixoci.image.layout_support import tree
from tests.pants_backend_nix.packager_support import Packager

_NIX = """
let text = name: attributes: derivation (attributes // {
  inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-e" "-c" "echo $text > $out" ];
}); in rec {
  base = text "base" { text = "base"; };
  user = text "user" { text = "${base}"; };
  top = text "top" { text = "${user}"; };
}
"""

_PACKAGES = "".join(
    f'nix_package(name="{name}", source="default.nix", attr="{name}", system="x86_64-linux")\n'
    for name in ("base", "user", "top")
)

_UNKNOWN = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(scope="module")
def packager() -> Packager:
    queries = [QueryRule(LockedBases, [LockBasesRequest])]
    return Packager(machine_nix(), {"default.nix": _NIX}, queries)


def _base(image: str, **fields: str) -> str:
    more = "".join(f", {name}={value!r}" for name, value in fields.items())
    return f'{_PACKAGES}oci_base_image(name="base-image", image={image!r}{more})\n'


_IMAGE = 'nix_image(name="image", base=":base-image", packages=[":user"], max_layers=2, layering="popularity"'


def test_layers_history_and_config(packager: Packager, running: Registry) -> None:
    """The base is below, as it is; a name of another repository changes no digest."""
    name = f"{running.host}/acme/one"
    history = [{"created_by": "ADD a"}, {"created_by": "ENV", "empty_layer": True}, {"created_by": "b"}]
    digest = put_image(
        name,
        "1",
        [{"a": b"1"}, {"b": b"2"}],
        {"Env": ["PATH=/bin", "A=1"], "Entrypoint": ["/a"], "Cmd": ["b"], "Labels": {"x": "1"}, "User": "7"},
        history=[*history, {"created_by": "CMD", "empty_layer": True}],
        unknown=["kept"],
    )
    base = _base(f"{name}:1", digest=digest)
    image = packager.descriptor(f'{base}{_IMAGE}, env={{"A": "2", "B": "3"}}, cmd=["c"])')
    recipes = [layer["recipe"] for layer in image["layers"]]
    assert [recipe["blob"]["repositories"] for recipe in recipes[:2]] == [[name], [name]]
    assert len(recipes) == 4 and all("entries" in recipe for recipe in recipes[2:])
    config = image["config"]
    assert config["config"] == {
        "Cmd": ["c"],
        "Entrypoint": ["/a"],
        "Env": ["PATH=/bin", "A=2", "B=3"],
        "Labels": {"x": "1"},
        "User": "7",
    }
    assert config["unknown"] == ["kept"]
    words = [one["created_by"] for one in config["history"]]
    assert words[:4] == ["ADD a", "ENV", "b", "CMD"] and len(words) == 6
    own = packager.descriptor(f'{base}{_IMAGE}, inherit_config=False, cmd=["c"])')
    assert own["config"]["config"] == {"Cmd": ["c"]}
    assert own["layers"] == image["layers"]
    # Its own layers are those that it has without a base.
    alone = packager.descriptor(f'{_PACKAGES}nix_image(name="image", packages=[":user"], max_layers=2, layering="popularity")')
    assert [one["digest"] for one in image["layers"][2:]] == [one["digest"] for one in alone["layers"]]
    only_base = packager.descriptor(f'{base}nix_image(name="image", base=":base-image")')
    assert only_base["config"]["history"][-1]["created_by"] == "CMD"
    assert packager.dependencies(f"{base}{_IMAGE})") == {":base-image", ":user"}


def test_platforms(packager: Packager, running: Registry) -> None:
    """From an index the image for ours is taken; what does not fit says what there is."""
    name = f"{running.host}/acme/many"
    images = {
        "linux/amd64": put_image(name, "a", [{"a": b"amd64"}]),
        "linux/arm64/v8": put_image(name, "b", [{"a": b"arm64"}], architecture="arm64", variant="v8"),
    }
    base = _base(name, digest=put_index(name, "latest", images))
    image = packager.descriptor(f"{base}{_IMAGE})")
    assert image["platform"] == {"architecture": "amd64", "os": "linux"}
    arm = f'{base}nix_image(name="image", base=":base-image", architecture="arm64"'
    assert packager.descriptor(f"{arm})")["platform"]["variant"] == "v8"
    other = packager.error(f'{base}nix_image(name="image", base=":base-image", architecture="s390x")')
    assert "for linux/s390x, only for linux/amd64, linux/arm64/v8" in other
    assert "DIR:base-image" in other
    # What the base says decides where nothing else does.
    chosen = _base(name, digest=put_index(name, "latest", images), platform="linux/arm64")
    image = packager.descriptor(f'{chosen}nix_image(name="image", base=":base-image")')
    assert image["platform"]["architecture"] == "arm64"
    error = packager.error(f"{chosen}{_IMAGE})")
    assert "DIR:image: its base DIR:base-image" in error and "architecture 'arm64', not 'amd64'" in error
    single = _base(name, digest=images["linux/arm64/v8"])
    assert "architecture 'arm64', not 'amd64'" in packager.error(f"{single}{_IMAGE})")


@pytest.mark.parametrize(
    "fields, says",
    (
        ({"digest": _UNKNOWN}, f"DIR:base-image: HOST/acme/none@{_UNKNOWN} cannot be fetched. The registry"),
        ({}, "base-image.lock.json is not there to say which one HOST/acme/none is. Run `"),
        ({"lock": "x.json"}, "DIR/x.json is not there"),
        ({"digest": "sha256:0"}, "The field `digest` of DIR:base-image"),
        ({"digest": _UNKNOWN, "platform": "linux"}, "The field `platform` of DIR:base-image"),
    ),
)
def test_what_is_refused(
    packager: Packager, running: Registry, fields: dict[str, str], says: str
) -> None:
    error = packager.error(f"{_base(f'{running.host}/acme/none', **fields)}{_IMAGE})")
    assert says in error.replace(running.host, "HOST")


def test_names_of_images_and_bases(packager: Packager) -> None:
    error = packager.error(f"{_base('x@' + _UNKNOWN)}{_IMAGE})")
    assert "A digest goes into the field `digest`" in error
    error = packager.error(f'{_PACKAGES}nix_image(name="image", base=":user")')
    assert "names DIR:user, which is a `nix_package`. Name an `oci_base_image` or a `nix_image`." in error
    error = packager.error('nix_layer(name="l")\nnix_image(name="image", base=":l")')
    assert "Layers below go into `layers`" in error
    error = packager.error(
        'nix_image(name="image", base=":b")\nnix_image(name="b", base=":image")'
    )
    assert "by the fields `layers` and `base`" in error or "cycle" in error.lower()


def test_too_many_layers_and_a_database(packager: Packager, running: Registry) -> None:
    name = f"{running.host}/acme/large"
    digest = put_image(name, "1", [{"a": b"1"}] * 123)
    assert len(packager.descriptor(f"{_base(name, digest=digest)}{_IMAGE})")["layers"]) == 125
    digest = put_image(name, "2", [{"a": b"1"}] * 124)
    error = packager.error(f"{_base(name, digest=digest)}{_IMAGE})")
    assert "126 layers, 124 of them those of its base" in error
    base = _base(name, digest=digest).replace("digest=", "nix_store=True, digest=")
    error = packager.error(f'{base}nix_image(name="image", base=":base-image", nix_database=True)')
    assert "with `nix_database`, its Nix database would replace that of its base" in error


def test_an_image_of_this_repository_as_base(packager: Packager) -> None:
    """Its layers are below and the same ones, what it holds is not there twice, and its database is the complete one."""
    base = (
        f'{_PACKAGES}nix_image(name="b", packages=[":user"], nix_database=True, env={{"A": "{{user}}"}}, '
        'entrypoint=["x"], cmd=["y"], directories=[{"path": "/srv/b"}])\n'
    )
    below = packager.descriptor(base.replace('name="b"', 'name="image"'))
    image = packager.descriptor(
        f'{base}nix_image(name="image", base=":b", packages=[":top"], cmd=["{{top}}"], '
        'directories=[{"path": "/srv/i"}])'
    )

    def paths(of: dict[str, Any]) -> list[list[str]]:
        return [[e["path"][44:] for e in one["recipe"].get("entries", ())] for one in of["layers"]]

    assert paths(image)[:2] == [paths(below)[0], ["top"]]
    digests = [[one["digest"] for one in of["layers"]] for of in (below, image)]
    assert digests[0][0] == digests[1][0]
    (database,) = [one["recipe"] for one in image["layers"] if "registrations" in one["recipe"]]
    assert len(database["registrations"]) == 3
    files = [one["recipe"]["files"] for one in image["layers"] if "files" in one["recipe"]]
    assert {"/srv/b", "/srv/i"} <= {entry["path"] for some in files for entry in some}
    config = image["config"]["config"]
    assert config["Entrypoint"] == ["x"] and config["Cmd"][0].endswith("-top")
    assert config["Env"] == below["config"]["config"]["Env"]


def test_the_base_of_a_base(packager: Packager, running: Registry) -> None:
    name = f"{running.host}/acme/lowest"
    digest = put_image(name, "1", [{"a": b"1"}], {"Env": ["A=1"], "WorkingDir": "/w"})
    image = packager.descriptor(
        f"{_base(name, digest=digest)}"
        'nix_image(name="b", base=":base-image", packages=[":user"], env={"B": "2"}, cmd=["b"])\n'
        'nix_image(name="image", base=":b", packages=[":top"], env={"C": "3"})'
    )
    assert [list(one["recipe"])[0] for one in image["layers"]] == ["blob", "entries", "entries"]
    config = image["config"]["config"]
    assert config == {"Cmd": ["b"], "Env": ["A=1", "B=2", "C=3"], "WorkingDir": "/w"}


def _lock(packager: Packager, *, keep: bool = False, session: int = 1) -> LockedFile:
    address = Address(packager.directory, target_name="base-image")
    (file,) = packager.runner.request(
        LockedBases, [LockBasesRequest(Addresses([address]), LockChoice(keep=keep), session)]
    ).files
    return file


def test_tags_are_locked(packager: Packager, running: Registry) -> None:
    """What a tag was when it was locked is used, for each platform; the lock says what moved."""
    name = f"{running.host}/acme/locked"

    def put(text: bytes, created: str) -> dict[str, str]:
        images = {
            "linux/amd64": put_image(name, "a", [{"a": text}], created=created),
            "linux/arm64": put_image(name, "b", [{"a": text}], architecture="arm64", created=created),
        }
        put_index(name, "1.4", images)
        return images

    first = put(b"1", "2024-01-01T00:00:00Z")
    build = f"{_base(f'{name}:1.4')}{_IMAGE})"
    assert "nix-lock DIR:base-image`" in packager.error(build)
    locked = _lock(packager)
    assert locked.path == f"{packager.directory}/base-image.lock.json" and not locked.error
    assert [line.partition(",")[0] for line in locked.moves] == [
        f"{platform}: {digest}" for platform, digest in first.items()
    ]
    assert "created 2024-01-01T00:00:00Z" in locked.moves[0] and "MB" in locked.moves[0]
    lock = BaseLock.from_json(locked.content or b"")
    assert {one.platform: one.digest for one in lock.images} == first
    packager.files["base-image.lock.json"] = (locked.content or b"").decode()
    image = packager.descriptor(build)
    second = put(b"2", "2024-02-02T00:00:00Z")
    assert packager.descriptor(build)["digest"] == image["digest"]
    assert _lock(packager, keep=True, session=2).content is None
    moved = _lock(packager, session=2)
    assert f"linux/amd64: {first['linux/amd64']}" in moved.moves[0]
    assert f"-> {second['linux/amd64']}, created 2024-02-02T00:00:00Z" in moved.moves[0]
    packager.files["base-image.lock.json"] = (moved.content or b"").decode()
    assert packager.descriptor(build)["digest"] != image["digest"]
    assert _lock(packager, session=3).content is None and not _lock(packager, session=3).moves
    wrong = packager.error(f"{_base(f'{name}:2')}{_IMAGE})")
    assert f"base-image.lock.json is of {name}:1.4" in wrong
    missing = packager.error(
        f'{_base(f"{name}:1.4")}nix_image(name="image", base=":base-image", architecture="ppc64le")'
    )
    assert "for linux/ppc64le, only for linux/amd64, linux/arm64" in missing
    packager.files["base-image.lock.json"] = "{}"
    assert "base-image.lock.json cannot be read" in packager.error(build)
    del packager.files["base-image.lock.json"]
    packager.error(f"{_base(f'{running.host}/acme/none:9')}{_IMAGE})")
    assert "has no image acme/none:9" in _lock(packager, session=4).error


@pytest.fixture(scope="module")
def archives(packager: Packager, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An image of two layers in files of the repository, by what skopeo calls them."""
    directory = tmp_path_factory.mktemp("archives")
    layout = write_hello_layout(directory / "layout", layers=2)
    files = {f"bases/{name}": content for name, content in tree(layout).items()}
    for kind in ("oci-archive", "docker-archive"):
        skopeo("copy", f"oci:{layout}", f"{kind}:{directory / kind}.tar:x/y:1")
        files[f"bases/{kind}.tar"] = (directory / f"{kind}.tar").read_bytes()
    files["bases/compressed.tar"] = gzip.compress(files["bases/oci-archive.tar"])
    files["bases/BUILD"] = (
        "".join(f'file(name="{name}", source="{name}.tar")\n' for name in _ARCHIVES)
        + 'files(name="layout", sources=["index.json", "oci-layout", "blobs/**"])\n'
        + 'files(name="two", sources=["*.tar"])\n'
    ).encode()
    packager.runner.write_files(files)
    return files


_ARCHIVES = ("oci-archive", "docker-archive", "compressed")


@pytest.mark.parametrize("kind", ("oci-archive", "docker-archive", "layout"))
def test_archives_and_layouts(packager: Packager, archives: dict[str, bytes], kind: str) -> None:
    """Layers are read where they are; the rest is as with an image in a registry."""
    build = f'{_PACKAGES}oci_base_image(name="base-image", archive="//bases:{kind}")\n{_IMAGE})'
    image = packager.descriptor(build)
    contents = {hashlib.sha256(content).hexdigest(): content for content in archives.values()}
    blobs = [layer["recipe"]["blob"] for layer in image["layers"][:2]]
    for blob in blobs:
        start = blob.get("offset", 0)
        found = contents[blob["file"]][start : start + blob["size"]]
        assert f"sha256:{hashlib.sha256(found).hexdigest()}" == blob["digest"]
    assert image["config"]["config"]["Entrypoint"] == ["/bin/sh", "-c"]
    assert packager.dependencies(build, "base-image") == {f"bases:{kind}"}


@pytest.mark.parametrize(
    "fields, says",
    (
        ('archive="//bases:compressed"', "a compressed one must be decompressed"),
        ('archive="//bases:two"', "which has 3 files. Name a target with one archive"),
        (f'archive="//bases:oci-archive", digest="{_UNKNOWN}"', f"lacks the document {_UNKNOWN}"),
        (f'archive="//bases:docker-archive", digest="{_UNKNOWN}"', "leave the field `digest` out"),
        ('archive="//bases:oci-archive", image="x"', "needs one of the fields `image`"),
        ("", "needs one of the fields `image`"),
    ),
)
def test_archives_that_are_refused(
    packager: Packager, archives: dict[str, bytes], fields: str, says: str
) -> None:
    error = packager.error(f'{_PACKAGES}oci_base_image(name="base-image", {fields})\n{_IMAGE})')
    assert says in error and "DIR:base-image" in error
