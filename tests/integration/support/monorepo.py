"""A small monorepo with the plugin, and the real Pants that runs in it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, Iterator, Mapping, Sequence

import nixoci

import pants_backend_nix.register
from tests.integration.support.nix import Nix
from tests.integration.support.pantsd import PANTSD_TOO_SLOW, await_pantsd, pantsd_ends
from tests.integration.support.process import CommandFailedError, run

_PANTS_TOML = """\
[GLOBAL]
backend_packages = ["pants_backend_nix"]
pythonpath = {pythonpath}
pants_ignore = ["/dist/", "/.*"]
build_file_prelude_globs = []

[anonymous-telemetry]
enabled = false

[source]
root_patterns = ["/"]
"""


#: A process that does something for several packages, of which up to four are named.
_FOR_PACKAGES = re.compile(r"(Evaluate|Query closure of|Build) (\S+(?:, \S+)+)( \(log: .*)?")


def _of_each_package(description: str) -> list[str]:
    match = _FOR_PACKAGES.fullmatch(description)
    if match is None:
        return [description]
    return [f"{match[1]} {address}{match[3] or ''}" for address in match[2].split(", ")]


@dataclass(frozen=True)
class PantsRun:
    """What a run of Pants did.

    :param started: descriptions of the processes that were started, in order; one that does something for a few
        packages is there for each of them.
    :param counters: of `--stats-log`, those that are not zero.
    """

    result: CompletedProcess[str]
    started: tuple[str, ...]
    counters: Mapping[str, int]

    @classmethod
    def of(cls, result: CompletedProcess[str]) -> PantsRun:
        """Reads what a process of Pants, or one that has run it, wrote to standard error."""
        started = [
            step
            for text in re.findall(r"\[INFO\] Starting: (.*)", result.stderr)
            for step in _of_each_package(text)
        ]
        counters = re.findall(r"^  (\w+): (\d+)", result.stderr, re.MULTILINE)
        return cls(
            result, tuple(started), {name: int(number) for name, number in counters if number != "0"}
        )

    @property
    def stdout(self) -> str:
        return self.result.stdout

    @property
    def stderr(self) -> str:
        return self.result.stderr

    @property
    def error(self) -> str:
        """What Pants said of the exception, on one line."""
        text = self.stderr.partition("Exception encountered")[2] or self.stderr
        return " ".join(text.split())

    def processes(self, *words: str) -> tuple[str, ...]:
        """Returns the processes whose description starts with one of `words`."""
        return tuple(text for text in self.started if text.startswith(words))


@dataclass(frozen=True)
class Monorepo:
    """A build root.

    :param cache: holds what Pants caches; two monorepos may share it.
    :param home: HOME of the commands.
    :param daemon: its commands use pantsd; see `with_daemon`.
    """

    root: Path
    cache: Path
    home: Path
    nix: Nix
    daemon: bool = False

    @classmethod
    def create(
        cls,
        directory: Path,
        nix: Nix,
        *,
        name: str = "repo",
        cache: Path | None = None,
        pythonpath: Sequence[Path] = (),
    ) -> Monorepo:
        """Makes an empty monorepo `directory`/`name` with an own home and, by default, cache.

        :param pythonpath: where the plugin is; by default the one that this test imports.
        """
        root, home = directory / name, directory / f"{name}-home"
        root.mkdir(parents=True)
        home.mkdir()
        modules = (nixoci, pants_backend_nix.register)
        places = pythonpath or {Path(module.__file__ or "").parents[1] for module in modules}
        text = json.dumps(sorted(map(str, places)))
        (root / "pants.toml").write_text(_PANTS_TOML.format(pythonpath=text))
        return cls(root, cache or directory / f"{name}-cache", home, nix)

    def clear(self) -> None:
        """Removes what tests have written and packaged, so that the next one finds an empty monorepo.

        Caches stay, and so does what pantsd remembers.
        """
        for path in self.root.iterdir():
            if path.name.startswith(".") or path.name == "pants.toml":
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def write(self, name: str, text: str) -> None:
        """Writes a file, relative to the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @contextlib.contextmanager
    def with_daemon(self) -> Iterator[Monorepo]:
        """Yields this monorepo with pantsd, which ends with the `with` block or with the test process.

        A run of Pants costs 9 s of processor time before it does anything, most of which is the solving of
        rule graphs, and with pantsd well under 1 s. So what is about messages, names, results,
        registries, engines and formats has a daemon, best one for all tests of a file, in
        directories of their own or rewritten by each. What is about caches has none: tests of the
        local or a remote cache, of what is started or not, of another machine or an empty store, since
        the memory of pantsd would answer instead of the caches. Nor have tests of signals
        that Pants gets, and of namespaces of processes.

        Runs must not differ in bootstrap options (`help-advanced global`), which `-l` is one of: pantsd
        would be started again. One run of another level has `daemon=False`.
        """
        with pantsd_ends(self.root):
            yield dataclasses.replace(self, daemon=True)

    def command(self, *arguments: str, daemon: bool | None = None) -> list[str]:
        """Returns the words that run Pants in the root, with caches of its own.

        :param daemon: whether pantsd is used; by default that of the monorepo.
        """
        return [
            *self.nix.prefix,
            sys.executable,
            "-m",
            "pants",
            "--pantsd" if (self.daemon if daemon is None else daemon) else "--no-pantsd",
            "--no-dynamic-ui",
            "--stats-log",
            f"--local-store-dir={self.cache / 'store'}",
            f"--named-caches-dir={self.cache / 'named'}",
            f"--pants-workdir={self.root / '.pants.d'}",
            *arguments,
        ]

    def environment(self, more: Mapping[str, str] = {}) -> dict[str, str]:
        """Returns the environment that Pants runs in: the test's, this home, and `more`."""
        # An enclosing Pants has its own build root, options and import path.
        inherited = {
            name: value
            for name, value in self.nix.environment().items()
            if not name.startswith(("PANTS_", "PEX_", "PYTHON"))
        }
        return {**inherited, "HOME": str(self.home), "NO_SCIE_WARNING": "1", **more}

    def pants(
        self,
        *arguments: str,
        check: bool = True,
        environment: Mapping[str, str] = {},
        daemon: bool | None = None,
    ) -> PantsRun:
        """Runs Pants to its end.

        :param environment: variables that replace those of the test.
        :param daemon: see `command`.
        :raises CommandFailedError: it failed, and `check` is true.
        """
        command = self.command(*arguments, daemon=daemon)
        variables = self.environment(environment)
        result = run(command, env=variables, cwd=self.root, timeout=600, check=False)
        if "--pantsd" in command and PANTSD_TOO_SLOW in result.stderr:
            await_pantsd(self.root)
            result = run(command, env=variables, cwd=self.root, timeout=600, check=False)
        if check and result.returncode != 0:
            raise CommandFailedError(command, result.returncode, result.stdout + result.stderr)
        return PantsRun.of(result)

    def descriptor(self, name: str) -> dict[str, Any]:
        """Reads a JSON file in dist/."""
        return json.loads((self.root / "dist" / name).read_text())
