"""Fields of images with a Nix database: what they add, what they refuse."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest
from nixoci.image.descriptor import Descriptor
from nixoci.layer.source import LayerSource
from nixoci.layer.write import write_layer
from nixoci.recipe.database import DatabaseRecipe
from nixoci.store.nix import Nix

from tests.integration.support.nix import machine_nix
from tests.pants_backend_nix.packager_support import Packager

_NIX = """
let text = name: attributes: script: derivation (attributes // {
  inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-e" "-c" script ];
}); in rec {
  base = text "base" { } "echo base > $out";
  user = text "user" { inherit base; } "echo $base > $out";
  tree = text "tree" { inherit base; } "/bin/mkdir -p $out/etc; echo $base > $out/etc/base";
  alone = text "alone" { } "/bin/mkdir -p $out/etc; echo alone > $out/etc/base; echo > $out/x";
}
"""

_PACKAGES = "".join(
    f'nix_package(name="{name}", source="default.nix", attr="{name}")\n'
    for name in ("base", "user", "tree", "alone")
)


@pytest.fixture(scope="module")
def packager() -> Packager:
    return Packager(machine_nix(), {"default.nix": _NIX})


def _image(packager: Packager, fields: str) -> dict[str, Any]:
    return packager.descriptor(f'{_PACKAGES}nix_image(name="image", {fields})')


def _error(packager: Packager, fields: str) -> str:
    return packager.error(f'{_PACKAGES}nix_image(name="image", {fields})')


def _headers(descriptor: dict[str, Any]) -> dict[str, tuple[int, int, str, str]]:
    """Returns the owner of all that is in the layers, by name."""
    found = {}
    image = Descriptor.from_json(json.dumps(descriptor).encode())
    for recipe, item in zip(image.recipes, image.image.layers):
        stream = bytearray()
        write_layer(recipe, item.layer, stream.extend)
        with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
            for m in archive.getmembers():
                owner = (m.uid, m.gid, m.uname, m.gname)
                assert found.setdefault(m.name, owner) == owner
    return found


def test_a_database_is_a_layer_more(packager: Packager) -> None:
    """The layers below are those of the image without it, with the same digests."""
    plain = _image(packager, 'packages=[":user"]')
    with_database = _image(packager, 'packages=[":user"], nix_database=True')
    assert with_database["layers"][:-1] == plain["layers"]
    last = with_database["layers"][-1]
    assert last["history"]["created_by"] == "nixoci the Nix database of 2 store paths"
    assert {path[44:] for path in last["recipe"]["registrations"]} == {"base", "user"}


def test_the_database_is_written_without_any_store_path(packager: Packager) -> None:
    """Neither Nix nor a store is looked for: the descriptor has all that it is made of."""
    descriptor = _image(packager, 'packages=[":user"], nix_database=True')
    image = Descriptor.from_json(json.dumps(descriptor).encode())
    recipe, layer = image.recipes[-1], image.image.layers[-1].layer
    assert isinstance(recipe, DatabaseRecipe)

    def find_nix() -> Nix:
        raise AssertionError("Nix is looked for")

    stream = bytearray()
    assert LayerSource(find_nix).write_layer(recipe, layer, stream.extend) == layer.size


def test_who_owns_nix(packager: Packager) -> None:
    """`/nix`, the store and the database, by number alone; what is copied to the root is root's."""
    headers = _headers(
        _image(
            packager,
            'packages=[":user"], copy_to_root=[":tree"], nix_database=True, '
            "nix_uid=1000, nix_gid=100",
        )
    )
    in_nix = {name for name in headers if name.split("/")[0] == "nix"}
    assert {"nix", "nix/store", "nix/var/nix/db/db.sqlite"} < in_nix
    assert {"etc", "etc/base"} == set(headers) - in_nix
    assert {headers[name] for name in in_nix} == {(1000, 100, "", "")}
    assert {headers[name] for name in set(headers) - in_nix} == {(0, 0, "root", "root")}


def test_root_owns_nix_by_default(packager: Packager) -> None:
    """Also where the numbers of root are given."""
    fields = 'packages=[":user"], nix_database=True'
    image = _image(packager, fields)
    assert set(_headers(image).values()) == {(0, 0, "root", "root")}
    assert _image(packager, f"{fields}, nix_uid=0, nix_gid=0") == image


@pytest.mark.parametrize("field", ["nix_uid", "nix_gid"])
@pytest.mark.parametrize("number", [-1, 8**7])
def test_a_number_that_no_tar_header_holds(packager: Packager, field: str, number: int) -> None:
    text = _error(packager, f'packages=[":user"], {field}={number}')
    assert f"The field `{field}` of DIR:image is {number}" in text
    assert "from 0 to 2097151" in text


@pytest.mark.parametrize("value", ['"root"', "1.5"])
def test_an_owner_that_is_no_number(packager: Packager, value: str) -> None:
    text = _error(packager, f'packages=[":user"], nix_uid={value}')
    assert "DIR:image" in text and "'nix_uid'" in text


@pytest.mark.parametrize("where", ['packages=[":user"]', 'copy_to_root=[":tree"]'])
def test_a_path_that_has_to_be_registered_cannot_be_ignored(
    packager: Packager, where: str
) -> None:
    """Of a path in the store as of one at the root: the error shows who references it."""
    text = _error(packager, f'{where}, ignore=[":base"], nix_database=True')
    name = "-user" if "user" in where else "-tree"
    assert "DIR:image: the field `ignore`" in text
    assert f"{name} in the image references it" in text
    assert f"{name} -> /nix/store/" in text and text.endswith("-base")


def test_a_registered_path_must_be_whole(packager: Packager) -> None:
    """The error names the target with the excludes, be it the image or a layer; and comes first.

    The two packages at the root cannot be together, which shows when they are digested.
    """
    fields = 'packages=[":user"], copy_to_root=[":tree", ":alone"], nix_database=True'
    assert "differ in the same file" in _error(packager, fields)
    text = _error(packager, f'{fields}, excludes=["share"]')
    assert text.startswith("DIR:image: with `nix_database`, all store paths of the image are")
    assert "the field `excludes` of DIR:image applies to /nix/store/" in text
    assert "Take `excludes` out of DIR:image" in text
    layer = 'nix_layer(name="layer", packages=[":user"], excludes=["share"])\n'
    image = 'nix_image(name="image", layers=[":layer"], nix_database=True)'
    text = packager.error(_PACKAGES + layer + image)
    assert text.startswith("DIR:image: ")
    assert "the field `excludes` of DIR:layer applies to /nix/store/" in text


def test_what_is_only_at_the_root_may_be_excluded(packager: Packager) -> None:
    """It is not registered; so neither is a layer that only copies."""
    layer = 'nix_layer(name="layer", copy_to_root=[":alone"], excludes=["etc"])\n'
    image = 'nix_image(name="image", packages=[":user"], layers=[":layer"], nix_database=True)'
    descriptor = packager.descriptor(_PACKAGES + layer + image)
    names = set(_headers(descriptor))
    assert "x" in names and "etc" not in names and "nix/var/nix/db/db.sqlite" in names
