"""Many packages in one command of the real Pants: how often Nix is started, and what a change does."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.support.monorepo import Monorepo, PantsRun
from tests.integration.support.nix import Nix

_COUNT = 40

_MANY = """\
{ system }:
let
  lib = import ./lib/first.nix;
  run = name: script: derivation {
    inherit name system; builder = "/bin/sh"; args = [ "-e" "-c" script ]; word = lib.word;
  };
in {
ATTRIBUTES
}
"""

_OWN = """\
{ system }: derivation {
  name = "own"; inherit system; builder = "/bin/sh"; args = [ "-c" "echo WORD > $out" ];
}
"""


@dataclass(frozen=True)
class Example:
    """A monorepo with an image of many packages of one file, and of one that has a file of its own."""

    monorepo: Monorepo
    first: PantsRun

    def package(self, *options: str) -> PantsRun:
        return self.monorepo.pants(*options, "package", "app:image", "app:other")

    def digests(self) -> list[str]:
        return [self.monorepo.descriptor(f"app/{name}.image.json")["digest"] for name in ("image", "other")]


def _write(monorepo: Monorepo) -> None:
    attributes = "\n".join(
        f'  p{n} = run "p{n}" "echo $word {n} > $out";' for n in range(_COUNT)
    )
    monorepo.write("app/many.nix", _MANY.replace("ATTRIBUTES", attributes))
    monorepo.write("app/lib/first.nix", "import ./second.nix")
    monorepo.write("app/lib/second.nix", "import ./third.nix")
    monorepo.write("app/lib/third.nix", f'{{ word = "{uuid.uuid4().hex}"; }}')
    monorepo.write("app/lib/unused.nix", "{ }")
    monorepo.write("app/own.nix", _OWN.replace("WORD", uuid.uuid4().hex))
    targets = [
        f'nix_package(name="p{n}", source="many.nix", attr="p{n}", dependencies=[":lib"])'
        for n in range(_COUNT)
    ]
    names = ", ".join(f'":p{n}"' for n in range(_COUNT))
    monorepo.write(
        "app/BUILD",
        "\n".join(
            [
                *targets,
                'nix_sources(name="lib", sources=["lib/*.nix"])',
                'nix_package(name="own", source="own.nix")',
                f'nix_image(name="image", packages=[{names}, ":own"], max_layers=10)',
                'nix_image(name="other", packages=[":p0", ":own"])',
                "",
            ]
        ),
    )


@pytest.fixture(scope="module")
def example(machine_nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> Example:
    monorepo = Monorepo.create(tmp_path_factory.mktemp("many"), machine_nix)
    _write(monorepo)
    return Example(monorepo, monorepo.pants("package", "app:image", "app:other"))


def _starts(run: PantsRun, word: str) -> int:
    """Returns how many processes were started that do something for packages, however many."""
    return len(re.findall(rf"Starting: {word} ", run.stderr))


def test_nix_is_started_seldom(example: Example) -> None:
    """Of evaluators, one for each file, and one for those who came while it was at work."""
    assert 2 <= _starts(example.first, "Evaluate") <= 4
    assert 1 <= _starts(example.first, "Build") <= 4
    assert _starts(example.first, "Query closure of") == 0
    assert re.search(r"Starting: Evaluate app:p\S+, app:p\S+, app:p\S+ and \d+ more", example.first.stderr)
    log = re.search(r"Starting: Build .* more \(log: (\S+)\)", example.first.stderr)
    assert log is not None
    assert "building '" in (example.monorepo.root / log[1]).read_text()


def test_nothing_has_changed(example: Example) -> None:
    """All results come from the cache, without Nix."""
    run = example.package()
    assert run.started == () and "local_execution_requests" not in run.counters


def test_a_file_that_nothing_reads(example: Example) -> None:
    """It could have been read: what sees it is evaluated once more, and that is all."""
    before = example.digests()
    example.monorepo.write("app/lib/unused.nix", "{ changed = true; }")
    run = example.package()
    assert all(step.startswith("Evaluate app:p") for step in run.started)
    assert 1 <= _starts(run, "Evaluate") <= 3
    assert example.digests() == before
    assert example.package().started == ()


def test_a_file_that_is_no_source(example: Example) -> None:
    example.monorepo.write("app/lib/README.md", "Not seen by any.")
    assert example.package().started == ()


def test_a_file_of_one_package(example: Example) -> None:
    """One attribute is evaluated, one package is built, which leaves its closure, and its layers are digested."""
    path = example.monorepo.root / "app" / "own.nix"
    path.write_text(_OWN.replace("WORD", uuid.uuid4().hex))
    run = example.package()
    packages = run.processes("Evaluate", "Build", "Query")
    assert [step.split(" (")[0] for step in packages] == ["Evaluate app:own", "Build app:own"]
    assert len(run.processes("Digest")) == 2


def test_a_file_that_is_read_through_three_imports(example: Example) -> None:
    """Exactly its packages are evaluated and built; that one has not changed which has its own file."""
    example.monorepo.write("app/lib/third.nix", f'{{ word = "{uuid.uuid4().hex}"; }}')
    run = example.package()
    text = re.sub(r"\(log: .*", "", "\n".join(run.started))
    assert "app:own" not in text
    assert _starts(run, "Evaluate") <= 3 and _starts(run, "Build") <= 4
    built = sum(
        path.read_text().count("building '")
        for path in (example.monorepo.root / ".pants.d" / "nix").glob("app.p*.log")
        if str(path.relative_to(example.monorepo.root)) in "\n".join(run.started)
    )
    assert built == _COUNT


def test_one_of_many_is_broken(example: Example, tmp_path: Path) -> None:
    """The others are evaluated and built all the same, so that they are there the next time."""
    path = example.monorepo.root / "app" / "many.nix"
    good = path.read_text()
    path.write_text(good.replace('p7 = run "p7"', 'p7 = throw "its own words"; q7 = run "p7"'))
    run = example.monorepo.pants("package", "app:image", check=False)
    assert run.result.returncode == 1
    assert "app:p7: Nix could not evaluate app/many.nix" in run.error and "its own words" in run.error
    other = example.monorepo.pants("package", "app:other")
    assert other.started == ()
    path.write_text(good)
    assert example.package().started == ()
