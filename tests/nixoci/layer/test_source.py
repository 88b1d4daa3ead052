"""Tests of `nixoci.layer.source`, with the Nix of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nixoci.errors import InvalidInputError
from nixoci.layer.digest import digest_layer
from nixoci.layer.layer import Layer
from nixoci.layer.reproducibility import ContentsDifferError
from nixoci.layer.source import LayerSource, Origin, origins_from_json, origins_to_json
from nixoci.recipe.database import DatabaseRecipe
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from nixoci.store.closure import InvalidPathError
from nixoci.store.evaluate import Attribute, Derivation
from nixoci.store.nar import nar_hash
from nixoci.store.nix import Nix
from nixoci.store.path import StorePath

from tests.nixoci.store.closure_support import store_path
from tests.nixoci.store.nix_support import (
    SYSTEM,
    delete,
    nix,
    shell_derivation,
    unique_word,
    write_tree,
)
from tests.nixoci.store.registration_support import many

DERIVATION = Derivation(store_path("a.drv"), (("out", store_path("a")),), "out")
EVALUATION = Attribute("/r", "default.nix", "x", SYSTEM)
ORIGINS = (
    Origin(DERIVATION, frozenset([store_path("a"), store_path("b")]), EVALUATION, "/tmp/log"),
    Origin(Derivation(None, DERIVATION.outputs, "out"), frozenset()),
    Origin(DERIVATION, frozenset(), Attribute("/r", "x.nix", "", SYSTEM, ("f",), True, "{}", True)),
)


def never() -> Nix:
    raise AssertionError("Nix is looked for")


def _origin(tmp_path: Path, log: str | None = None) -> Origin:
    """Sources of a derivation that is evaluated and not built."""
    expression = shell_derivation("built", f"echo {unique_word()} > $out")
    root = write_tree(tmp_path / "s", {"default.nix": f"{{ system }}: {expression}"})
    attribute = Attribute(str(root), "default.nix", "", SYSTEM)
    derivation = attribute.evaluate(nix(tmp_path))
    paths = frozenset(path for _, path in derivation.outputs)
    return Origin(derivation, paths, attribute, log)


def test_json_round_trip() -> None:
    """What was written is read back, and a list has one form."""
    text = origins_to_json(ORIGINS)
    assert origins_from_json(text, "/elsewhere") == ORIGINS
    assert origins_to_json(origins_from_json(text, "/elsewhere")) == text
    assert origins_from_json(origins_to_json([]), "/elsewhere") == ()


def test_sources_are_relative_to_a_directory() -> None:
    """So that a file with origins can lie beside them, wherever both are brought."""
    text = origins_to_json([replace(ORIGINS[0], evaluation=replace(EVALUATION, root="s"))])
    (origin,) = origins_from_json(text, "/elsewhere")
    assert origin.evaluation == replace(EVALUATION, root="/elsewhere/s")


@pytest.mark.parametrize(
    "change",
    [
        {"derivation": None},
        {"derivation": "{}"},
        {"derivation": "\ud800"},
        {"derivation": {}},
        {"paths": ["/etc/passwd"]},
        {"paths": "x"},
        {"paths": [1]},
        {"evaluation": []},
        {"evaluation": {"root": "/"}},
        {"log": 1},
        {"evaluation": {**EVALUATION.to_document(), "rootIsCopy": "no"}},
        {"evaluation": {**EVALUATION.to_document(), "arguments": {}}},
        {"evaluation": {**EVALUATION.to_document(), "features": [1]}},
    ],
    ids=json.dumps,
)
def test_hostile_origins_are_refused(change: dict[str, Any]) -> None:
    """One value of the wrong type spoils the list."""
    document = json.loads(origins_to_json(ORIGINS))
    document["origins"][0].update(change)
    with pytest.raises(InvalidInputError):
        origins_from_json(json.dumps(document).encode(), "/")


def test_a_database_needs_no_nix() -> None:
    """Its layer is made of no store path, so none is looked for."""
    recipe = DatabaseRecipe(many(3))
    received = bytearray()
    layer = digest_layer(recipe)
    assert LayerSource(never).write_layer(recipe, layer, received.extend) == len(received)


def test_what_is_missing_is_copied_before_it_is_built(tmp_path: Path) -> None:
    """What is valid is not copied, and what is nowhere else is built."""
    (path,) = (origin := _origin(tmp_path)).paths
    asked: list[str] = []
    answers: list[Any] = [7, None]

    def copy(_: Any, layer: Layer, __: Any) -> Any:
        asked.append(layer.digest)
        return answers.pop(0)

    source = LayerSource(lambda: nix(tmp_path), [origin], copy=copy, copies_missing=True)
    recipe = LayerRecipe((RecipeEntry(path, "sha256-of-nothing", path),))
    layer = Layer("sha256:x", 7, "sha256:x")
    assert source.write_layer(recipe, layer, lambda part: None) == 7
    assert nix(tmp_path).invalid([path]) == (path,), "nothing was built"
    for times in (2, 2):
        # Its hash is another one, which is found when it is there.
        with pytest.raises(ContentsDifferError):
            source.write_layer(recipe, layer, lambda part: None)
        assert nix(tmp_path).invalid([path]) == () and len(asked) == times
    # Unless somebody asks for that, nothing but layers of bases is copied.
    plain = LayerSource(lambda: nix(tmp_path), copy=copy)
    with pytest.raises(ContentsDifferError):
        plain.write_layer(recipe, layer, lambda part: None)
    assert len(asked) == 2


def test_what_is_missing_is_built_before_it_is_streamed(tmp_path: Path) -> None:
    """Once, also if several threads want it at the same time; its log is written."""
    origin = _origin(tmp_path, str(tmp_path / "logs" / "build"))
    (path,) = origin.paths
    assert nix(tmp_path).invalid([path]) == (path,)
    source = LayerSource(lambda: nix(tmp_path), [origin])
    threads = [threading.Thread(target=source.realise, args=([path],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert nix(tmp_path).invalid([path]) == ()
    assert (tmp_path / "logs" / "build").exists()
    recipe = LayerRecipe((RecipeEntry(path, nar_hash(path), path),))
    received = bytearray()
    layer = digest_layer(recipe)
    assert LayerSource(lambda: nix(tmp_path)).write_layer(recipe, layer, received.extend)
    assert len(received) == layer.size


def test_a_derivation_that_is_gone_is_evaluated_again(tmp_path: Path) -> None:
    """The sources give it back."""
    origin = _origin(tmp_path)
    assert origin.derivation.drv_path is not None
    delete(nix(tmp_path), origin.derivation.drv_path)
    (path,) = origin.paths
    LayerSource(lambda: nix(tmp_path), [origin]).realise([path])
    assert nix(tmp_path).invalid([path]) == ()
    assert (tmp_path / "s" / "default.nix").stat().st_mtime != 1


def test_sources_that_are_a_copy_are_evaluated_as_one(tmp_path: Path) -> None:
    """Their times are those of a copy, if the origin says so."""
    origin = _origin(tmp_path)
    assert origin.evaluation is not None
    origin = replace(origin, evaluation=replace(origin.evaluation, root_is_copy=True))
    delete(nix(tmp_path), str(origin.derivation.drv_path))
    LayerSource(lambda: nix(tmp_path), [origin]).realise(list(origin.paths))
    assert (tmp_path / "s" / "default.nix").stat().st_mtime == 1


def test_what_has_no_origin_must_be_there(tmp_path: Path) -> None:
    """The error names it, and not what is there."""
    (tmp_path / "file").write_text(unique_word())
    there = StorePath.parse(
        nix(tmp_path).run(("nix-store", "--add", str(tmp_path / "file"))).decode().strip()
    )
    missing = store_path(f"never-{unique_word()}")
    source = LayerSource(lambda: nix(tmp_path))
    with pytest.raises(InvalidPathError) as caught:
        source.realise([there, missing])
    assert caught.value.paths == (missing,)
    source.realise([there])


def test_threads_import_nothing_of_the_core() -> None:
    """In Python 3.9, two threads that import from one zip file may see half of a module."""
    program = "import sys, nixoci.layer.source; print('nixoci.layer.compressed' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", program]
    assert subprocess.check_output(words, env=environment).strip() == b"True"


def test_nix_is_asked_once_about_all_layers(tmp_path: Path) -> None:
    """One start for what is valid, whatever layer comes first; then again only for what was not, or is gone."""
    plain = nix(tmp_path)
    paths = []
    for _ in range(3):
        (tmp_path / "file").write_text(unique_word())
        added = plain.run(("nix-store", "--add", str(tmp_path / "file")))
        paths.append(StorePath.parse(added.decode().strip()))
    recipes = [LayerRecipe((RecipeEntry(path, nar_hash(path), path),)) for path in paths]
    layers = [digest_layer(recipe) for recipe in recipes]
    log = tmp_path / "log"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "nix-store"
    program.write_text(f'#!/bin/sh\necho "$1 $2" >> "{log}"\nexec "{plain.directory}/nix-store" "$@"\n')
    program.chmod(0o755)
    noted = replace(plain, directory=str(tmp_path / "bin"), known_store=plain.store)

    def stream(source: LayerSource) -> list[str]:
        log.write_text("")
        for recipe, layer in zip(recipes, layers):
            source.write_layer(recipe, layer, lambda part: None)
        return log.read_text().splitlines()

    source = LayerSource(lambda: noted, recipes=recipes)
    assert stream(source) == ["--query --hash"]
    assert stream(source) == []
    # What was deleted meanwhile is asked about again, and nothing else.
    delete(plain, paths[1])
    with pytest.raises(InvalidPathError) as caught:
        stream(source)
    assert caught.value.paths == (paths[1],)
    # Of a closure that is not whole, what is valid is streamed all the same.
    source = LayerSource(lambda: noted, recipes=recipes)
    log.write_text("")
    source.write_layer(recipes[0], layers[0], lambda part: None)
    source.write_layer(recipes[2], layers[2], lambda part: None)
    assert log.read_text().splitlines() == [
        "--query --hash",
        "--check-validity --print-invalid",
        "--query --hash",
    ]


def test_what_is_there_is_streamed_while_something_is_built(tmp_path: Path) -> None:
    """A layer does not wait for the build of another one."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    expression = shell_derivation("waits", f"read line < {fifo}; echo {unique_word()} > $out")
    root = write_tree(tmp_path / "s", {"default.nix": f"{{ system }}: {expression}"})
    attribute = Attribute(str(root), "default.nix", "", SYSTEM)
    derivation = attribute.evaluate(nix(tmp_path))
    (built,) = (path for _, path in derivation.outputs)
    (tmp_path / "file").write_text(unique_word())
    added = nix(tmp_path).run(("nix-store", "--add", str(tmp_path / "file")))
    there = StorePath.parse(added.decode().strip())
    recipe = LayerRecipe((RecipeEntry(there, nar_hash(there), there),))
    source = LayerSource(lambda: nix(tmp_path), [Origin(derivation, frozenset([built]), attribute)])
    thread = threading.Thread(target=source.realise, args=([built],))
    thread.start()
    # The builder is there when it has opened the pipe.
    with open(fifo, "w") as line:
        assert source.write_layer(recipe, digest_layer(recipe), lambda part: None)
        assert thread.is_alive()
        line.write("go on\n")
    thread.join()
    assert nix(tmp_path).invalid([built]) == ()
