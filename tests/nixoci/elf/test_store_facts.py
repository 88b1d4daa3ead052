"""Tests of `nixoci.elf.store_facts`."""

from __future__ import annotations

import json

import pytest
from nixoci.elf.store_facts import (
    StoreLibraries,
    StoreLibrariesRequest,
    StoreProgram,
    store_path_of,
)
from nixoci.errors import InvalidInputError

from tests.nixoci.store.closure_support import store_path

A, B = store_path("a"), store_path("b")
HASH = "sha256-" + "A" * 43 + "="


def test_one_request_has_one_form() -> None:
    one = StoreLibrariesRequest(((B, HASH), (A, HASH)), (f"{B}/bin/x", f"{A}/x"), (f"{A}/lib",))
    other = StoreLibrariesRequest(
        ((A, HASH), (B, HASH), (A, HASH)), (f"{A}/x", f"{B}/bin/x", f"{A}/x"), (f"{A}/lib",)
    )
    assert one == other and one.to_json() == other.to_json()
    assert StoreLibrariesRequest.from_json(one.to_json()) == one
    assert one.paths == tuple(sorted([A, B]))


@pytest.mark.parametrize("path", [f"{B}/bin/x", "/bin/sh", f"{A}x", f"{A}/../x", "relative"])
def test_a_path_must_be_in_the_store_paths(path: str) -> None:
    for paths in ({"programs": (path,)}, {"directories": (path,)}):
        with pytest.raises(InvalidInputError, match="in none of the store paths"):
            StoreLibrariesRequest(((A, HASH),), **paths)


@pytest.mark.parametrize(
    "document",
    [[], {}, {"store_paths": []}, {"store_paths": {"/x": "h"}}, {"store_paths": {str(A): 1}}],
)
def test_other_requests_are_refused(document: object) -> None:
    with pytest.raises(InvalidInputError):
        StoreLibrariesRequest.from_json(json.dumps(document).encode())


def test_answers_survive_json_and_go_together() -> None:
    known = StoreProgram(
        f"{B}/x", f"{B}/ld.so", "EM_X86_64", 64, ("libc.so.6",), (f"{B}/r",), (f"{B}/lib",)
    )
    one = StoreLibraries((known,), ((f"{B}/lib", ("x", "y")), (f"{B}/r", ())))
    other = StoreLibraries((StoreProgram(f"{A}/x"),), ((f"{A}/lib", ("z",)),))
    assert StoreLibraries.from_json(one.to_json()) == one
    both = StoreLibraries.union([one, other, one])
    assert both == StoreLibraries.union([other, one])
    assert [program.path for program in both.programs] == sorted([f"{A}/x", f"{B}/x"])
    assert dict(both.directories) == dict((*one.directories, *other.directories))
    with pytest.raises(InvalidInputError):
        StoreLibraries.from_json(b'{"programs": [{}], "directories": {}}')


def test_store_path_of() -> None:
    assert store_path_of(f"{A}/lib/x") == store_path_of(A) == A
    assert store_path_of("/usr/lib") is None and store_path_of("/nix/store") is None
