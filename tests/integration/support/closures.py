"""Writes the Nix sources of the test closures into a directory, ready to be built from there.

Each `materialize_…` function gives a directory that stands alone, so it can lie in a Pants build
root with its files declared as dependencies. The sources are in `tests/integration/closures`.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Mapping

from tests.integration.support.debian import debian_packages
from tests.integration.support.nix import Nix, machine_nix
from tests.integration.support.tools import tool

SOURCES = Path(__file__).parents[1] / "closures"

#: What of the Debian closure is worth a layer of its own; `app` needs all but Nix.
DEBIAN_ATTRIBUTES = ("glibc", "bash", "coreutils", "python", "app", "nix")


def materialize_tiny_closure(directory: Path, word: str = "hello") -> Path:
    """Writes `tiny.nix` (attributes a, b, c, greeting, several) and returns its path.

    :param word: what `greeting` says; another word changes that package and no other.
    """
    directory.mkdir(parents=True, exist_ok=True)
    text = (SOURCES / "tiny.nix").read_text()
    target = directory / "tiny.nix"
    target.write_text(text.replace('word = "hello"', f'word = "{word}"'))
    return target


def materialize_debian_closure(directory: Path) -> Path:
    """Writes `default.nix`, its builder scripts and `debs/*.deb`; returns `default.nix`.

    Attributes: `DEBIAN_ATTRIBUTES` and the libraries that they need. Everything that evaluation
    reads is in the directory, as plain files (Nix would import a symlink as a symlink). Building
    needs the machine's own tools, so it works without Nix's sandbox only.

    :raises CommandFailedError: apt could not fetch the packages.
    """
    # The builder script runs it as /usr/bin/patchelf.
    tool("patchelf")
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("default.nix", "unpack.sh", "app.sh"):
        shutil.copyfile(SOURCES / name, directory / name)
    debs = directory / "debs"
    debs.mkdir(exist_ok=True)
    for archive in debian_packages("bookworm", _debian_package_names()).glob("*.deb"):
        shutil.copyfile(archive, debs / archive.name)
    return directory / "default.nix"


def build_debian_closure(nix: Nix, directory: Path) -> Mapping[str, str]:
    """Builds `DEBIAN_ATTRIBUTES` from sources written into `directory`; output path by attribute.

    The first build on a machine takes about 15 seconds, later ones find the store paths there.
    """
    expression = materialize_debian_closure(directory)
    return dict(zip(DEBIAN_ATTRIBUTES, nix.build(expression, *DEBIAN_ATTRIBUTES)))


def materialize_synthetic_closure(
    directory: Path, *, outputs: int, files: int, size: int, seed: int = 1
) -> Path:
    """Writes a `default.nix` whose attribute `synth` has `outputs` outputs (out, p1, p2, …).

    They reference each other and hold odd names, symlinks, executables and empty directories;
    see `closures/synth/generate.py`. Returns the path of `default.nix`.

    :param files: how many files all outputs have together, some fixed ones not counted.
    :param size: bytes of these files together, roughly.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("synth.nix", "generate.py"):
        shutil.copyfile(SOURCES / "synth" / name, directory / name)
    # The interpreter itself, not the virtualenv of this test run: the store paths stay the same.
    # Its JSON string is a Nix string too.
    python = json.dumps(os.path.realpath(sys.executable))
    target = directory / "default.nix"
    target.write_text(
        f"import ./synth.nix {{ python = {python}; outputs = {outputs}; files = {files}; "
        f"bytes = {size}; seed = {seed}; }}\n"
    )
    return target


@functools.lru_cache()
def _debian_package_names() -> list[str]:
    listing = machine_nix().run(
        "nix-instantiate", "--eval", "--strict", "--json", SOURCES / "default.nix", "-A", "packages"
    )
    return sorted(set(json.loads(listing)))
