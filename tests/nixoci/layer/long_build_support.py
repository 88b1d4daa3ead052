"""What tests of interrupts share: an image that takes hours to build."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, Optional

import nixoci
from nixoci.image.config import ImageConfig
from nixoci.image.descriptor import descriptor_json
from nixoci.image.image import LayerInImage, assemble
from nixoci.layer.layer import Layer
from nixoci.layer.source import Origin, origins_to_json
from nixoci.recipe.layer import LayerRecipe, RecipeEntry
from nixoci.store.evaluate import Derivation, evaluate

from tests.nixoci.store.nix_support import (
    SYSTEM,
    environment,
    nix,
    shell_derivation,
    unique_word,
    write_tree,
)

DIGEST = f"sha256:{'0' * 64}"


def running(word: str) -> list[str]:
    """Returns the command lines of processes that have a word in theirs."""
    found = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path("/proc", number, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in line:
            found.append(line)
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    """Fails only where it never comes to be."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


class LongBuild:
    """An image with a layer whose store path takes hours to build.

    :param log: the file that gets its log.
    :ivar word: in the command lines of all that builds it.
    """

    def __init__(self, directory: Path, log: Optional[str] = None) -> None:
        self.directory = directory
        self.word = unique_word()
        # The shell stays: it has something to do when `sleep` is over.
        script = f": {self.word}; echo noise-{self.word}; until [ -e {directory}/go ]; do /usr/bin/env sleep 0.1; done"
        expression = shell_derivation(self.word, f"{script}; echo > $out")
        root = write_tree(directory / "s", {"default.nix": f"{{ system }}: {expression}"})
        self.derivation: Derivation = evaluate(
            nix(directory), root=str(root), source="default.nix", attr="", system=SYSTEM
        )
        (path,) = (path for _, path in self.derivation.outputs)
        recipe = LayerRecipe((RecipeEntry(path, "sha256-test", path),))
        layer = Layer(DIGEST, 1024, DIGEST)
        image = assemble(ImageConfig(architecture="amd64"), [LayerInImage(layer)])
        (directory / "image.json").write_bytes(descriptor_json(image, [recipe]))
        origin = Origin(self.derivation, frozenset([path]), log=log)
        (directory / "origins.json").write_bytes(origins_to_json([origin]))
        (directory / "derivation.json").write_bytes(self.derivation.to_json())

    @contextmanager
    def command(
        self, *arguments: str, stderr: int = subprocess.PIPE
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Runs a command; its session is another one, so that signals reach it alone."""
        process = subprocess.Popen(
            [sys.executable, "-m", "nixoci", *arguments],
            cwd=self.directory,
            env={
                **environment(self.directory),
                "PYTHONPATH": str(Path(nixoci.__file__).parents[1]),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            # If a test fails, the build ends.
            (self.directory / "go").touch()
            process.kill()
            process.communicate()

    def is_building(self) -> bool:
        return any("nix-store" in line for line in running(self.word)) and any(
            f": {self.word}" in line for line in running(self.word)
        )
