"""Deterministic trees of files that look like store paths.

The bytes are slices of one pseudo-random pool: they do not compress, no file is sparse, and a tree
of gigabytes is written at the speed of the disk.
"""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import dataclass

_POOL_SIZE = 64 << 20
_DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"
_FILES_PER_DIRECTORY = 25


@dataclass(frozen=True)
class Tree:
    """What a tree is made of.

    :param size: bytes of all files, about.
    :param sigma: how unequal the files are: that of the logarithm of their sizes, 0 for all equal.
    """

    name: str
    files: int
    size: int
    paths: int
    sigma: float

    def scaled(self, factor: float) -> Tree:
        """This tree with fewer files of the same sizes."""
        files = max(self.paths, int(self.files * factor))
        return Tree(self.name, files, int(self.size * factor), self.paths, self.sigma)


TREES = (
    Tree("small", files=9_800, size=54_000_000, paths=50, sigma=1.5),
    Tree("big", files=200, size=1_140_000_000, paths=40, sigma=0.5),
    Tree("mixed", files=100_000, size=2_300_000_000, paths=125, sigma=2.0),
)


def generate(tree: Tree, root: str) -> list[str]:
    """Writes `tree` below `root` unless it is there; returns its store paths (`/nix/store/…`)."""
    rng = random.Random(f"{tree}")
    names = [f"{_base_name(tree, number)}" for number in range(tree.paths)]
    paths = [f"/nix/store/{name}" for name in names]
    marker = f"{root}/complete"
    if os.path.exists(marker):
        return paths
    pool = memoryview(random.Random(1).getrandbits(8 * _POOL_SIZE).to_bytes(_POOL_SIZE, "little"))
    sizes = [rng.lognormvariate(0, tree.sigma) for _ in range(tree.files)]
    scale = tree.size / sum(sizes)
    for number, path in enumerate(paths):
        share = sizes[number :: tree.paths]
        directory = ""
        for index, size in enumerate(share):
            if index % _FILES_PER_DIRECTORY == 0:
                directory = f"{root}{path}/share/part-{index // _FILES_PER_DIRECTORY:03}"
                os.makedirs(directory)
                os.symlink(f"file-{index:05}", f"{directory}/link")
            _write(f"{directory}/file-{index:05}", int(size * scale), pool, rng, index % 17 == 0)
    with open(marker, "w"):
        pass
    return paths


def _write(path: str, size: int, pool: memoryview, rng: random.Random, executable: bool) -> None:
    with open(path, "wb", buffering=0) as file:
        while size:
            start = rng.randrange(_POOL_SIZE)
            size -= file.write(pool[start : start + size])
        os.fchmod(file.fileno(), 0o555 if executable else 0o444)


def _base_name(tree: Tree, number: int) -> str:
    digest = hashlib.sha256(f"{tree.name}-{number}".encode()).digest()
    return "".join(_DIGITS[byte % 32] for byte in digest) + f"-{tree.name}-{number}"
