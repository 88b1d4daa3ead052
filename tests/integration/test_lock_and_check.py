"""`pants nix-lock` and `pants check` in the real Pants."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import pytest

from tests.integration.support.monorepo import Monorepo, PantsRun
from tests.integration.support.nix import Nix
from tests.nixoci.store.locks.inputs_support import (
    commit,
    write_flake,
    write_inputs,
    write_registry,
)
from tests.nixoci.store.nix_support import unique_word, write_tree

_TARGETS = """\
nix_sources(name="nix", sources=["**/*.nix", "flake.lock"])
nix_package(name="p", source="flake.nix", system="x86_64-linux")
nix_image(name="image", packages=[":p"])
"""


@dataclass(frozen=True)
class Example:
    """A monorepo with flakes, and their inputs elsewhere."""

    monorepo: Monorepo
    inputs: Path

    def lock(self, *words: str, status: int = 0) -> PantsRun:
        run = self.monorepo.pants("nix-lock", *words, check=False)
        assert run.result.returncode == status, run.stdout + run.stderr
        assert len(run.processes("Lock the inputs of ")) or status
        return run

    def check(self, *words: str, status: int = 0) -> PantsRun:
        run = self.monorepo.pants("check", *words, check=False)
        assert run.result.returncode == status, run.stdout + run.stderr
        return run

    def move(self, *names: str) -> list[str]:
        return [commit(self.inputs / name, {"word": unique_word()}) for name in names]


@pytest.fixture(scope="module")
def example(machine_nix: Nix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    directory = tmp_path_factory.mktemp("lock")
    inputs = directory / "inputs"
    write_inputs(inputs)
    with Monorepo.create(directory, machine_nix).with_daemon() as monorepo:
        # The registry of the user, and the one that all have.
        everybody = write_registry(directory / "registry.json", {})
        with (monorepo.root / "pants.toml").open("a") as file:
            file.write(f'\n[nix.extra_options]\nflake-registry = "{everybody}"\n')
        registry = monorepo.home / ".config" / "nix" / "registry.json"
        registry.parent.mkdir(parents=True)
        write_registry(registry, {"named": inputs / "named"})
        yield Example(monorepo, inputs)


def test_locks_of_flakes(example: Example) -> None:
    """From an evaluation that lacks locks to one that has them; what moved is said, and what failed is alone."""
    monorepo, inputs = example.monorepo, example.inputs
    write_flake(monorepo.root / "f", inputs)
    monorepo.write("f/BUILD", _TARGETS)
    lock = monorepo.root / "f" / "flake.lock"
    error = " ".join(example.check("f:p", status=1).stderr.split())
    assert "f:p: f/flake.nix has inputs that f/flake.lock does not lock (base, named, plain, sub, tools)" in error
    assert "nix-lock --nix-lock-keep f:p`" in error
    outdated = example.lock("--check", "f:image", "f:p", "f:nix", status=1).stdout
    assert "f/flake.lock: outdated; run `" in outdated and "nix-lock --nix-lock-keep f" in outdated
    assert "f/sub/flake.lock: not needed, as there are no inputs" in outdated
    assert "  added named: git+file://" in outdated and not lock.exists()

    # A flake that cannot be locked, and one whose lock no target will have.
    monorepo.write("bad/flake.nix", f'{{ inputs.x.url = "git+file://{inputs}/nosuch"; outputs = _: {{ }}; }}')
    monorepo.write("bad/BUILD", 'nix_sources(name="nix")\n')
    monorepo.write("alone/flake.nix", f'{{ inputs.x.url = "git+file://{inputs}/base"; outputs = _: {{ }}; }}')
    monorepo.write("alone/BUILD", 'nix_package(name="p", source="flake.nix")\n')
    run = example.lock("f:nix", "bad:nix", "alone:p", status=1)
    told = " ".join(run.stderr.split())
    assert "bad/flake.nix:nix: Nix could not lock the input x of bad/flake.nix. Correct the input" in told
    assert "nosuch" in told and not (monorepo.root / "bad" / "flake.lock").exists()
    assert "No target owns alone/flake.lock" in told and "alone/BUILD: nix_source(" in told
    assert "f/flake.lock:\n  added base: git+file://" in run.stdout
    assert (monorepo.root / "alone" / "flake.lock").exists()
    error = " ".join(example.check("alone:p", status=1).stderr.split())
    assert "Evaluation does not see alone/flake.lock. No target owns it." in error
    assert "nix-lock" not in error

    # Locked as evaluation sees it; nothing moves by itself, and the world is asked again.
    assert "succeeded" in example.check("f:p").stderr
    assert example.lock("f:p").stdout == "f/flake.lock: nothing moved\n"
    before = json.loads(lock.read_text())["nodes"]["named"]["locked"]["rev"]
    base, named = example.move("base", "named")
    assert example.lock("--check", "f:p").stdout == "f/flake.lock: nothing moved\n"
    moved = example.lock("--inputs=named", "f:p", "alone:p").stdout
    assert "alone/flake.lock: has none of the inputs\n" in moved and moved.count("updated") == 1
    assert f"  updated named (git+file://{inputs}/named): {before} (20" in moved and f" → {named} (20" in moved
    assert f"→ {base}" in example.lock("f:image").stdout


def test_what_is_no_choice_of_locks(example: Example) -> None:
    """And an outdated lock gets what it lacks, and nothing else; without a final line of Pants's own."""
    monorepo = example.monorepo
    write_tree(
        monorepo.root / "g",
        {
            "flake.nix": f'{{ inputs.a.url = "git+file://{example.inputs}/base"; outputs = _: {{ }}; }}',
            "BUILD": 'nix_sources(name="nix")\nfile(name="file", source="BUILD")\n',
        },
    )
    example.lock("g:nix")
    example.move("base")
    monorepo.write(
        "g/flake.nix",
        f'{{ inputs.a.url = "git+file://{example.inputs}/base"; inputs.b = {{ url = "path:{example.inputs}/plain"; '
        "flake = false; }; outputs = _: { }; }",
    )
    assert "  added b: path:" in example.lock("--keep", "g:nix").stdout
    for words, told in {
        ("--inputs=a", "--keep", "g:nix"): "`--nix-lock-inputs` updates inputs, and `--nix-lock-keep` updates none",
        ("--inputs=c", "g:nix"): "`--nix-lock-inputs` names c, which is no input of g/flake.lock. There are: a, b.",
        ("--inputs=--option", "g:nix"): "g/flake.nix:nix: `--nix-lock-inputs` cannot be followed",
        ("g:file",): "no target that you named is one or depends on one directly",
    }.items():
        assert told in " ".join(example.lock(*words, status=1).stderr.split())
    monorepo.write("g/flake.lock", "<<<<<<< ours\n")
    assert "is broken" in example.lock("--keep", "g:nix", status=1).stderr
    run = example.lock("g:nix")
    assert "could not be read, so all of it is new" in run.stderr and "added a" in run.stdout


_MANY = """\
{ system }:
let make = name: derivation {
  inherit name system; builder = "/bin/sh"; args = [ "-c" "echo WORD > $out" ];
};
in {
  a = make "a";
  b = make "b";
  asserts = assert 1 == 2;
    make "c";
  syntax = import ./syntax.nix;
  undeclared = import ./nothing.nix; # pants: no-infer-dep
}
"""


def test_check(example: Example) -> None:
    """Each package that cannot be evaluated is told of, by target, file and line; and nothing is built."""
    monorepo = example.monorepo
    names = ["a", "asserts", "b", "missing", "syntax", "undeclared"]
    monorepo.write("many/many.nix", _MANY.replace("WORD", unique_word()))
    monorepo.write("many/syntax.nix", "{\n  x = ;\n}\n")
    packages = [f'nix_package(name="{name}", source="many.nix", attr="{name}")' for name in names]
    monorepo.write(
        "many/BUILD",
        "\n".join(
            [
                *packages,
                'nix_package(name="outputs", source="many.nix", attr="a", outputs=["dev"])',
                'nix_package(name="ready", store_path="/nix/store/00000000000000000000000000000000-x")',
                'nix_sources(name="nix")',
                'nix_image(name="image", packages=[":a", ":b"])',
                "",
            ]
        ),
    )
    run = example.check("many:a", "many:b", "many:ready", "many:image")
    assert "✓ nix succeeded." in run.stderr and not run.processes("Build")
    run = example.check("many::", status=1)
    told = " ".join(run.stderr.split())
    for name, place in {
        "asserts": "many/many.nix:8:",
        "missing": "many:missing: many/many.nix has no package at the attribute path",
        "syntax": "many/syntax.nix:2:",
        "undeclared": "reads many/nothing.nix, which evaluation cannot see",
        "outputs": "the field `outputs` names 'dev'",
    }.items():
        assert f"many:{name}: " in told and place in told, name
    assert "✕ nix failed." in run.stderr and "many:a: " not in told and "- 3 packages" in told
    started = run.processes("Build", "Evaluate")
    assert not {"Build many:a", "Evaluate many:a", "Evaluate many:b"}.intersection(started)
    assert "✕" not in example.check("--nix-skip", "many::").stderr
