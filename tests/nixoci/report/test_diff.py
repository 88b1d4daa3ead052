"""Tests of `nixoci.report.diff`, and of what `layer_table` says of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Mapping

import pytest
from hypothesis import given
from nixoci.image.config import ImageConfig
from nixoci.image.image import LayerInImage, assemble
from nixoci.layer.layer import Layer
from nixoci.recipe.database import DatabaseRecipe
from nixoci.recipe.layer import Permission
from nixoci.report.diff import ImageDiff, Kind
from nixoci.report.table import layer_table
from nixoci.store.closure import ClosureGraph
from nixoci.store.path import StorePath
from nixoci.store.registration import registrations_of

from tests.nixoci.report.report_support import Built, built, built_of, images, recipe_of
from tests.nixoci.store.closure_support import graph, info, store_path

_DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"


def again(path: StorePath) -> StorePath:
    """Returns the same name with another hash, as a package has it that was built of other inputs."""
    turned = "".join(_DIGITS[-1 - _DIGITS.index(digit)] for digit in path.base_name[:32])
    return StorePath.parse(f"/nix/store/{turned}-{path.name}")


def renamed(known: ClosureGraph, names: Mapping[StorePath, StorePath]) -> ClosureGraph:
    """Returns a graph with some paths replaced, in references too; their contents are others."""
    return ClosureGraph(
        replace(
            i,
            path=names.get(i.path, i.path),
            nar_hash=info(f"new-{i.path.name}").nar_hash if i.path in names else i.nar_hash,
            references=tuple(sorted(names.get(r, r) for r in i.references)),
        )
        for i in known.values()
    )


OLD = graph({"app-1": "web-1 tz-1", "web-1": "libc-2.36", "libc-2.36": "", "tz-1": "", "x-1": ""})
PARTS = ("libc-2.36 tz-1", "web-1 x-1", "app-1")
OLD_IMAGE = built(OLD, *PARTS)

#: libc has a new version, so what depends on it is built again.
_UPDATED = {
    store_path("libc-2.36"): store_path("libc-2.37"),
    store_path("web-1"): again(store_path("web-1")),
    store_path("app-1"): again(store_path("app-1")),
}
NEW = renamed(OLD, _UPDATED)
NEW_IMAGE = built_of(
    NEW, [[_UPDATED.get(p, p) for p in map(store_path, part.split())] for part in PARTS]
)


def kinds(diff: ImageDiff) -> dict[str, Kind]:
    return {change.path.name: change.kind for change in diff.changes if change.path}


def test_versions_and_what_follows_from_them() -> None:
    """A new version is a cause; what is only built again for it is no cause."""
    diff = NEW_IMAGE.since(OLD_IMAGE)
    expected = {"libc-2.37": Kind.UPDATED, "web-1": Kind.REBUILT, "app-1": Kind.REBUILT}
    assert kinds(diff) == expected
    by_name = {change.path.name: change for change in diff.changes if change.path}
    assert by_name["libc-2.37"].old == store_path("libc-2.36")
    assert by_name["libc-2.37"].causes == ()
    assert by_name["app-1"].causes == by_name["web-1"].causes == (store_path("libc-2.37"),)
    (cause,) = diff.causes
    assert (cause.change.path, cause.followers) == (store_path("libc-2.37"), 2)
    assert cause.bytes == sum(NEW[path].nar_size for path in _UPDATED.values())


def test_layers_and_bytes() -> None:
    """All layers are new here; half of two of them did not change."""
    diff = NEW_IMAGE.since(OLD_IMAGE)
    assert [change.number for change in diff.new] == [1, 2, 3]
    assert [old.number for old in diff.gone] == [1, 2, 3]
    assert diff.kept == ()
    assert diff.layer_bytes == sum(item.layer.size for item in NEW_IMAGE.image.layers)
    assert diff.config_bytes == len(NEW_IMAGE.image.config)
    assert diff.push_bytes == diff.layer_bytes + diff.config_bytes + diff.manifest_bytes
    changed = sum(change.changed_bytes for change in diff.new)
    assert diff.changed_bytes == changed and 0.4 < changed / diff.layer_bytes < 0.9
    assert [change.why for change in diff.new] == [
        "1 of 2 changed, because of libc",
        "1 of 2 changed, because of libc",
        "1 of 1 changed, because of libc",
    ]


def test_sources_are_a_cause_too() -> None:
    """Same name, other path, same references: it changed by itself."""
    names = {store_path("app-1"): again(store_path("app-1"))}
    new = renamed(OLD, names)
    image = built_of(new, [[names.get(p, p) for p in map(store_path, part.split())] for part in PARTS])
    diff = image.since(OLD_IMAGE)
    assert kinds(diff) == {"app-1": Kind.REBUILT}
    assert [(c.change.path, c.followers) for c in diff.causes] == [(again(store_path("app-1")), 0)]
    assert len(diff.kept) == 2 and [change.number for change in diff.new] == [3]


def test_added_and_gone() -> None:
    """Names that are new and names that are no more; outputs of one package are told apart."""
    old = built(graph({"lib-1.0": "", "lib-1.0-dev": "", "old-1": ""}), "lib-1.0 lib-1.0-dev old-1")
    new = built(graph({"lib-1.1": "", "lib-1.1-dev": "", "new-1": ""}), "lib-1.1 lib-1.1-dev new-1")
    diff = new.since(old)
    pairs = {(c.old.name if c.old else "", c.path.name if c.path else "") for c in diff.changes}
    assert pairs == {
        ("lib-1.0", "lib-1.1"),
        ("lib-1.0-dev", "lib-1.1-dev"),
        ("", "new-1"),
        ("old-1", ""),
    }
    assert {c.kind for c in diff.changes} == {Kind.UPDATED, Kind.ADDED, Kind.GONE}
    assert len(diff.causes) == 4
    text = layer_table(new.report, diff)
    assert "lib-1.0-dev -> lib-1.1-dev (updated)" in text
    assert "old-1 (gone)" in text and "new-1 (added)" in text


def test_the_same_path_with_other_contents() -> None:
    """A build that is not reproducible is found by its NAR hash."""
    other = info("other").nar_hash
    new = ClosureGraph(
        replace(i, nar_hash=other) if i.path == store_path("web-1") else i for i in OLD.values()
    )
    diff = built(new, *PARTS).since(OLD_IMAGE)
    assert kinds(diff) == {"web-1": Kind.DIFFERENT}
    assert [change.number for change in diff.new] == [2]


@pytest.mark.parametrize(
    "image,words",
    (
        (
            built(OLD, "libc-2.36 tz-1", "x-1", "web-1", "app-1"),
            "grouped in another way: nothing in it changed, it was in layer 2",
        ),
        (
            built_of(
                OLD,
                [[store_path(name) for name in part.split()] for part in PARTS[:2]],
                [recipe_of(OLD, [store_path("app-1")], permissions=(Permission("/.*", mode=1),))],
            ),
            "the same store paths with other permissions, owners, excludes or form of the tar",
        ),
        (
            built(OLD, *PARTS, more=[DatabaseRecipe(registrations_of(OLD))]),
            "the Nix database: it changes with every store path",
        ),
    ),
)
def test_why_a_layer_is_pushed_although_no_path_changed(image: Built, words: str) -> None:
    diff = image.since(OLD_IMAGE)
    assert words in {change.why for change in diff.new}
    assert diff.changes == ()


def test_compression_alone() -> None:
    """A blob of the same diff ID is the same layer in another form."""
    item = OLD_IMAGE.image.layers[0].layer
    packed = Layer(f"sha256:{'7' * 64}", 99, item.diff_id, f"{item.media_type}+gzip")
    layers = [LayerInImage(packed), *OLD_IMAGE.image.layers[1:]]
    config = ImageConfig(os="linux", architecture="amd64")
    diff = replace(OLD_IMAGE, image=assemble(config, layers)).since(OLD_IMAGE)
    (new,) = diff.new
    assert (new.why, diff.layer_bytes) == ("the same contents, compressed in another way", 99)
    assert diff.config_bytes == 0


def test_another_config() -> None:
    """What is new may be nothing but the config."""
    config = ImageConfig(os="linux", architecture="amd64", user="nobody")
    image: Any = replace(OLD_IMAGE, image=assemble(config, OLD_IMAGE.image.layers))
    diff = image.since(OLD_IMAGE)
    assert diff.new == diff.changes == () and diff.config_bytes == len(image.image.config)
    assert "No layer changed" in layer_table(image.report, diff)


@given(images())
def test_from_an_image_to_itself_there_is_nothing(image: Built) -> None:
    diff = image.since(image)
    assert (diff.new, diff.gone, diff.changes, diff.causes) == ((), (), (), ())
    assert (diff.push_bytes, diff.changed_bytes) == (0, 0)
    assert "Nothing to push" in layer_table(image.report, diff)


@given(images(), images())
def test_sums_add_up(old: Built, new: Built) -> None:
    """What is new and what is kept is the image; each change has a cause that has none itself."""
    diff = new.since(old)
    sizes = {item.layer.digest: item.layer.size for item in new.image.layers}
    kept = sum(layer.size for layer in diff.kept)
    assert diff.layer_bytes + kept == sum(sizes.values())
    assert diff.changed_bytes <= diff.layer_bytes * (1 + 1e-9)
    paths = {path for path in new.graph if path not in old.graph} | {
        p for p in new.graph if p in old.graph and new.graph[p].nar_hash != old.graph[p].nar_hash
    }
    assert {change.path for change in diff.changes if change.path} == paths
    causes = {cause.change.path for cause in diff.causes}
    assert all(set(change.causes) <= causes for change in diff.changes)
    layer_table(new.report, diff)
