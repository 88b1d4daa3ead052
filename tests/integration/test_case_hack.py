"""Stores as macOS has them, with real Nix: names with the suffix of the setting `use-case-hack` on the disk.

The setting works on any system. What the file systems of macOS do besides is not tested here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Mapping

import nixoci
import pytest
from nixoci.layer.layer import Layer
from nixoci.layer.source import LayerSource
from nixoci.recipe.layer import DIALECTS, ROOT, LayerRecipe, Permission, RecipeEntry
from nixoci.store.case_hack import CASE_HACK
from nixoci.store.nix import Nix as CoreNix
from nixoci.store.path import StorePath

from tests.integration.support.nix import Nix

#: By the places of the files.
TREE = {
    "A/x": "1",
    "a/B": "2",
    "a/b/deep": "3",
    "README": "4",
    "ReadMe": "5",
    "readme": "6",
    "etc/x~nix~case~hack": "7",
}
WITH_HACK = {"NIX_CONFIG": "use-case-hack = true\n"}


class Store:
    """A store of its own, and the core on it.

    :param variables: of the environment, besides those of `nix`.
    """

    def __init__(self, nix: Nix, directory: Path, variables: Mapping[str, str] = {}) -> None:
        self.directory = directory
        self.nix = nix.chroot_store(directory)
        self.environment = {**self.nix.environment(), "HOME": str(directory), **variables}

    def run(self, program: str, *arguments: str, data: bytes = b"") -> bytes:
        return subprocess.run(
            [self.nix.bin_directory / program, *arguments],
            input=data,
            env=self.environment,
            check=True,
            stdout=subprocess.PIPE,
        ).stdout

    def names(self, path: str, below: str = "") -> set[str]:
        """Returns the names on the disk."""
        return set(os.listdir(f"{self.directory}{path}/{below}"))

    def nixoci(self, *arguments: str, data: bytes = b"") -> Any:
        output = subprocess.run(
            [sys.executable, "-m", "nixoci", *arguments],
            input=data,
            env={**self.environment, "PYTHONPATH": str(Path(nixoci.__path__[0]).parent)},
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        return json.loads(output) if output else None


def write_tree(root: Path) -> Path:
    for name, text in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "a" / "B").chmod(0o755)
    return root


def recipes(path: str, nar_hash: str) -> list[LayerRecipe]:
    """In the store and at the root, with all that goes by names, in each dialect."""
    store_path = StorePath.parse(path)
    in_store = RecipeEntry(store_path, nar_hash, path)
    at_root = RecipeEntry(store_path, nar_hash, ROOT)
    permissions = (
        Permission(".*/a/b", uid=3),
        Permission(f".*/{CASE_HACK}.*", uid=4),
        Permission(".*/readme", capabilities=("cap_net_raw",)),
    )
    return [
        LayerRecipe(entries, permissions, dialect=dialect, excludes=excludes)
        for entries in ((in_store,), (at_root,), (in_store, at_root))
        for dialect in DIALECTS
        for excludes in ((), ("ReadMe", "a/b/*", "[A-Z]~*"))
    ]


def check_layers(nix: Nix, directory: Path) -> None:
    """A path that is imported into a store of macOS has the layers that it has elsewhere."""
    plain = Store(nix, directory / "plain")
    hacked = Store(nix, directory / "hacked", WITH_HACK)
    path = plain.run("nix-store", "--add", str(write_tree(directory / "tree"))).decode().strip()
    hacked.run("nix-store", "--import", data=plain.run("nix-store", "--export", path))
    assert hacked.names(path, "") == {
        *("A", f"a{CASE_HACK}1", "README", f"ReadMe{CASE_HACK}1", f"readme{CASE_HACK}2", "etc"),
    }
    nar_hash = plain.nixoci("closure", path)[path]["narHash"]
    assert hacked.nixoci("closure", path)[path]["narHash"] == nar_hash
    source = LayerSource(lambda: CoreNix.find(hacked.environment))
    for recipe in recipes(path, nar_hash):
        data = recipe.to_json()
        for command in ("digest", "copied-tree"):
            expected = plain.nixoci(command, "-", data=data)
            assert hacked.nixoci(command, "-", data=data) == expected
        layer = Layer.from_json(json.dumps(plain.nixoci("digest", "-", data=data)).encode())
        written = bytearray()
        assert source.write_layer(recipe, layer, written.extend) == layer.size == len(written)


def test_the_layers_are_those_of_other_stores(machine_nix: Nix, tmp_path: Path) -> None:
    check_layers(machine_nix, tmp_path)


def test_so_they_are_with_newer_versions_of_nix(newer_nix: Nix, tmp_path: Path) -> None:
    check_layers(newer_nix, tmp_path)


@pytest.mark.parametrize("source", ["variable", "file", "setting"])
def test_steps_of_pants_know_the_setting(machine_nix: Nix, tmp_path: Path, source: str) -> None:
    """Wherever it is written: in `[nix].env_vars`, nix.conf or `[nix].extra_options`."""
    variables = dict(WITH_HACK) if source == "variable" else {}
    arguments = ["--setting=use-case-hack=true"] if source == "setting" else []
    if source == "file":
        variables["NIX_CONF_DIR"] = str(tmp_path)
        configuration = machine_nix.configuration_directory / "nix.conf"
        (tmp_path / "nix.conf").write_text(configuration.read_text() + WITH_HACK["NIX_CONFIG"])
    plain = Store(machine_nix, tmp_path / "plain")
    path = plain.run("nix-store", "--add", str(write_tree(tmp_path / "tree"))).decode().strip()
    Store(machine_nix, tmp_path / "hacked", WITH_HACK).run(
        "nix-store", "--import", data=plain.run("nix-store", "--export", path)
    )
    hacked = Store(machine_nix, tmp_path / "hacked", variables)
    tools = tmp_path / "tools"
    hacked.nixoci("tools", str(tools), "--environment-name=NIX_CONFIG", *arguments)
    nar_hash = plain.nixoci("closure", path)[path]["narHash"]
    data = recipes(path, nar_hash)[0].to_json()
    found = hacked.nixoci("--tools", str(tools / "tools.json"), "digest", "-", data=data)
    assert found == plain.nixoci("digest", "-", data=data)


def test_without_the_setting_names_are_as_they_are(machine_nix: Nix, tmp_path: Path) -> None:
    """A file that is really called so keeps its name, and is another file for all that goes by names."""
    store = Store(machine_nix, tmp_path / "store")
    layers = []
    for name in (f"x{CASE_HACK}1", "x"):
        tree = tmp_path / name / "tree"
        tree.mkdir(parents=True)
        (tree / name).write_text("1")
        path = store.run("nix-store", "--add", str(tree)).decode().strip()
        entry = RecipeEntry(StorePath.parse(path), store.nixoci("closure", path)[path]["narHash"], ROOT)
        data = LayerRecipe((entry,)).to_json()
        assert store.nixoci("copied-tree", "-", data=data)["others"] == [f"/{name}"]
        layers.append(store.nixoci("digest", "-", data=data)["digest"])
    assert len(set(layers)) == 2
