"""What docs/ci.md tells people to do, done: its settings, its script, its steps."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import Iterator, Mapping

import pytest

from tests.integration.support.closures import materialize_tiny_closure
from tests.integration.support.machines import Machine
from tests.integration.support.monorepo import PantsRun
from tests.integration.support.nix import Nix
from tests.integration.support.process import run
from tests.integration.support.registry import Registry, registry
from tests.integration.support.remote_cache import RemoteCache, remote_cache

_PAGE = (Path(__file__).parents[2] / "docs" / "ci.md").read_text()

_BUILD = """\
nix_package(name="greeting", source="tiny.nix", attr="greeting")
nix_image(
    name="image", packages=[":greeting"], layering="popularity", repository="acme/app"
)
"""

_OTHER = """\
nix_package(name="a", source="tiny.nix", attr="a")
nix_image(name="image", packages=[":a"], layering="popularity", repository="acme/other")
"""


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL)


def _block(language: str, words: str) -> str:
    (block,) = [block for block in _blocks(language) if words in block]
    return block


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """A monorepo in Git, with the settings and the script of the page, and a worker's state.

    :param machine: whose `monorepo` is the clone.
    """

    machine: Machine
    cache: RemoteCache
    programs: Path

    def script(self, *arguments: str, check: bool = True) -> PantsRun:
        """Runs `ci/images` as a worker does: without a daemon, and with a Pants that is installed."""
        monorepo = self.machine.monorepo
        path = f"{self.programs}{os.pathsep}{monorepo.nix.environment()['PATH']}"
        environment = monorepo.environment({"PATH": path, "PANTS_PANTSD": "false"})
        command = [*monorepo.nix.prefix, "ci/images", *arguments]
        result = run(command, env=environment, cwd=monorepo.root, timeout=600, check=check)
        return PantsRun.of(result)

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=ci", "-c", "user.email=ci@example", "-c", "commit.gpgsign=false")
        return run(["git", *identity, *arguments], cwd=self.machine.monorepo.root).stdout.strip()

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=change")

    def fresh(self, machine_nix: Nix, directory: Path) -> Pipeline:
        """The next worker: the same commit, nothing in store, caches and dist/."""
        monorepo = self.machine.monorepo
        shutil.rmtree(monorepo.root / "dist", ignore_errors=True)
        nix = dataclasses.replace(
            monorepo.nix, prefix=machine_nix.with_fresh_root(directory / "nix").prefix
        )
        changed = dataclasses.replace(monorepo, nix=nix, cache=directory / "cache")
        _install_pants(self.programs, changed.command())
        return dataclasses.replace(
            self, machine=dataclasses.replace(self.machine, monorepo=changed)
        )


def _install_pants(programs: Path, command: list[str]) -> None:
    """Writes the program `pants`: what a launcher would run, with caches of this worker."""
    words = command[command.index(sys.executable) :]
    options = [word for word in words if word != "--stats-log"]
    pants = programs / "pants"
    quoted = " ".join(f"'{word}'" for word in options)
    pants.write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
    pants.chmod(0o755)


@pytest.fixture(scope="module")
def to(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def pipeline(
    tmp_path_factory: pytest.TempPathFactory, machine_nix: Nix, to: Registry
) -> Iterator[Pipeline]:
    """Has packaged and published everything once."""
    directory = tmp_path_factory.mktemp("pipeline")
    nix = machine_nix.with_fresh_root(directory / "nix")
    with remote_cache(directory / "remote-cache") as cache:
        machine = Machine.create(directory, nix, "clone")
        root = machine.monorepo.root
        for name, build in (("app", _BUILD), ("other", _OTHER)):
            materialize_tiny_closure(root / name)
            machine.monorepo.write(f"{name}/BUILD", build)
        settings = _block("toml", "# pants.ci.toml")
        machine.monorepo.write(
            "pants.ci.toml", settings.replace("grpcs://cache.example:443", cache.address)
        )
        shared = (root / "pants.toml").read_text() + "\n" + _block("toml", "[nix]")
        shared += f'\n[nix-images.registries.test]\naddress = "{to.host}"\ndefault = true\n'
        machine.monorepo.write("pants.toml", shared)
        machine.monorepo.write("ci/images", _block("sh", "ci/images"))
        script = root / "ci" / "images"
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        machine.monorepo.write(".gitignore", "/.pids\n/.pants.d\n/dist\n")
        programs = directory / "programs"
        programs.mkdir()
        made = Pipeline(machine, cache, programs)
        _install_pants(programs, machine.monorepo.command())
        made.git("init", "--quiet", "--initial-branch=main")
        made.commit()
        made.script("publish")
        assert len(cache.written) == 8
        yield made


@pytest.fixture(autouse=True)
def on_main(pipeline: Pipeline) -> Iterator[None]:
    """Each test begins with the commit that was published."""
    yield
    pipeline.git("checkout", "--quiet", "main")


def _digests(pipeline: Pipeline) -> Mapping[str, str]:
    return {
        name: json.loads(content)["digest"]
        for name, content in pipeline.machine.dist().items()
        if name.endswith(".image.json")
    }


def test_a_pull_request_packages_what_it_changes(
    pipeline: Pipeline, tmp_path: Path, machine_nix: Nix
) -> None:
    """On a fresh worker: the image that the change concerns, and no other one; the rest is cached."""
    worker = pipeline.fresh(machine_nix, tmp_path)
    worker.git("checkout", "--quiet", "-b", "change")
    materialize_tiny_closure(worker.machine.monorepo.root / "app", "good morning")
    worker.commit()
    run = worker.script("main")
    assert set(_digests(worker)) == {"app/image.image.json"}
    steps = {"Evaluate app:greeting", "Digest layer of greeting"}
    assert set(run.processes("Evaluate", "Query", "Digest")) == steps
    assert [name for name in run.counters if name.endswith("_errors")] == []

    # Another worker, for the same commit.
    again = worker.fresh(machine_nix, tmp_path / "again")
    run = again.script("main")
    assert set(_digests(again)) == {"app/image.image.json"}
    assert run.counters["remote_cache_requests_cached"] == run.counters["remote_cache_requests"]
    assert run.started == ()
    # With `--changed-since` Pants 2.17 itself looks for Git, in processes that no cache keeps; later ones start none.
    executed = run.counters.get("local_execution_requests", 0)
    assert executed == run.counters["local_cache_requests"] - 4
    assert list((tmp_path / "again" / "nix" / "store").glob("*-*")) == []

    # A commit that concerns no image.
    worker.git("checkout", "--quiet", "-b", "words", "main")
    worker.machine.monorepo.write("README", "words")
    worker.commit()
    none = worker.fresh(machine_nix, tmp_path / "none")
    run = none.script("main")
    assert _digests(none) == {}


def test_the_main_branch_publishes_digests(
    pipeline: Pipeline, to: Registry, tmp_path: Path, machine_nix: Nix
) -> None:
    """On a fresh worker nothing is built or sent, and what to deploy is printed."""
    worker = pipeline.fresh(machine_nix, tmp_path)
    sent = len(to.requests("PUT"))
    run = worker.script("publish")
    assert len(to.requests("PUT")) == sent
    assert run.processes("Build", "Evaluate", "Query", "Digest") == ()
    assert list((tmp_path / "nix" / "store").glob("*-*")) == []
    printed = [line for line in run.stdout.splitlines() if re.match(r"\S+@sha256:\w+$", line)]
    worker.machine.pants("package", "::")
    digests = _digests(worker)
    assert len(digests) == 2
    assert sorted(printed) == sorted(
        f"{to.host}/acme/{name.split('/')[0]}@{digest}" for name, digest in digests.items()
    )


def test_a_binary_cache_beside_it(
    pipeline: Pipeline, tmp_path: Path, machine_nix: Nix
) -> None:
    """What a step has to read is downloaded, and not built, if somebody has built it."""
    builder = pipeline.machine.monorepo.nix
    store = f"file://{tmp_path}/binary-cache"
    every = builder.run("nix", "path-info", "--all").split()
    builder.run("nix", "copy", "--to", store, *(p for p in every if p.endswith("-greeting")))
    worker = pipeline.fresh(machine_nix, tmp_path)
    # Evaluated elsewhere, and digested by nobody.
    machine = dataclasses.replace(
        worker.machine, options=(f"--nix-substituters=['{store}?trusted=1']",)
    )
    machine.pants("package", "app:image")
    log = worker.machine.monorepo.root / ".pants.d" / "nix" / "app.greeting.log"
    assert "copying path" in log.read_text()
    assert "building " not in log.read_text()


def test_recipes_run_the_script() -> None:
    """Those of all three do, with the arguments that it has."""
    calls = re.findall(r"ci/images (.+)", "".join(_blocks("yaml")))
    assert len(calls) == 5
    assert calls.count("publish") == 2
    assert [call for call in calls if call != "publish" and not re.fullmatch(r'"\S.*"', call)] == []
