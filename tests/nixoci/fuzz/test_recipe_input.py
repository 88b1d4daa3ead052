"""Recipes, and what they are made of: store paths, hashes, permissions, globs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from nixoci.compression.formats import Compression
from nixoci.errors import InvalidInputError
from nixoci.layer.copied_tree import things_from_json, things_to_json, tree_from_json, tree_to_json
from nixoci.layer.layer import Layer
from nixoci.program.run import ProgramRun
from nixoci.recipe.capabilities import capability_names
from nixoci.recipe.files import FileEntry, FilesRecipe, check_destination
from nixoci.recipe.globs import check_glob, glob_expression
from nixoci.recipe.layer import LayerRecipe, Owner, Permission, RecipeEntry
from nixoci.recipe.recipe import parse_recipe
from nixoci.store.hashes import parse_sha256, to_nix_base32, to_sri
from nixoci.store.path import STORE_DIR, StorePath

from tests.nixoci.fuzz.fuzz import fuzz, mutations

_DIGITS = "0123456789abcdfghijklmnpqrsvwxyz"
_PATHS = [f"{STORE_DIR}/{_DIGITS}-{name}" for name in ("hello-2.12", "x", "glibc-2.36-46-bin")]
_HASH = to_sri(bytes(range(32)))
_ENTRIES = [{"path": path, "narHash": _HASH} for path in _PATHS]
_PERMISSION = {"path": f"{STORE_DIR}/[^/]+/bin/.*", "mode": 0o755, "uid": 1, "uname": "app"}
_FILE = {"path": "/app/x", "mode": "0644", "sha256": "0" * 64, "size": 1}
_RECIPES = (
    {"version": 2, "entries": _ENTRIES},
    {
        "version": 2,
        "entries": [{**_ENTRIES[0], "destination": "/"}],
        "permissions": [_PERMISSION, {"path": "/x", "capabilities": ["cap_net_raw"]}],
        "owner": {"uid": 1, "gid": 2, "uname": "a", "gname": "b"},
        "excludes": ["share/**", "*.a"],
        "dialect": "nix2container",
    },
    {
        "version": 2,
        "files": [
            {"path": "/app", "mode": "0755", "owner": {"uid": 1, "gid": 1, "uname": "", "gname": ""}},
            {**_FILE, "capabilities": ["cap_net_raw"]},
            {"path": "/app/text", "mode": "0644", "text": "a"},
            {"path": "/app/link", "mode": "0777", "target": "x"},
        ],
    },
    {
        "version": 2,
        "registrations": {
            _PATHS[0]: {"narHash": _HASH, "narSize": 1, "references": [_PATHS[1]]},
            _PATHS[1]: {
                **{"narHash": _HASH, "narSize": 2, "references": [], "ca": "text:sha256:" + "0" * 52},
                **{"deriver": _PATHS[2] + ".drv", "signatures": ["a:b"]},
            },
        },
    },
)
_CORPUS = [json.dumps(recipe).encode() for recipe in _RECIPES]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_recipes(seed: int) -> None:
    """What is taken for one has one form, and that is taken for the same."""

    def check(data: bytes) -> None:
        recipe = parse_recipe(data)
        assert parse_recipe(recipe.to_json()) == recipe
        assert recipe.summary is not None and recipe.paths is not None

    fuzz(check, _CORPUS, seed)


def test_the_recipes_of_the_corpus_are_valid() -> None:
    assert {type(parse_recipe(data)).__name__ for data in _CORPUS} == {
        *("LayerRecipe", "FilesRecipe", "DatabaseRecipe")
    }


@pytest.mark.parametrize("parse", [StorePath.parse, StorePath.parse_base_name])
def test_store_paths(parse: Any) -> None:
    """What is taken for one is in the store directory, without anything below it, in ASCII."""

    def check(data: bytes) -> None:
        path = parse(data.decode("utf-8", "surrogateescape"))
        assert re.fullmatch(r"/nix/store/[0-9a-z]{32}-[^/\s]+", path) and path.isascii()
        assert path.isprintable() and StorePath.parse_base_name(path.base_name) == path

    corpus = [path.encode() for path in _PATHS]
    fuzz(check, corpus + [path.rpartition(b"/")[2] for path in corpus], 1)


def test_hashes() -> None:
    """All notations that are taken come to 32 bytes."""

    def check(data: bytes) -> None:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = data.decode("utf-8", "surrogateescape")
        raw = parse_sha256(value)
        assert len(raw) == 32 and parse_sha256(f"sha256:{to_nix_base32(raw)}") == raw

    raw = bytes(range(32))
    forms = (to_sri(raw), f"sha256:{raw.hex()}", f"sha256:{to_nix_base32(raw)}")
    objects = ({"algorithm": "sha256", "hash": text} for text in (*forms, raw.hex()))
    fuzz(check, [*(form.encode() for form in forms), *(json.dumps(o).encode() for o in objects)], 1)


def test_permissions() -> None:
    """What is taken can be asked, and is wrong on no path of its own."""

    def check(data: bytes) -> None:
        permission = Permission(data.decode("utf-8", "surrogateescape"))
        for path in ("/", "/nix/store", _PATHS[0], "/etc/shadow"):
            assert permission.may_match(path) or not permission.matches(path)
        assert Permission(re.escape("/a.b")).may_match("/a.b")

    corpus = ("/etc/shadow", r"/nix/store/[^/]+/bin/.*", r"(?i)/a|/b\.c", r"/x{2,3}(?:y|z)*")
    fuzz(check, [text.encode() for text in corpus], 1)


def test_capabilities() -> None:
    def check(data: bytes) -> None:
        names = capability_names([data.decode("utf-8", "surrogateescape")])
        assert capability_names(names) == names

    fuzz(check, (b"cap_net_raw", b"NET_ADMIN", b"CAP_BPF"), 1)


def test_destinations() -> None:
    """What can be the place of something is one path, and never that of a deletion."""

    def check(data: bytes) -> None:
        path = data.decode("utf-8", "surrogateescape")
        check_destination(path)
        entry = FileEntry(path, 0o644, text="")
        assert path[0] == "/" and not {"", ".", ".."} & set(path[1:].split("/"))
        assert entry.parent == "/" or path.startswith(entry.parent + "/")
        directories = [FileEntry(place, 0o755) for place in _parents(path)]
        assert FilesRecipe((entry, *directories)).to_json()

    fuzz(check, (b"/etc/passwd", "/é/b".encode(), b"/a b", b"/.wh.x", b"/nix/store", b"/x/../y"), 1)


def _parents(path: str) -> list[str]:
    names = path.split("/")
    return ["/".join(names[:end]) for end in range(2, len(names))]


def test_globs() -> None:
    """What is taken for one is an expression that Python has, which says something of any path at once."""
    paths = ["", "a", "lib/x.a", "a/" * 500 + "b", "a" * 5_000, "*" * 300 + "/", "\n", "\udcff/[é"]

    def check(data: bytes) -> None:
        pattern = data.decode("utf-8", "surrogateescape")
        check_glob("exclude", pattern)
        matches = re.compile(glob_expression([pattern, "x"])).fullmatch
        for path in (*paths, pattern):
            matches(path)
        if set(pattern).isdisjoint("*?"):
            assert matches(pattern) and not matches(pattern + "/a")

    fuzz(check, (b"share/**", b"**/*.a", b"a*b?c/**/d", "é[x]".encode(), b"**", b"*a*a*a*a*a*b"), 1)


def test_globs_of_a_recipe() -> None:
    """A recipe takes those globs that are valid, in any number."""
    path = StorePath.parse(_PATHS[0])
    for data in mutations((b"share/**", b"**/*.a"), 2):
        patterns = tuple(data.decode("utf-8", "surrogateescape").split(","))
        try:
            recipe = LayerRecipe((RecipeEntry(path, _HASH, path),), excludes=patterns)
        except InvalidInputError:
            continue
        assert re.compile(glob_expression(recipe.excludes))
        assert LayerRecipe.from_json(recipe.to_json()) == recipe


def test_owners() -> None:
    fuzz(
        lambda data: Owner.from_document(json.loads(data) if _is_object(data) else {}),
        [b'{"uid": 1, "gid": 2, "uname": "a", "gname": "b"}', b"{}"],
        1,
    )


def _is_object(data: bytes) -> bool:
    try:
        return isinstance(json.loads(data), dict)
    except (ValueError, RecursionError):
        return False


def test_layers() -> None:
    digest = f"sha256:{'0' * 64}"
    layer = {"digest": digest, "size": 1, "diff_id": digest, "media_type": "x"}
    compression = Compression.create("zstd").to_document()
    corpus = (layer, {**layer, "compression": compression, "tar_size": 2})
    fuzz(lambda data: Layer.from_json(data).to_json(), [json.dumps(one).encode() for one in corpus], 1)


def test_what_is_copied() -> None:
    tree = json.dumps({"directories": ["/a"], "others": ["/a/b", "/\udcff"]}).encode()
    fuzz(lambda data: tree_to_json(tree_from_json(data)), (tree,), 1)
    things = b'{"/a": "0644 sha256:0", "/b": "0777 link:x y"}'

    def check(data: bytes) -> None:
        found = things_from_json(data)
        assert things_from_json(things_to_json(found)) == found

    fuzz(check, (things,), 1)


def test_runs_of_programs() -> None:
    document = {"places": [f"{_PATHS[0]}/bin/x"], "in_store": True, "arguments": ["-a"], "directory": "files"}
    fuzz(lambda data: ProgramRun.from_json(data), [json.dumps(document).encode()], 1)
