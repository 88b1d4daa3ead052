"""Tests of `nixoci.layering.shared`."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.layering.shared import ImagePaths, split_shared
from nixoci.layering.split import split
from nixoci.store.closure import ClosureGraph

from tests.nixoci.store.closure_support import closure_graphs, info, some_of, store_path

MB = 1_000_000


@st.composite
def images_of_one_graph(draw: Any) -> list[ImagePaths]:
    """Images with some paths of one graph each."""
    known = draw(closure_graphs())
    return [
        ImagePaths(known.without(set(draw(some_of(known)))), draw(st.integers(1, 6)))
        for _ in range(draw(st.integers(1, 4)))
    ]


def siblings(count: int, seed: int = 0, runtime: int = 60) -> list[ImagePaths]:
    """Returns images of one runtime, each with some libraries of its own and an application."""
    chance = random.Random(seed)
    base = []
    names: list[str] = []
    for number in range(runtime):
        name = f"base-{number}"
        some = chance.sample(names, min(len(names), chance.choice([0, 1, 2, 5])))
        base.append(info(name, some, nar_size=int(chance.lognormvariate(13, 2))))
        names.append(name)
    images = []
    for number in range(count):
        own = [f"own-{number}-{n}" for n in range(8)]
        libraries = [info(n, chance.sample(names, 3), nar_size=chance.randrange(MB)) for n in own]
        app = info(f"app-{number}", [*own, *names], nar_size=2 * MB)
        images.append(ImagePaths(ClosureGraph([*base, *libraries, app]), 20))
    return images


@given(images=images_of_one_graph(), order=st.randoms())
def test_each_image_has_exactly_its_paths(images: list[ImagePaths], order: random.Random) -> None:
    """A split is a partition of the image's paths, within its budget; the order does not matter."""
    splits = split_shared(images)
    for image, parts in zip(images, splits):
        assert list(image.graph) == sorted(path for part in parts for path in part)
        assert len(parts) <= image.max_layers and all(parts)
        assert all(list(part) == sorted(part) for part in parts)
    for image in images:
        infos = list(image.graph.values())
        order.shuffle(infos)
    again = [ImagePaths(ClosureGraph(i.graph.values()), i.max_layers) for i in images]
    assert splits == split_shared(again)


def test_what_images_have_in_common_is_in_the_same_layers() -> None:
    """With room for the classes, a registry has each path once, which separate splits do not reach."""
    images = siblings(5)

    def bytes_in_registry(splits: Any) -> int:
        graph = ClosureGraph().union(*(image.graph for image in images))
        return sum(graph[p].nar_size for part in {p for s in splits for p in s} for p in part)

    everything = ClosureGraph().union(*(image.graph for image in images))
    ideal = sum(i.nar_size for i in everything.values())
    assert bytes_in_registry(split_shared(images)) == ideal
    assert bytes_in_registry([split(i.graph, i.max_layers) for i in images]) > ideal


def test_images_with_more_classes_than_layers_get_copies_of_small_ones() -> None:
    """Three images with all kinds of common paths, in two layers each: what is large is shared."""
    sets = {"a": "012", "b": "01", "c": "02", "d": "12", "e": "0", "f": "1", "g": "2"}
    infos = {n: info(n, nar_size=100 * MB if n == "a" else 1000) for n in sets}
    images = [
        ImagePaths(ClosureGraph(infos[n] for n in sets if str(number) in sets[n]), 2)
        for number in range(3)
    ]
    splits = split_shared(images)
    assert all((store_path("a"),) in parts and len(parts) == 2 for parts in splits)


def test_one_image_alone() -> None:
    """It has as many layers as it may have, and what changes often is on top."""
    (image,) = siblings(1)
    (parts,) = split_shared([image])
    assert len(parts) == 20
    assert store_path("app-0") in parts[-1]


def test_no_layer_is_no_image() -> None:
    with pytest.raises(InvalidInputError, match="at least 1"):
        split_shared([ImagePaths(ClosureGraph([info("a")]), 0)])
    assert () == split_shared([])
    assert ((),) == split_shared([ImagePaths(ClosureGraph(), 3)])
