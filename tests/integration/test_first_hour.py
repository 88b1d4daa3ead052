"""docs/first-hour.md, done: its files are written and its commands run, in its order."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

import pytest
from pants.version import VERSION

from tests.docs.pages import Block, page
from tests.integration.support import engines
from tests.integration.support.closures import materialize_debian_closure
from tests.integration.support.monorepo import Monorepo
from tests.integration.support.nix import Nix
from tests.integration.support.pantsd import PANTSD_TOO_SLOW, await_pantsd, pantsd_ends
from tests.integration.support.pex import pex_options
from tests.integration.support.process import run
from tests.integration.support.registry import Registry, registry
from tests.integration.support.run_image import environment_of
from tests.integration.support.tools import tool

#: What the test has something else for: how the line begins, and its registry.
_REGISTRY_COMMAND = "podman run --detach"
_REGISTRY = "localhost:5000"
_VERSION = 'pants_version = "2.17.1"'
_PLUGINS = 'plugins = ["pants-backend-nix==0.2.0"]'
_NIXPKGS = "github:NixOS/nixpkgs/nixos-25.05"

#: With the attributes that the page takes from nixpkgs.
_STAND_IN = """\
{ outputs = _: { legacyPackages.x86_64-linux.python3 = (import ./debian).python; }; }
"""


@dataclass(frozen=True)
class Shell:
    """Where somebody types what the page says.

    :param root: of the monorepo that the page makes.
    :param here: a file with the current directory.
    :param replaced: what stands for what in files and commands.
    """

    root: Path
    here: Path
    environment: dict[str, str]
    replaced: Sequence[tuple[str, str]]

    def text(self, text: str) -> str:
        for old, new in self.replaced:
            text = text.replace(old, new)
        return text

    def write(self, block: Block) -> None:
        """Writes a file; its first line names it."""
        name, rest = block.text.split("\n", 1)
        file = self.root / name[2:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.text(rest))

    def type(self, command: str) -> str:
        """Runs a command and returns what it printed."""
        script = f"{self.text(command)}\npwd > {shlex.quote(str(self.here))}"
        words = ["/bin/sh", "-euc", script]
        here = Path(self.here.read_text().strip())
        done = run(words, env=self.environment, cwd=here, timeout=900, check=False)
        if PANTSD_TOO_SLOW in done.stderr:
            await_pantsd(self.root)
            done = run(words, env=self.environment, cwd=here, timeout=900, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


def _steps(block: Block) -> Iterator[tuple[str, Sequence[str]]]:
    """Returns the commands of a block, each with the lines that it prints according to the page."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, *printed = part.splitlines()
        yield command, printed


def _missing(printed: Sequence[str], output: str) -> list[str]:
    """Returns the lines of the page that the output lacks."""
    patterns = {line: ".*".join(map(re.escape, line.split("…"))) for line in printed if line != "…"}
    return [
        line
        for line, pattern in patterns.items()
        if not re.search(rf"^(?:\S+ \[\w+\] )?{pattern}\s*$", output, re.MULTILINE)
    ]


def _write_program(file: Path, words: Sequence[str]) -> None:
    """Writes a program that runs `words` with the arguments that it gets."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
    file.chmod(0o755)


@pytest.fixture
def to(tmp_path: Path) -> Iterator[Registry]:
    with registry(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def shell(tmp_path: Path, machine_nix: Nix, to: Registry) -> Iterator[Shell]:
    nixpkgs = tmp_path / "nixpkgs"
    materialize_debian_closure(nixpkgs / "debian")
    (nixpkgs / "flake.nix").write_text(_STAND_IN)
    other = Monorepo.create(tmp_path, machine_nix, name="settings")
    root = tmp_path / "acme"
    own = Monorepo(root, tmp_path / "cache", other.home, machine_nix, daemon=True)
    options = [word for word in pex_options() if not word.startswith("--backend-packages")]
    options = [word for word in options if "constraints" not in word]
    (pythonpath,) = re.findall("^pythonpath = .*$", (other.root / "pants.toml").read_text(), re.M)
    programs = tmp_path / "programs"
    words = [word for word in own.command(*options) if word != "--stats-log"]
    _write_program(programs / "pants", words)
    replaced = (
        (_VERSION, f'pants_version = "{VERSION}"'),
        (_PLUGINS, pythonpath),
        (_NIXPKGS, f"path:{nixpkgs}"),
        (_REGISTRY, to.host),
    )
    with engines.podman() as podman, pantsd_ends(root):
        environment = own.environment(environment_of(podman))
        # Nothing that it starts or mounts outlives it; pantsd does.
        _write_program(programs / "podman", podman.command(tool("podman")))
        environment["PATH"] = os.pathsep.join([str(programs), environment["PATH"]])
        # Its containers have no network of their own.
        environment["PANTS_NIX_IMAGES_RUN_ARGS"] = "['--network=none']"
        here = tmp_path / "here"
        here.write_text(str(tmp_path))
        yield Shell(root, here, environment, replaced)


def test_the_first_hour(shell: Shell, to: Registry) -> None:
    """Each file and each command, in order; they print what the page says."""
    ran = []
    for block in page("docs/first-hour.md").blocks("console", "toml", "gitignore", "python", "nix"):
        if block.language != "console":
            shell.write(block)
            continue
        for command, printed in _steps(block):
            ran.append(command)
            if command.startswith(_REGISTRY_COMMAND):
                continue
            output = shell.type(command)
            assert _missing([shell.text(line) for line in printed], output) == [], (
                f"{block.where}: {command}\n{output}"
            )
    assert sum(command.startswith("pants ") for command in ran) >= 6
    # Layers, config and manifest at first; then one layer and a config. The last time nothing.
    manifests = [r for r in to.requests("PUT", "/manifests/") if r.status == 201]
    assert len(manifests) == 2
