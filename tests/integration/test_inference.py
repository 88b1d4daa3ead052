"""What is found in Nix files is what Nix finds there, and all that an evaluation opens."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pants_backend_nix
import pytest
from pants_backend_nix.rules.inference.paths import literals_of, references_of

from tests.integration.support.nix import Nix
from tests.integration.support.nix_corpus import CASES, write_corpus
from tests.integration.support.nix_parsers import python_with_nix_parser
from tests.integration.support.opened_files import (
    evaluation,
    files_below,
    inferred_files,
    opened_files,
)
from tests.integration.support.process import run
from tests.integration.support.tools import tool

#: What Nix prints of a path, outside of strings.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PATH = re.compile(r'(?<![\w"/])(/[^\s;,()\[\]{}"]*)')


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus").resolve()
    write_corpus(root)
    return root


def test_literals_are_those_of_the_parser_of_nix(machine_nix: Nix, corpus: Path) -> None:
    """Of each file: no path is missed, and nothing is taken for one."""
    nix_files = [path for path in files_below(corpus) if path.endswith(".nix")]
    for path in nix_files:
        printed = machine_nix.run("nix-instantiate", "--parse", corpus / path)
        places = (Path(place) for place in _PATH.findall(_STRING.sub('""', printed)))
        expected = {
            "" if place == corpus else place.relative_to(corpus).as_posix()
            for place in places
            if place == corpus or corpus in place.parents
        }
        assert literals_of((corpus / path).read_bytes(), path) == expected, path
    assert len(nix_files) > 60


@pytest.mark.parametrize("name", CASES)
def test_all_that_an_evaluation_opens_is_found(
    machine_nix: Nix, corpus: Path, name: str
) -> None:
    tool("strace")
    entry = f"{name}/{CASES[name].entry}"
    if "flake.nix" in CASES[name].files:
        subprocess.run(
            ["nix", "flake", "lock", f"path:{corpus / name}"],
            env=machine_nix.environment(),
            check=True,
        )
    opened = opened_files(corpus, evaluation(corpus, entry), machine_nix.environment())
    found = inferred_files(corpus, entry)
    assert entry in opened
    assert opened - found == set()
    if CASES[name].is_exact:
        assert found == opened


_REFERENCES = """\
import json, sys
sys.path.insert(0, sys.argv[1])
from pants_backend_nix.rules.inference.paths import references_of
def found(path):
    with open(sys.argv[2] + "/" + path, "rb") as file:
        return [vars(one) for one in references_of(file.read(), path)]
print(json.dumps({path: found(path) for path in sys.argv[3:]}))
"""


@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_newer_pythons_find_the_same(corpus: Path, version: str) -> None:
    """A newer Pants has another package with the grammar."""
    nix_files = [path for path in files_below(corpus) if path.endswith(".nix")]
    sources = Path(pants_backend_nix.__path__[0]).parent
    python = python_with_nix_parser(version)
    result = run([python, "-I", "-B", "-c", _REFERENCES, sources, corpus, *nix_files])
    assert json.loads(result.stdout) == {
        path: [vars(one) for one in references_of((corpus / path).read_bytes(), path)]
        for path in nix_files
    }
