"""Builder of `synth.nix`: fills the outputs with files that a correct tar stream must survive.

Parameters come as environment variables: `outputs` (names, each one the variable of its path),
`files` (of all outputs together), `bytes` (about, of all files together), `seed`. The same
parameters give the same bytes on every machine and Python version.
"""

from __future__ import annotations

import os
import random

#: Names that break a naive tar writer: at and over ustar's limits, not ASCII, not UTF-8, blanks.
ODD_NAMES = (
    b"n" * 100,
    b"m" * 155,
    b"x" * 255,
    "ünïcödé-名前-🦊".encode(),
    b"new\nline, tab\t, quote' and back\\slash",
    b"latin-1-\xe9",
    b" blank ",
    b"-dash",
)

#: A file of more than 8 MiB does not fit the usual buffers; made when there are bytes enough.
LARGE_FILE = 9 << 20


def main() -> None:
    names = os.environ["outputs"].split()
    files, size, seed = (int(os.environ[name]) for name in ("files", "bytes", "seed"))
    # An output references outputs that come after it in `names`, so the last one is a leaf.
    paths = [os.environ[name].encode() for name in reversed(names)]
    source = random.Random(seed)
    pool = source.getrandbits(8 << 20).to_bytes(1 << 20, "little")
    sizes = file_sizes(source, files, size)
    for index, path in enumerate(paths):
        fill(source, pool, path, paths[max(0, index - 8) : index], sizes[index :: len(paths)])


def file_sizes(source: random.Random, files: int, size: int) -> list[int]:
    """Sizes as in a real store, many small and few large ones, that add up to about `size`."""
    # Whole numbers, since floating-point arithmetic is not the same everywhere.
    shares = [source.randrange(1, 2 << source.randrange(16)) for _ in range(files)]
    total = sum(shares)
    sizes = [size * share // total for share in shares]
    if files and size > 4 * LARGE_FILE:
        sizes[0] = LARGE_FILE
    return sizes


def fill(
    source: random.Random, pool: bytes, path: bytes, earlier: list[bytes], sizes: list[int]
) -> None:
    """Makes one output: references in a script and in symlinks, then files of the given sizes."""
    os.makedirs(path + b"/bin")
    references = source.sample(earlier, min(3, len(earlier)))
    with open(path + b"/bin/run", "wb") as script:
        script.write(b"#!/bin/sh\n" + b"".join(b"# %s\n" % reference for reference in references))
    os.chmod(path + b"/bin/run", 0o755)
    for number, reference in enumerate(references):
        os.symlink(reference + b"/bin/run", path + b"/bin/run-%d" % number)
    # The same content in every output: `nix-store --optimise` makes hard links of these.
    write(path + b"/LICENSE", pool[:30000])
    os.makedirs(path + b"/empty")
    for index, size in enumerate(sizes):
        if index % 20 == 0:
            deep = b"/deep" * (index // 20 % 4)
            directory = path + b"/share/%04d%s" % (index // 20, deep)
            os.makedirs(directory)
        name = ODD_NAMES[index] if index < len(ODD_NAMES) else b"file-%05d" % index
        write(directory + b"/" + name, content(source, pool, size))
        if index % 7 == 0:
            os.chmod(directory + b"/" + name, 0o755)
        if index % 11 == 0:
            os.symlink(name, directory + b"/link-%05d" % index)


def content(source: random.Random, pool: bytes, size: int) -> bytes:
    """`size` bytes of the pool, from a random place on and repeated as needed."""
    start = source.randrange(len(pool))
    repeated = pool[start:] + pool * (size // len(pool) + 1)
    return repeated[:size]


def write(path: bytes, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


if __name__ == "__main__":
    main()
