"""What is said of layers of files: in reports, tables, documents and diffs."""

from __future__ import annotations

import hashlib
import json
from typing import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.image.config import ImageConfig
from nixoci.image.descriptor import Descriptor, descriptor_json
from nixoci.image.image import LayerInImage, assemble
from nixoci.layering.cost.model import SHARE_OF_FIRST_PARTY
from nixoci.recipe.files import FileEntry, FilesRecipe, with_directories
from nixoci.report.diff import diff_images
from nixoci.report.document import layer_document
from nixoci.report.report import LayerFacts, report_layers
from nixoci.report.table import layer_table
from nixoci.store.closure import ClosureGraph

from tests.nixoci.report.report_support import Built, built, layer_of
from tests.nixoci.store.closure_support import graph

KNOWN = graph({"app-1": "lib-1", "lib-1": ""})


def file(path: str, content: str = "", mode: int = 0o444, size: int = 1000) -> FileEntry:
    return FileEntry(path, mode, sha256=hashlib.sha256(content.encode()).hexdigest(), size=size)


def recipe(*entries: FileEntry) -> FilesRecipe:
    return FilesRecipe(with_directories(entries))


SYSTEM = recipe(
    FileEntry("/tmp", 0o1777),
    FileEntry("/etc/passwd", 0o644, text="root:x:0:0::/:/bin/sh\n"),
    FileEntry("/bin/sh", 0o777, target="busybox"),
)
CODE = recipe(file("/app/b", "b", size=20), file("/app/a", "a", size=3000), file("/app/c", "a"))
IMAGE = built(KNOWN, "lib-1", "app-1", more=[SYSTEM, CODE])


def image(*recipes: FilesRecipe) -> Built:
    return built(KNOWN, "lib-1", "app-1", more=recipes)


def reasons(new: Sequence[FilesRecipe], old: Sequence[FilesRecipe]) -> list[str]:
    """Returns why layers of files are pushed where there is the old image."""
    return [change.why for change in image(*new).since(image(*old)).new]


def test_files_of_pants_change_most() -> None:
    """What is made of fields changes with nothing; store paths count as they did without files."""
    lib, app, system, code = IMAGE.report.layers
    assert (system.share, code.share) == (0.0, SHARE_OF_FIRST_PARTY)
    assert (system.why, code.why) == ("made of fields", "3 files that Pants has")
    assert system.paths == code.paths == ()
    assert (system.files, code.files) == (SYSTEM.entries, CODE.entries)
    assert system.expected == system.ideal == 0
    assert code.expected == code.ideal == code.layer.size * SHARE_OF_FIRST_PARTY
    without = built(KNOWN, "lib-1", "app-1").report.layers
    assert [(one.share, one.why) for one in (lib, app)] == [(one.share, one.why) for one in without]


def test_files_with_equal_contents_are_counted_each() -> None:
    (layer,) = image(recipe(file("/a"), file("/b"))).report.layers[2:]
    assert layer.why == "2 files that Pants has"


def test_the_layer_target_is_named() -> None:
    facts = [LayerFacts(layer_of(CODE, 5000), CODE, target="app:code")]
    (layer,) = report_layers("app:image", facts, ClosureGraph()).layers
    assert layer.why == "the layer target app:code: 3 files that Pants has"


@pytest.mark.parametrize(
    "recipe_, contents",
    [
        (CODE, "/app/a, /app/c, /app/b"),
        (SYSTEM, "/bin/sh, /etc/passwd, /tmp"),
        (recipe(*(file(f"/{name}") for name in "fedcba")), "/a, /b, /c and 3 more"),
        (recipe(FileEntry("/a/b", 0o700)), "/a/b"),
    ],
)
def test_the_largest_files_are_named(recipe_: FilesRecipe, contents: str) -> None:
    """By size, then by path; directories only if nothing is in them."""
    assert image(recipe_).report.layers[2].contents == contents


def test_the_table_has_a_line_for_each() -> None:
    lines = layer_table(IMAGE.report).splitlines()
    (system,) = (line for line in lines if "made of fields" in line)
    (code,) = (line for line in lines if "3 files that Pants has" in line)
    assert system.split()[:2] == ["3", "1.0"] and "/bin/sh, /etc/passwd, /tmp" in system
    # Of store paths there are none.
    assert system.split()[3] == code.split()[3] == "-"
    assert "50 %" in code and "/app/a, /app/c, /app/b" in code


def test_the_document_has_all_files() -> None:
    """As the descriptor has them, and it is JSON."""
    document = json.loads(json.dumps(layer_document(IMAGE.report, IMAGE.since(image(SYSTEM)))))
    assert [layer["paths"] for layer in document["layers"][2:]] == [[], []]
    assert [layer["files"] for layer in document["layers"][:2]] == [[], []]
    assert document["layers"][3]["files"] == json.loads(CODE.to_json())["files"]
    assert document["layers"][2]["share"] == 0 and document["layers"][3]["target"] is None
    assert document["diff"]["new"][0]["why"].startswith("4 of 4 changed: /app, /app/a, /app/b and 1")


CHANGED = recipe(file("/app/a", "new"), file("/app/b", "b", size=20), file("/app/c", "a"))
OTHER_MODE = recipe(file("/app/b", "b", 0o555, 20), file("/app/a", "a", size=3000), file("/app/c", "a"))
FEWER = recipe(file("/app/b", "b", size=20), file("/app/c", "a"))
MORE = recipe(*(file(f"/app/{name}", name) for name in "abcdefg"))


@pytest.mark.parametrize(
    "new, old, words",
    [
        pytest.param([SYSTEM, CODE], [SYSTEM, CODE], [], id="nothing"),
        pytest.param(
            [SYSTEM, CHANGED], [SYSTEM, CODE], ["1 of 4 changed: /app/a"], id="contents"
        ),
        pytest.param([OTHER_MODE], [CODE], ["1 of 4 changed: /app/b"], id="mode"),
        pytest.param(
            [MORE], [], ["8 of 8 changed: /app, /app/a, /app/b and 5 more"], id="a-new-layer"
        ),
        pytest.param(
            [FEWER], [CODE], ["nothing in it changed, but no longer there: /app/a"], id="gone"
        ),
        pytest.param(
            [recipe(file("/app/x", "b", size=20))],
            [recipe(file("/app/b", "b", size=20))],
            ["1 of 2 changed: /app/x"],
            id="renamed",
        ),
        pytest.param(
            [recipe(file("/a")), recipe(file("/b"))],
            [recipe(file("/a"), file("/b"))],
            ["grouped in another way: nothing in it changed, it was in layer 3"] * 2,
            id="split",
        ),
        pytest.param(
            [recipe(*(file(f"/{n}") for n in "abcd"))],
            [recipe(file(f"/{n}")) for n in "abcd"],
            ["grouped in another way: nothing in it changed, it was in layer 3, 4, 5, …"],
            id="merged",
        ),
        pytest.param([], [SYSTEM, CODE], [], id="all-gone"),
    ],
)
def test_why_a_layer_of_files_is_pushed(
    new: list[FilesRecipe], old: list[FilesRecipe], words: list[str]
) -> None:
    assert reasons(new, old) == words
    assert all(word in layer_table(image(*new).report, image(*new).since(image(*old))) for word in words)


def test_bytes_of_what_changed() -> None:
    """Those of the file that is another one, and none of what is only grouped otherwise."""
    (change,) = image(CHANGED).since(image(CODE)).new
    assert 0.3 * change.layer.size < change.changed_bytes < 0.6 * change.layer.size
    (change,) = image(FEWER).since(image(CODE)).new
    assert change.changed_bytes == 0
    (change,) = image(SYSTEM).since(image()).new
    assert change.changed_bytes == change.layer.size


def test_what_is_gone_has_its_files_named() -> None:
    diff = image(CODE).since(IMAGE)
    assert [(old.number, old.summary) for old in diff.gone] == [(3, SYSTEM.summary)]
    assert "/bin/sh, /etc/passwd and 1 more" in layer_table(image(CODE).report, diff)


def test_compressed_layers_have_no_more_changed_bytes_than_bytes() -> None:
    """Sizes of files are those before compression; the layer is what is pushed."""
    large = recipe(file("/a", "new", size=10_000_000), file("/b", size=10_000_000))
    layer = layer_of(large, 5000)
    config = ImageConfig(os="linux", architecture="amd64")
    new = assemble(config, [LayerInImage(layer)])
    before = built(ClosureGraph(), more=[recipe(file("/a"), file("/b", size=10_000_000))])
    old = Descriptor.from_json(descriptor_json(before.image, before.recipes))
    report = report_layers("app:image", [LayerFacts(layer, large)], ClosureGraph())
    diff = diff_images(old, new, [large], report, ClosureGraph())
    assert diff.changed_bytes == pytest.approx(2500, rel=0.01)
    assert "2.5 kB are in store paths and files that changed and 2.5 kB in" in layer_table(report, diff)


FILES = st.builds(file, st.sampled_from(["/a/x", "/a/y", "/b/x", "/z"]), st.sampled_from("12"))
RECIPES = st.lists(FILES, min_size=1, max_size=4, unique_by=lambda e: e.path).map(lambda e: recipe(*e))


@given(st.lists(RECIPES, max_size=3, unique=True), st.lists(RECIPES, max_size=3, unique=True))
def test_a_diff_of_files_adds_up(new: list[FilesRecipe], old: list[FilesRecipe]) -> None:
    """Each new layer has a reason, and what changed in it is a part of it."""
    diff = image(*new).since(image(*old))
    assert {change.layer.digest for change in diff.new} == {
        layer_of(one, 1024).digest for one in set(new) - set(old)
    }
    for change in diff.new:
        assert 0 <= change.changed_bytes <= change.layer.size
        assert change.why and "\n" not in change.why
    assert diff.changes == diff.causes == ()
    assert "-0 B" not in layer_table(image(*new).report, diff)
