"""Images are made of the store that Nix uses, whatever of its configuration chooses it."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import pytest
from nixoci.layer.digest import digest_layer
from nixoci.store.path import StorePath

from tests.integration.support.nix import CONFIGURATION, machine_nix
from tests.integration.support.tools import tool
from tests.nixoci.store.nix_support import shell_derivation, unique_word, write_tree
from tests.nixoci.tar.tar_support import recipe_of
from tests.pants_backend_nix.packager_support import Packager

_IMAGE = """
nix_package(name="p", source="default.nix")
nix_image(name="image", packages=[":p"])
"""

_WAYS = ("conf-dir", "user", "user-files", "NIX_CONFIG", "NIX_REMOTE", "option")


class Machine:
    """A package that the usual store has another build of.

    :ivar path: of the package.
    """

    def __init__(self, packager: Packager, directory: Path) -> None:
        self.directory = directory
        self.packager = packager
        self.another_package()
        text = CONFIGURATION + f"sandbox-paths = /bin/sh={tool('busybox')}\n"
        write_tree(directory, {"conf/nix.conf": text})
        self.environment: dict[str, Optional[str]] = {
            "HOME": str(directory / "home"),
            "NIX_CONF_DIR": str(directory / "conf"),
            "NIX_USER_CONF_FILES": str(directory / "home" / "nix.conf"),
        }

    def another_package(self) -> None:
        """Replaces the package by one that only the usual store has yet."""
        script = "read word < /proc/sys/kernel/random/uuid; echo $word > $out"
        package = shell_derivation(f"random-{unique_word()}", script)
        source = f"{{ system }}: {package}"
        file = write_tree(self.directory, {"sources/default.nix": source}) / "sources/default.nix"
        words = ("--no-out-link", file, "--argstr", "system", "x86_64-linux")
        self.path = machine_nix().run("nix-build", *words).strip()
        self.packager.files["default.nix"] = source

    def choose(self, way: str, url: str) -> tuple[str, ...]:
        """Has something choose a store and returns options for Pants."""
        line = f"store = {url}\n"
        if way == "conf-dir":
            with open(self.directory / "conf" / "nix.conf", "a") as file:
                file.write(line)
        elif way == "user":
            self.environment["NIX_USER_CONF_FILES"] = None
            self.environment["XDG_CONFIG_HOME"] = str(self.directory / "home")
            write_tree(self.directory, {"home/nix/nix.conf": line})
        elif way == "user-files":
            write_tree(self.directory, {"home/nix.conf": line})
        elif way == "NIX_CONFIG":
            self.environment["NIX_CONFIG"] = f"access-tokens = a=secret\n{line}"
        elif way == "NIX_REMOTE":
            self.environment["NIX_REMOTE"] = url
        else:
            self.environment["NIX_CONFIG"] = "store = dummy://\n"
            write_tree(self.directory, {"home/nix.conf": "store = dummy://\n"})
            return (f"--nix-store={url}",)
        return ()

    def layer(self, options: tuple[str, ...] = ()) -> str:
        """Packages the image and returns the digest of its only layer."""
        descriptor = self.packager.descriptor(
            _IMAGE, environment=self.environment, options=options
        )
        (layer,) = descriptor["layers"]
        return str(layer["digest"])

    def expected(self, root: str = "") -> str:
        """Returns the digest of the layer of what a store has."""
        return digest_layer(recipe_of(StorePath.parse(self.path)), store_root=root).digest


@pytest.fixture(scope="module")
def packager() -> Packager:
    """A Pants for all: what was found with another environment does not count in the next session."""
    return Packager(machine_nix(), {})


@pytest.fixture()
def machine(packager: Packager, tmp_path: Path) -> Machine:
    return Machine(packager, tmp_path)


@pytest.mark.parametrize("way", _WAYS)
def test_the_image_is_of_the_chosen_store(machine: Machine, way: str) -> None:
    """The usual store has another build at the same path, which nobody reads."""
    root = f"{machine.directory}/chroot"
    layer = machine.layer(machine.choose(way, f"local?root={root}"))
    assert machine.expected(root) == layer != machine.expected()


@pytest.mark.parametrize("way", _WAYS)
def test_a_store_elsewhere_is_refused(machine: Machine, way: str) -> None:
    """The error names it, what chooses it, and the option that chooses another one."""
    options = machine.choose(way, "ssh-ng://host.invalid")
    text = machine.packager.error(_IMAGE, environment=machine.environment, options=options)
    assert "Nix uses the store `ssh-ng://host.invalid` (" in text
    assert "the option `[nix].store`" in text and "were searched" not in text
    told = {
        "conf-dir": "conf/nix.conf)",
        "user": "home/nix/nix.conf)",
        "user-files": "home/nix.conf)",
        "option": "(the option `store`)",
    }
    assert told.get(way, way) in text


def test_a_changed_configuration_is_seen(machine: Machine) -> None:
    """Also by the same Pants, whose file of tools is there already."""
    write_tree(machine.directory, {"home/nix.conf": f"store = {machine.directory}/one\n"})
    assert machine.layer() == machine.expected(f"{machine.directory}/one")
    write_tree(machine.directory, {"home/nix.conf": "store = ssh-ng://host.invalid\n"})
    machine.another_package()
    text = machine.packager.error(_IMAGE, environment=machine.environment)
    assert "Nix uses the store `ssh-ng://host.invalid`" in text and "home/nix.conf" in text
    write_tree(machine.directory, {"home/nix.conf": f"store = {machine.directory}/two\n"})
    assert machine.layer() == machine.expected(f"{machine.directory}/two")
