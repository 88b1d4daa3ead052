"""Makes an image to push: store paths in a store of its own, and the descriptor of their layers.

    python3 benchmarks/push/image.py DIRECTORY LAYERS SIZE

Writes `DIRECTORY/image.json`, and the store to `DIRECTORY/root`. Each layer is one store path with
one file of SIZE bytes: blocks of 4 KiB, random ones and, between them, text, so that gzip takes about
half of it, as of programs. A process of its own, so that what it holds in memory counts for nobody.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src" / "python"))

from nixoci.image.config import ImageConfig  # noqa: E402
from nixoci.image.descriptor import descriptor_json  # noqa: E402
from nixoci.image.image import LayerInImage, assemble  # noqa: E402
from nixoci.layer.digest import digest_layers  # noqa: E402
from nixoci.recipe.layer import LayerRecipe, RecipeEntry  # noqa: E402
from nixoci.store.nix import Nix  # noqa: E402
from nixoci.store.path import StorePath  # noqa: E402

_BLOCK = 4096
_TEXT = (b"what a program says to its user, and its tables, are easy to compress; " * 60)[:_BLOCK]


def main() -> None:
    directory, layers, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    files = []
    for number in range(layers):
        file = directory / f"layer-{number}"
        _write(file, size, random.Random(number))
        files.append(file)
    words = ["nix-store", "--add", *map(str, files)]
    output = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    for file in files:
        file.unlink()
    nix = Nix.find(os.environ)
    paths = [StorePath.parse(path) for path in output.split()]
    graph = nix.closure(paths)
    recipes = [LayerRecipe((RecipeEntry(path, graph[path].nar_hash, path),)) for path in paths]
    made = digest_layers(recipes, jobs=2, store_root=nix.store_root)
    image = assemble(ImageConfig(architecture="amd64"), [LayerInImage(layer) for layer in made])
    (directory / "image.json").write_bytes(descriptor_json(image, recipes))


def _write(file: Path, size: int, chance: random.Random) -> None:
    with file.open("wb") as output:
        for _ in range(size // (2 * _BLOCK)):
            output.write(chance.getrandbits(8 * _BLOCK).to_bytes(_BLOCK, "little"))
            output.write(_TEXT)


if __name__ == "__main__":
    main()
