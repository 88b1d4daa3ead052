"""What Nix says, and what steps hand on to each other about the store: closures, tools, origins."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from nixoci.layer.source import origins_from_json, origins_to_json
from nixoci.store.closure import ClosureGraph, parse_nix_path_info
from nixoci.store.configuration import configuration_digest
from nixoci.store.evaluate import Derivation
from nixoci.store.registration import from_json, registrations_of, to_json
from nixoci.store.tools import read_packages, read_tools

from tests.nixoci.fuzz.fuzz import fuzz

_A, _B = (f"/nix/store/{digit * 32}-{name}" for digit, name in (("0", "a"), ("1", "b.drv")))
_SRI = "sha256-" + "A" * 43 + "="
_INFO = {"narHash": _SRI, "narSize": 120, "references": [_A]}
_CA = {"method": "nar", "hash": {"algorithm": "sha256", "hash": "0" * 64, "format": "base16"}}
_CLOSURES = tuple(
    json.dumps(document).encode()
    for document in (
        {_A: _INFO, _B: {**_INFO, "signatures": ["key:AAAA"], "ca": f"fixed:r:sha256:{'0' * 52}"}},
        [{"path": _A, "valid": True, **_INFO, "narHash": f"sha256:{'0' * 52}"}],
        {_A: {**_INFO, "ca": _CA, "deriver": _B, "registrationTime": 1}, _B: None},
        {"version": 2, "info": {_A[11:]: {**_INFO, "references": [_A[11:]], "ca": _CA}}},
        {_A: {**_INFO, "narHash": {"algorithm": "sha256", "hash": "0" * 64}}, "info": []},
    )
)


@pytest.mark.parametrize("parse", (ClosureGraph.from_json, parse_nix_path_info))
def test_closures(parse) -> None:  # type: ignore[no-untyped-def]
    """What is parsed is one graph, which has a JSON form and an order, and can be registered."""

    def check(data: bytes) -> None:
        graph = parse(data)
        assert ClosureGraph.from_json(graph.to_json()) == graph
        assert set(graph.referrers_first()) == set(graph)
        to_json(registrations_of(graph))

    fuzz(check, _CLOSURES, 1)


def test_registrations() -> None:
    fuzz(lambda data: to_json(from_json(data)), _CLOSURES[:1], 1)


_DERIVATION = {
    "drvPath": _B,
    "outputs": {"out": _A, "dev": _A},
    "default": "out",
    "system": "x86_64-linux",
}


def test_derivations() -> None:
    def parse(data: bytes) -> None:
        derivation = Derivation.from_json(data)
        for name, _ in derivation.outputs:
            os.fsencode(name)
        assert Derivation.from_json(derivation.to_json()) == derivation

    fuzz(
        parse,
        (json.dumps(_DERIVATION).encode(), json.dumps({**_DERIVATION, "drvPath": None}).encode()),
        1,
    )


def test_origins() -> None:
    evaluation = {
        "root": "root",
        "source": "default.nix",
        "attr": "hello",
        "system": "x86_64-linux",
    }
    origin = {
        "derivation": json.dumps(_DERIVATION),
        "paths": [_A],
        "evaluation": evaluation,
        "log": "log",
    }
    corpus = [
        json.dumps({"origins": [origin, {**origin, "evaluation": None}]}).encode(),
        json.dumps({"origins": [{**origin, "derivation": "\ud800"}]}).encode(),
    ]
    fuzz(lambda data: origins_to_json(origins_from_json(data, "/")), corpus, 1)


def test_tools(tmp_path: Path) -> None:
    """None of them is run: what is no program is said to be missing."""
    (tmp_path / "nix").touch()
    digest = configuration_digest(())
    document = {
        "nix": str(tmp_path),
        "environment": {"HOME": "/root", "PATH": "/bin"},
        "settings": {"store": "auto"},
        "configuration": {"files": [], "digest": digest},
        "store": "local?root=/somewhere",
    }
    path = tmp_path / "tools.json"

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        nix = read_tools(str(path))
        for word in (*nix.words(("nix",)), *nix.environment, *nix.environment.values()):
            assert b"\0" not in os.fsencode(word)

    fuzz(parse, (json.dumps(document).encode(),), 1, cost=20)


def test_packages(tmp_path: Path) -> None:
    def parse(data: bytes) -> None:
        (tmp_path / "packages.json").write_bytes(data)
        assert all(isinstance(item, str) for item in read_packages(str(tmp_path / "tools.json")))

    fuzz(parse, (b'{"directories": ["/a", "/b"]}',), 1, cost=10)
