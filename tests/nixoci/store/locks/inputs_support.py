"""Flakes that others have as inputs: in local git repositories, in directories, and named by a registry."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

from nixoci.store.evaluate import evaluate
from nixoci.store.locks.update import update_lock
from nixoci.store.nix import Nix

from tests.nixoci.store.nix_support import (
    CONFIGURATION,
    SYSTEM,
    environment,
    unique_word,
    write_tree,
)

#: A flake that has no inputs, and a package.
PLAIN = '{ outputs = _: { word = "WORD"; }; }'

_IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main")


def git(directory: Path, *arguments: str) -> str:
    """Runs git and returns what it prints."""
    command = ["git", "-C", str(directory), *_IDENTITY, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(repository: Path, files: Mapping[str, str]) -> str:
    """Commits files to a git repository, which is made if it is not there, and returns the commit.

    It is another one each time, even if the files are the same.
    """
    write_tree(repository, files)
    if not (repository / ".git").exists():
        git(repository, "init", "--quiet")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--allow-empty", "--allow-empty-message", "-m", "")
    return git(repository, "rev-parse", "HEAD")


def write_registry(path: Path, repositories: Mapping[str, Path]) -> Path:
    """Writes a registry that has git repositories by name."""
    flakes = [
        {
            "from": {"type": "indirect", "id": name},
            "to": {"type": "git", "url": f"file://{repository}"},
        }
        for name, repository in repositories.items()
    ]
    path.write_text(json.dumps({"version": 2, "flakes": flakes}))
    return path


def write_inputs(directory: Path) -> dict[str, str]:
    """Writes what the flake of `write_flake` has as inputs, and returns the commits by name."""
    commits = {name: commit(directory / name, {"flake.nix": PLAIN}) for name in ("base", "named")}
    tools = (
        f'{{ inputs.base.url = "git+file://{directory}/base"; inputs.own.url = "git+file://{directory}/named"; '
        "outputs = { self, base, own }: { inherit (base) word; }; }"
    )
    commits["tools"] = commit(directory / "tools", {"flake.nix": tools})
    write_tree(directory / "plain", {"flake.nix": PLAIN})
    write_registry(directory / "registry.json", {"named": directory / "named"})
    return commits


def write_flake(root: Path, inputs: Path, more: str = "") -> Path:
    """Writes a flake with inputs of each kind.

    :param inputs: where `write_inputs` has written them.
    :param more: further inputs.
    """
    text = f"""{{
  inputs = {{
    base.url = "git+file://{inputs}/base";
    tools = {{ url = "git+file://{inputs}/tools"; inputs.base.follows = "base"; }};
    plain.url = "path:{inputs}/plain";
    sub.url = "path:./sub";
    {more}
  }};
  outputs = {{ self, base, tools, plain, sub, named, ... }}: {{
    packages.x86_64-linux.default = derivation {{
      name = "p"; system = "x86_64-linux"; builder = "/bin/sh";
      args = [ "-c" "echo $word > $out" ];
      word = base.word + tools.word + plain.word + sub.word + named.word;
    }};
  }};
}}
"""
    return write_tree(root, {"flake.nix": text, "sub/flake.nix": PLAIN})


@dataclass(frozen=True)
class Flake:
    """A flake with inputs of each kind, and a Nix that knows a registry."""

    nix: Nix
    inputs: Path
    root: Path

    @classmethod
    def create(cls, directory: Path, programs: Path | None = None) -> Flake:
        """:param programs: directory of those of Nix; by default those on PATH."""
        write_inputs(directory / "inputs")
        write_flake(directory / "source" / "f", directory / "inputs")
        registry = f"flake-registry = {directory}/inputs/registry.json\n"
        variables = environment(directory)
        variables["NIX_CONFIG"] = CONFIGURATION.replace("flake-registry =\n", registry)
        if programs is not None:
            variables["PATH"] = f"{programs}:{variables['PATH']}"
        return cls(Nix.find(variables), directory / "inputs", directory / "source")

    def lock(self, **how: Any) -> bytes:
        """As `update_lock`."""
        return update_lock(self.nix, root=str(self.root), source="f/flake.nix", **how)

    def evaluate(self, nix: Nix | None = None) -> str:
        """Evaluates it as a step does, without the registry."""
        found = evaluate(
            nix or self.nix, root=str(self.root), source="f/flake.nix", attr="", system=SYSTEM
        )
        return str(found.drv_path)

    def move(self, *names: str) -> None:
        """Makes other commits of inputs."""
        for name in names:
            commit(self.inputs / name, {"word": unique_word()})
