"""The bytes of a layer do not depend on the Python that makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import nixoci
import pytest
from nixoci.layer.digest import digest_layer
from nixoci.recipe.layer import DIALECTS, LayerRecipe

from tests.integration.support.interpreters import interpreter
from tests.nixoci.tar.tar_support import (
    ODD_NAMES,
    File,
    Link,
    Node,
    both,
    recipe_of,
    store_path,
    to_root,
    write_store,
)

PATH = store_path("tree")
COPIED = store_path("copied", "2")
VERSIONS = ("3.9", "3.11", "3.13")

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from nixoci.layer.digest import digest_layer
from nixoci.recipe.layer import LayerRecipe
recipe = LayerRecipe.from_json(sys.argv[2].encode())
print(digest_layer(recipe, store_root=sys.argv[3]))
"""


def run(interpreter: str, recipe: LayerRecipe, root: Path, locale: str) -> str:
    source = str(Path(nixoci.__file__).parents[1])
    arguments = [source, recipe.to_json().decode(), str(root)]
    command = [interpreter, "-S", "-E", "-I", "-c", PROGRAM, *arguments]
    environment = {"LC_ALL": locale, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, encoding="utf-8"
    ).stdout.strip()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_same_bytes(tmp_path: Path, version: str, locale: str, dialect: str) -> None:
    """Every supported version makes the same layer, in every locale, merged or not."""
    odd: Node = {name: File(name * 30) for name in ODD_NAMES}
    links: Node = {name: Link(name * 2) for name in ODD_NAMES}
    write_store(
        str(tmp_path),
        {
            PATH: {b"odd": odd, b"links": links, b"large": File(bytes(9_000_000)), b"d": {}},
            COPIED: {b"odd": odd, b"d": {b"e": {}}},
        },
    )
    recipe = both(recipe_of(PATH, dialect=dialect), to_root(PATH, COPIED))
    expected = str(digest_layer(recipe, store_root=str(tmp_path)))
    assert run(interpreter(version), recipe, tmp_path, locale) == expected
