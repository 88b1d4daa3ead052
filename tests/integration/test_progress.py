"""What the user sees while Nix builds, and when an image is made: of the real Pants, with real builds."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.nixoci.layer.long_build_support import running, wait_until

#: Builders that say something, and wait until the test lets them end.
_NIX = """\
{ system }:
let
  build = name: needs: derivation {
    inherit name system needs;
    builder = "/bin/sh";
    args = [ "-c" ": WORD; echo noise-$name; until [ -e GATES/$name ]; do /usr/bin/env sleep 0.1; done; echo WORD > $out" ];
  };
in rec {
  first = build "first-1.0" [ ];
  second = build "second-2.0" [ first ];
  third = build "third-3.0" [ second ];
}
"""

_BUILD = """\
nix_package(name="third", source="default.nix", attr="third")
nix_image(name="image", packages=[":third"], entrypoint=["{third}"])
"""


class Example:
    """A monorepo whose builds wait at gates.

    :ivar word: in the command line of its builders.
    """

    def __init__(self, monorepo: Monorepo, directory: Path) -> None:
        self.monorepo = monorepo
        self.gates = directory / "gates"
        self.gates.mkdir()
        self.renew()

    def renew(self) -> None:
        """Makes its packages others, and closes the gates."""
        for gate in self.gates.iterdir():
            gate.unlink()
        self.word = uuid.uuid4().hex
        self.monorepo.write("app/default.nix", _NIX.replace("WORD", self.word).replace("GATES", str(self.gates)))
        self.monorepo.write("app/BUILD", _BUILD)

    def open(self, *names: str) -> None:
        for name in names:
            (self.gates / name).touch()

    @contextmanager
    def package(self) -> Iterator[subprocess.Popen[str]]:
        """Runs `pants package` while the body runs; its standard error is a pipe."""
        with subprocess.Popen(
            self.monorepo.command("package", "app:image"),
            cwd=self.monorepo.root,
            env=self.monorepo.environment(),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                self.open("first-1.0", "second-2.0", "third-3.0")
                process.kill()

    @property
    def files(self) -> list[str]:
        return sorted(os.listdir(self.monorepo.root / ".pants.d" / "nix"))


@pytest.fixture(scope="module")
def example(machine_nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    directory = tmp_path_factory.mktemp("progress")
    with Monorepo.create(directory, machine_nix).with_daemon() as monorepo:
        yield Example(monorepo, directory)


def _until(process: subprocess.Popen[str], text: str) -> str:
    """Returns the line of standard error that has `text`; what comes before is read over."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return line
    raise AssertionError("".join(lines))


def test_a_long_build_says_what_is_built_and_how_much_is_left(example: Example) -> None:
    """While it runs; in lines of Pants, of which there are few. Nix's own words are in the log, as ever."""
    with example.package() as process:
        line = _until(process, "Building first")
        assert re.search(r"\[INFO\] Building first-1\.0 \(0 built, 2 left\)$", line.rstrip()), line
        example.open("first-1.0", "second-2.0")
        line = _until(process, "Building third")
        assert re.search(r"\[INFO\] Building third-3\.0 \(2 built, 0 left\)$", line.rstrip()), line
        example.open("third-3.0")
        assert process.stderr is not None and "Building" not in process.stderr.read()
        assert process.wait(60) == 0
    assert example.files == ["app.third.log"]
    log = (example.monorepo.root / ".pants.d" / "nix" / "app.third.log").read_text()
    assert log.count("building '/nix/store/") == 3 and "noise-second-2.0\n" in log and "@nix" not in log


def test_an_interrupt_ends_it(example: Example) -> None:
    """Nothing is left that looks or builds, and the next command says where it is."""
    example.renew()
    with example.package() as process:
        _until(process, "Building first")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
        wait_until(lambda: not running(example.word))
    example.renew()
    with example.package() as process:
        _until(process, "Building first-1.0 (0 built, 2 left)")
        example.open("first-1.0", "second-2.0", "third-3.0")
        assert process.wait(60) == 0
    assert [name for name in example.files if name.endswith(".progress")] == []


def test_colours_are_where_pants_has_them(example: Example) -> None:
    """In lines for people, if `colors` says so; what one command remembers is not told with colours by the next."""
    monorepo = example.monorepo
    coloured = monorepo.pants("--colors", "package", "app:image")
    digest = monorepo.descriptor("app/image.image.json")["digest"]
    assert f"Digest \x1b[36m{digest}\x1b[0m, 1 layer of 0.0 MB, \x1b[32mas before\x1b[0m" in coloured.stderr
    plain = monorepo.pants("--no-colors", "package", "app:image")
    assert f"Digest {digest}, 1 layer of 0.0 MB, as before" in plain.stderr and "\x1b" not in plain.stderr
    # A pipe is no place for colours.
    assert "\x1b" not in monorepo.pants("package", "app:image").stderr
    assert b"\x1b" not in (monorepo.root / "dist/app/image.image.json").read_bytes()
    old = monorepo.root / "old.json"
    old.write_bytes((monorepo.root / "dist/app/image.image.json").read_bytes())
    example.renew()
    example.open("first-1.0", "second-2.0", "third-3.0")
    words = ("nix-layers", "--nix-layers-diff=old.json")
    shown = monorepo.pants("--colors", *words, "app:image").stdout
    assert re.search("^\x1b\\[33m1\\+ .*\x1b\\[0m$", shown, re.MULTILINE), shown
    assert re.search("^\x1b\\[31m *1- .*\x1b\\[0m$", shown, re.MULTILINE), shown
    assert "\x1b" not in monorepo.pants("--no-colors", *words, "app:image").stdout
    monorepo.pants("--colors", *words, "--nix-layers-output-file=layers.txt", "app:image")
    text = (monorepo.root / "layers.txt").read_text()
    assert "1+" in text and "\x1b" not in text
    assert "\x1b[33mnew: 1 layer of 0.0 MB\x1b[0m" in monorepo.pants("--colors", "package", "app:image").stderr
