"""Tests of `nixoci.report.report`, `layer_reason` and `layer_table`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from nixoci.layering.distributions import DistributionSize
from nixoci.layering.preferences import Preferences
from nixoci.recipe.database import DatabaseRecipe
from nixoci.recipe.files import FileEntry, FilesRecipe
from nixoci.recipe.layer import ROOT, LayerRecipe, RecipeEntry
from nixoci.report.report import LayerFacts, report_layers
from nixoci.report.table import format_bytes, format_share, layer_table
from nixoci.store.closure import ClosureGraph
from nixoci.store.registration import registrations_of

from tests.nixoci.report.report_support import Built, built, built_of, images, layer_of, recipe_of
from tests.nixoci.store.closure_support import graph, info, store_path

MB = 1_000_000

#: An application, what it needs, and a library below everything.
_REFERENCES = {
    "app-1": "web-2 db-3 tz-1",
    "web-2": "ssl-3",
    "db-3": "ssl-3 zlib-1",
    "ssl-3": "libc-2",
    "zlib-1": "libc-2",
    "libc-2": "",
    "tz-1": "",
    "icons-1": "",
    "more-1": "icons-1",
}

KNOWN = graph({**_REFERENCES, "app-1": "web-2 db-3 tz-1 more-1"})
LARGE = ClosureGraph(replace(i, nar_size=MB) for i in KNOWN.values())


def why(known: ClosureGraph, names: str) -> str:
    """Returns the reason of one layer of an image that has the rest in another."""
    rest = " ".join(path.name for path in known if path.name not in names.split())
    return built(known, names, rest).report.layers[0].why


@pytest.mark.parametrize(
    "names,words",
    (
        ("app-1", "only app, which nothing else needs"),
        ("app-1 web-2 db-3", "app, which nothing else needs, and 2 paths that only it needs"),
        ("app-1 libc-2", "app, which nothing else needs, and 1 path that it needs"),
        ("libc-2", "libc alone"),
        ("web-2 db-3", "all change with ssl"),
        ("web-2 db-3 ssl-3", "all change with ssl, which is among them"),
        ("web-2 zlib-1", "all change with libc, and some with ssl"),
        ("zlib-1 ssl-3", "all change with libc"),
        ("tz-1 icons-1", "paths that depend on nothing else"),
        ("tz-1 ssl-3 zlib-1", "paths that change with libc and tz"),
    ),
)
def test_reasons(names: str, words: str) -> None:
    assert why(LARGE, names) == words


def test_small_paths_are_called_so() -> None:
    """Beside a layer of other magnitude, what is small is there since it is small."""
    known = ClosureGraph([*KNOWN.values(), info("huge-1", nar_size=100 * MB)])
    assert why(known, "tz-1 icons-1") == "small paths that depend on nothing else"
    assert why(known, "web-2 db-3") == "small paths that all change with ssl"


def test_what_targets_and_fields_say_comes_first() -> None:
    """The layer target, a kept layer, and what is copied to the root are named."""
    copied = RecipeEntry(store_path("tz-1"), LARGE[store_path("tz-1")].nar_hash, ROOT)
    recipes = (
        recipe_of(LARGE, [store_path("libc-2")]),
        LayerRecipe((copied,)),
        LayerRecipe((*recipe_of(LARGE, [store_path("libc-2")]).entries, copied)),
    )
    facts = [
        LayerFacts(layer_of(recipes[0], MB), recipes[0], target="lib:runtime"),
        LayerFacts(layer_of(recipes[1], MB), recipes[1], kept=True),
        LayerFacts(layer_of(recipes[2], MB), recipes[2]),
    ]
    first, second, third = report_layers("app:image", facts, LARGE).layers
    assert first.why == "the layer target lib:runtime: libc alone"
    assert second.why == "kept, as its builds are not reproducible: copied to the root: tz alone"
    assert third.why == "1 of them copied to the root: paths that depend on nothing else"
    assert [path.at_root for path in third.paths] == [False, True]


def test_excludes_are_named() -> None:
    """The sizes of paths are those of the store, so what is less than that is said."""
    recipe = recipe_of(LARGE, [store_path("libc-2")], excludes=("share/**",))
    (layer,) = report_layers("app:image", [LayerFacts(layer_of(recipe, MB), recipe)], LARGE).layers
    assert layer.why == "less what is excluded: libc alone"


def test_the_database_changes_with_everything() -> None:
    recipe = DatabaseRecipe(registrations_of(KNOWN))
    layer = built(KNOWN, *(path.name for path in KNOWN), more=[recipe]).report.layers[-1]
    assert layer.why == "the Nix database of 9 store paths"
    assert (layer.share, layer.paths, layer.expected) == (1.0, (), layer.layer.size)


def test_distributions_of_python_are_named() -> None:
    """With versions, the largest first; one changes as often as a store path of which nothing is known."""
    recipe = FilesRecipe((FileEntry("/a", 0o444, sha256="0" * 64, size=9),))
    sizes = [DistributionSize(name, "1.0", size) for name, size in (("a", 1), ("b", 3), ("c", 2), ("d", 0))]
    facts = LayerFacts(layer_of(recipe, 10), recipe, distributions=tuple(sizes), why="together")
    alone = LayerFacts(layer_of(recipe, 20), recipe, distributions=(sizes[0],))
    first, second = report_layers("image", [facts, alone], ClosureGraph()).layers
    assert first.contents == "b 1.0, c 1.0, a 1.0 and 1 more"
    assert first.why == "4 distributions of Python: together"
    assert second.why == "1 distribution of Python"
    assert (first.share, second.share) == (0.4, 0.1)


def test_shares_are_those_of_the_triggers() -> None:
    """Of two hundred equally likely events and as many of the root, each changes what is above it."""
    report = built(graph({"app": "lib", "lib": "libc", "libc": ""}), "app", "lib", "libc").report
    assert [layer.share for layer in report.layers] == [1.0, 0.4, 0.2]
    paths = [layer.paths[0] for layer in report.layers]
    assert [path.share for path in paths] == [1.0, 0.4, 0.2]
    assert [[r.name for r in path.references] for path in paths] == [["lib"], ["libc"], []]


def test_given_rates_count() -> None:
    known = graph({"app": "lib", "lib": ""})
    image = built(known, "lib", "app")
    facts = [LayerFacts(i.layer, r) for i, r in zip(image.image.layers, image.recipes)]
    rates = Preferences(rates=(("lib", 3), ("app", 1)))
    report = report_layers("app:image", facts, known, preferences=rates)
    assert [layer.share for layer in report.layers] == [0.75, 1.0]


def test_what_a_layer_target_ignores_changes_it_too() -> None:
    """References that lead out of the layers are triggers, and are named."""
    known = ClosureGraph([info("a", ["left-out-1"]), info("b", ["left-out-1"])])
    layer = built(known, "a b", "").report.layers[0]
    assert layer.paths[0].references == ()
    assert layer.why == "only a and b, which nothing else needs"


@given(images())
def test_sums_add_up(image: Built) -> None:
    """Parts of a layer are the layer, and no split is expected to cost less than single paths."""
    report = image.report
    assert report.size == sum(item.layer.size for item in image.image.layers)
    assert report.path_count == len(image.graph)
    assert report.ideal <= report.expected * (1 + 1e-9) <= report.size * (1 + 2e-9)
    for layer in report.layers:
        assert sum(path.bytes_in_layer for path in layer.paths) == pytest.approx(layer.layer.size)
        assert max(path.share for path in layer.paths) <= layer.share <= 1
        assert layer.why and "\n" not in layer.why
        assert all(path.nar_size >= 120 for path in layer.paths)


@given(images())
def test_single_paths_are_the_ideal(image: Built) -> None:
    report = built_of(image.graph, [[path] for path in image.graph]).report
    assert report.expected == pytest.approx(report.ideal)


@given(images())
def test_every_layer_has_a_line(image: Built) -> None:
    text = layer_table(image.report)
    assert text.count("\n") == len(image.recipes) + 6
    assert image.image.digest in text.splitlines()[0]
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_an_image_without_layers() -> None:
    report = built_of(ClosureGraph(), []).report
    assert (report.size, report.expected, report.ideal, report.path_count) == (0, 0, 0, 0)
    assert "An update is expected to push 0 B of 0 B" in layer_table(report)


def test_large_layers_get_words_too() -> None:
    """A layer of thousands of paths gets its words by bounded work."""
    names = [f"p{number}" for number in range(3000)]
    infos = [
        info(name, [names[i // 2], names[i // 3]] if i > 1 else []) for i, name in enumerate(names)
    ]
    report = built(ClosureGraph(infos), " ".join(names[:1400]), " ".join(names[1400:])).report
    assert report.path_count == 3000
    assert report.layers[0].why.startswith("small paths that change with ")


@pytest.mark.parametrize(
    "size,text",
    ((0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_949, "99.9 kB"), (99_960, "100 kB"))
    + ((999_600, "1.0 MB"), (5.25e9, "5.2 GB"), (7e12, "7.0 TB")),
)
def test_sizes_have_three_digits(size: float, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    "share,text", ((0, "0.0 %"), (0.0004, "<0.1 %"), (0.0123, "1.2 %"), (0.099, "9.9 %"))
    + ((0.0996, "10 %"), (1, "100 %"))
)
def test_shares_are_percent(share: float, text: str) -> None:
    assert format_share(share) == text
