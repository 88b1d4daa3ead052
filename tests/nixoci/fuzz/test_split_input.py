"""Documents that steps hand to each other, and the plugin to steps: requests, facts, answers."""

from __future__ import annotations

import json

import pytest
from nixoci.elf.facts import facts_from_json, facts_to_json
from nixoci.elf.store_facts import StoreLibraries, StoreLibrariesRequest
from nixoci.layering.document import split_document, split_from_json, split_to_json
from nixoci.layering.split import STRATEGIES
from nixoci.python.distributions import Installed
from nixoci.python.interpreter import parse_interpreter, parse_platform
from nixoci.store.path import STORE_DIR

from tests.nixoci.fuzz.fuzz import fuzz

_PATHS = [f"{STORE_DIR}/{digit * 32}-p{digit}" for digit in "0123"]
_GRAPH = [
    {"path": path, "narSize": 10**number, "references": _PATHS[number:]}
    for number, path in enumerate(_PATHS)
]
_REQUESTS = (
    {"graph": _GRAPH, "max_layers": 3},
    {
        **{"graph": _GRAPH, "max_layers": 2, "previous": [_PATHS[:2], []]},
        **{"weights": {"p*": 2, "[a-z]?": 0.5}, "rates": [["glibc*", 0], ["*", 1e3]]},
        **{"groups": [["p1", "p2*"], ["*"]], "first_party": _PATHS[:1]},
    },
)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_requests_of_splits(strategy: str) -> None:
    """What is taken for one is split, and each path is in one layer."""

    def check(data: bytes) -> None:
        layers = split_from_json(split_document(data, strategy))
        paths = [path for layer in layers for path in layer]
        assert len(paths) == len(set(paths)) == len(json.loads(data)["graph"]) and all(layers)

    fuzz(check, [json.dumps(request).encode() for request in _REQUESTS], 1)


def test_splits() -> None:
    corpus = (json.dumps({"layers": [_PATHS[:1], _PATHS[1:]]}).encode(),)
    fuzz(lambda data: split_to_json(split_from_json(data)), corpus, 1)


def test_facts_of_elf_files() -> None:
    facts = {
        **{"machine": "x86-64", "bits": 64, "interpreter": "/lib/ld", "needed": ["libc.so.6"]},
        **{"soname": "x", "runpath": ["/a"], "rpath": [], "no_default": False},
    }
    fuzz(lambda data: facts_to_json(facts_from_json(data)), (json.dumps({"/a": facts}).encode(),), 1)


def test_libraries_of_the_store() -> None:
    request = {
        "store_paths": {_PATHS[0]: "sha256-x"},
        **{"programs": [f"{_PATHS[0]}/bin/a"], "directories": [f"{_PATHS[0]}/lib"]},
    }
    fuzz(lambda data: StoreLibrariesRequest.from_json(data).to_json(), (json.dumps(request).encode(),), 1)
    program = {
        **{"path": "/a", "loader": "/ld", "machine": "x86-64", "bits": 64, "loaded": ["libc.so.6"]},
        **{"rpath": ["/x"], "defaults": ["/y"]},
    }
    answer = {"programs": [program], "directories": {"/a": ["b", "c"]}}

    def check(data: bytes) -> None:
        found = StoreLibraries.from_json(data)
        StoreLibraries.union([found, found]).to_json()

    fuzz(check, (json.dumps(answer).encode(),), 1)


def test_interpreters() -> None:
    platform = {
        "marker_environment": {"python_version": "3.11", "python_full_version": "3.11.4", "os_name": "posix"},
        "compatible_tags": ["py3-none-any"],
    }
    fuzz(parse_platform, (json.dumps(platform).encode(),), 1)
    answer = json.dumps({"path": f"{_PATHS[0]}/bin/python3", "platform": platform, **platform}).encode()
    fuzz(parse_interpreter, (answer,), 1)


def test_installed_distributions() -> None:
    installed = {
        "distributions": [{"name": "a", "version": "1", "files": ["a.py"]}],
        **{"data": ["share"], "left_out": ["x.pyc"], "scripts": {"a": True}},
    }
    fuzz(lambda data: Installed.from_json(data).to_json(), (json.dumps(installed).encode(),), 1)
