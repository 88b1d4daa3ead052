"""Which store Nix uses, whatever chooses it: what it builds there is read there. With this machine's Nix."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Callable

import pytest
from nixoci.layer.digest import digest_layer
from nixoci.store.configuration import configuration_digest
from nixoci.store.evaluate import evaluate
from nixoci.store.location import StoreNotHereError
from nixoci.store.nar import nar_hash as file_nar_hash
from nixoci.store.nix import Nix
from nixoci.store.path import StorePath
from nixoci.store.realise import realise
from nixoci.store.tools import TOOLS_FILE, read_tools, write_tools

from tests.integration.support.tools import tool
from tests.nixoci.store.nix_support import (
    CONFIGURATION,
    SYSTEM,
    shell_derivation,
    unique_word,
    write_tree,
)
from tests.nixoci.tar.tar_support import recipe_of

#: Another result with each build.
_RANDOM = "read word < /proc/sys/kernel/random/uuid; echo $word > $out"


class Machine:
    """A machine whose usual store has one build of a package, and whose Nix is told of another store.

    :ivar path: of the package.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        # A chroot store is built in with a sandbox only, in which there must be a shell.
        text = CONFIGURATION + f"sandbox-paths = /bin/sh={tool('busybox')}\n"
        write_tree(directory, {"conf/nix.conf": text, "home/x": ""})
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "NIX_CONF_DIR": str(directory / "conf"),
        }
        package = shell_derivation(f"random-{unique_word()}", _RANDOM)
        write_tree(directory, {"sources/default.nix": f"{{ system }}: {package}"})
        self.path, _ = self.build(Nix.find(self.environment))

    def build(self, nix: Nix) -> tuple[StorePath, str]:
        """Builds the package and returns its path, and what the store says is in it."""
        root = str(self.directory / "sources")
        derivation = evaluate(nix, root=root, source="default.nix", attr="", system=SYSTEM)
        (path,) = realise(nix, derivation, ["out"], None)
        return path, nix.nar_hashes([path])[0]

    def add_to(self, file: str, text: str) -> None:
        file = str(self.directory / file)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, "a") as opened:
            opened.write(text + "\n")


def _conf_directory(machine: Machine, url: str) -> tuple[tuple[str, str], ...]:
    machine.add_to("conf/nix.conf", f"store = {url}")
    return ()


def _included(machine: Machine, url: str) -> tuple[tuple[str, str], ...]:
    machine.add_to("conf/nix.conf", "include more/own.conf")
    machine.add_to("conf/more/own.conf", f"store = {url}")
    return ()


def _user(machine: Machine, url: str) -> tuple[tuple[str, str], ...]:
    machine.add_to("home/.config/nix/nix.conf", f"store = {url}")
    return ()


def _user_files(machine: Machine, url: str) -> tuple[tuple[str, str], ...]:
    machine.add_to("one.conf", f"store = {url}")
    machine.add_to("two.conf", "store = dummy://")
    files = f"{machine.directory}/one.conf:{machine.directory}/two.conf"
    machine.environment["NIX_USER_CONF_FILES"] = files
    return ()


def _text(machine: Machine, url: str) -> tuple[tuple[str, str], ...]:
    machine.add_to("conf/nix.conf", "store = dummy://")
    machine.environment["NIX_CONFIG"] = f"store = {url}"
    return ()


def _remote(machine: Machine, url: str) -> tuple[tuple[str, str], ...]:
    machine.environment["NIX_REMOTE"] = url
    return ()


def _option(machine: Machine, url: str) -> tuple[tuple[str, str], ...]:
    machine.environment["NIX_REMOTE"] = "dummy://"
    machine.environment["NIX_CONFIG"] = "store = dummy://"
    machine.add_to("home/.config/nix/nix.conf", "store = dummy://")
    return (("store", url),)


_WAYS = (_conf_directory, _included, _user, _user_files, _text, _remote, _option)

Way = Callable[[Machine, str], "tuple[tuple[str, str], ...]"]


@pytest.fixture()
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def _check(machine: Machine, nix: Nix) -> None:
    """What is built is read, and not what the usual store has at the same path."""
    path, nar_hash = machine.build(nix)
    assert machine.path == path
    file = Path(nix.store_root + path)
    assert file.read_text() != Path(path).read_text()
    recipe = recipe_of(path)
    assert digest_layer(recipe, store_root=nix.store_root) != digest_layer(recipe)
    assert nar_hash == nix.closure([path])[path].nar_hash == file_nar_hash(str(file))
    assert [path] == list(nix.closure([path]))


@pytest.mark.parametrize("way", _WAYS, ids=lambda way: way.__name__.strip("_"))
@pytest.mark.parametrize("through_tools", [False, True])
def test_what_chooses_the_store(machine: Machine, way: Way, through_tools: bool) -> None:
    """Files that configure Nix, variables, options: the strongest one counts, as for Nix."""
    settings = way(machine, f"local?root={machine.directory}/chroot")
    nix = Nix(Nix.find(machine.environment).directory, machine.environment, settings)
    if through_tools:
        write_tools(str(machine.directory), machine.environment, ("NIX_CONFIG",), settings)
        nix = read_tools(str(machine.directory / TOOLS_FILE))
        assert nix.known_store is not None
    assert f"{machine.directory}/chroot" == nix.store_root
    _check(machine, nix)


@pytest.mark.parametrize(
    "url, directory",
    [
        ("{here}/a b", "a b/nix/store"),
        ("local?root={here}/c%20d&state={here}/state", "c d/nix/store"),
        ("local?real={here}/real&state={here}/state", "real"),
        ("local?real={here}/e/nix/store&state={here}/state", "e/nix/store"),
    ],
)
def test_every_place_of_a_store(machine: Machine, url: str, directory: str) -> None:
    """A directory, a root, a directory of its own: the files are read where Nix has them."""
    machine.add_to("conf/nix.conf", f"store = {url.format(here=machine.directory)}")
    nix = Nix.find(machine.environment)
    assert f"{machine.directory}/{directory}" == nix.store_directory
    _check(machine, nix)


@pytest.mark.parametrize("url", ["auto", "local", "local?real=/nix/store"])
def test_the_usual_store(machine: Machine, url: str) -> None:
    """It is read at the paths themselves."""
    machine.add_to("conf/nix.conf", f"store = {url}")
    nix = Nix.find(machine.environment)
    assert "" == nix.store_root
    assert machine.path == machine.build(nix)[0]


@pytest.mark.parametrize("url", ["ssh-ng://host", "https://cache.example", "dummy://"])
@pytest.mark.parametrize("way", _WAYS, ids=lambda way: way.__name__.strip("_"))
def test_a_store_elsewhere_is_refused(machine: Machine, way: Way, url: str) -> None:
    """The error names the store and what chooses it; nothing is written down."""
    settings = way(machine, url)
    told = {
        "_conf_directory": f"`store` in {machine.directory}/conf/nix.conf",
        "_included": f"`store` in {machine.directory}/conf/more/own.conf",
        "_user": f"`store` in {machine.home}/.config/nix/nix.conf",
        "_user_files": f"`store` in {machine.directory}/one.conf",
        "_text": "`store` in the environment variable `NIX_CONFIG`",
        "_remote": "the environment variable `NIX_REMOTE`",
        "_option": "the option `store`",
    }[way.__name__]
    nix = Nix(Nix.find(machine.environment).directory, machine.environment, settings)
    with pytest.raises(StoreNotHereError) as caught:
        nix.store_root
    assert (url, told) == (caught.value.url, caught.value.origin)
    assert f"`{url}` ({told})" in str(caught.value)
    with pytest.raises(StoreNotHereError):
        write_tools(str(machine.directory), machine.environment, ("NIX_CONFIG",), settings)
    assert not (machine.directory / TOOLS_FILE).exists()


def test_a_change_of_the_configuration_is_seen(machine: Machine) -> None:
    """Nix is asked again, once, by the step that comes next; a refused store can be taken back."""
    file = machine.directory / TOOLS_FILE
    write_tools(str(machine.directory), machine.environment)
    written = [file.read_bytes()]
    assert "" == read_tools(str(file)).store_root
    assert written[-1] == file.read_bytes()
    for url, root in (("/one", "/one"), ("dummy://", None), ("local?root=/two", "/two")):
        machine.add_to("home/.config/nix/nix.conf", f"store = {url}")
        for _ in range(2):
            if root is None:
                with pytest.raises(StoreNotHereError):
                    read_tools(str(file))
            else:
                assert root == read_tools(str(file)).store_root
            assert written[-1] != file.read_bytes()
        written.append(file.read_bytes())
        assert json.loads(written[-1])["store"].startswith((url.partition("?")[0], "local://"))
    (machine.home / ".config/nix/nix.conf").unlink()
    assert "" == read_tools(str(file)).store_root


def test_tools_without_a_store(machine: Machine) -> None:
    """Where nothing needed Nix, the first step that does asks it."""
    machine.add_to("conf/nix.conf", "store = dummy://")
    file = machine.directory / TOOLS_FILE
    write_tools(str(machine.directory), machine.environment, needs_nix=False)
    with pytest.raises(StoreNotHereError):
        read_tools(str(file))
    machine.add_to("conf/nix.conf", "store = /x")
    assert "/x" == read_tools(str(file)).store_root
    document = json.loads(file.read_bytes())
    assert document["configuration"]["digest"] == configuration_digest(
        document["configuration"]["files"]
    )
