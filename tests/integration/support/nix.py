"""Real Nix for tests: that of the machine, newer ones, fresh stores."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Mapping, Sequence

from tests.integration.support.cache import cached_directory
from tests.integration.support.debian import debian_packages, unpack
from tests.integration.support.process import run
from tests.integration.support.tools import tool
from tests.nixoci.store.nix_support import patiently

#: Works offline, as root without build users, and with the same result whatever the machine's own
#: configuration says.
CONFIGURATION = """\
experimental-features = nix-command flakes
build-users-group =
substituters =
flake-registry =
sandbox = false
"""

#: Changes when `newer_nix` makes something else out of the same packages.
_NEWER_NIX_RECIPE = "1"


@dataclass(frozen=True)
class PathInfo:
    """What a Nix store knows of one valid path."""

    path: str
    #: 64 hexadecimal digits: SHA-256 of the NAR.
    nar_hash: str
    #: Bytes of the NAR.
    nar_size: int
    references: tuple[str, ...]


@dataclass(frozen=True)
class Nix:
    """One Nix, ready to run: its programs, its configuration, the store that it works on.

    :param bin_directory: holds `nix`, `nix-store`, `nix-build` and so on; what a test puts first on
        PATH so that the plugin finds this Nix.
    :param configuration_directory: value of NIX_CONF_DIR.
    :param store: value of NIX_REMOTE, such as `local?root=/directory`; None is the default store.
    :param prefix: words before every command; see `with_fresh_root`.
    """

    bin_directory: Path
    configuration_directory: Path
    store: str | None = None
    prefix: tuple[str, ...] = ()

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Returns `base` (None: this process's environment) with this Nix first on PATH.

        Nothing else configures Nix in it: all variables `NIX_…` are replaced.
        """
        chosen = dict(os.environ if base is None else base)
        for name in [n for n in chosen if n.startswith("NIX_")]:
            del chosen[name]
        chosen["PATH"] = os.pathsep.join([str(self.bin_directory), chosen.get("PATH", os.defpath)])
        chosen["NIX_CONF_DIR"] = str(self.configuration_directory)
        # An empty list: the configuration in the user's home does not count either.
        chosen["NIX_USER_CONF_FILES"] = ""
        if self.store is not None:
            chosen["NIX_REMOTE"] = self.store
        return chosen

    def run(self, program: str, *arguments: str | Path, timeout: float = 600) -> str:
        """Runs a program of this Nix and returns its standard output.

        :raises CommandFailedError: it failed.
        """
        argv = [*self.prefix, self.bin_directory / program, *arguments]
        return patiently(lambda: run(argv, env=self.environment(), timeout=timeout).stdout)

    def version(self) -> tuple[int, ...]:
        """The version as numbers: `(2, 8, 0)`."""
        words = self.run("nix", "--version").split()
        return tuple(int(number) for number in words[-1].split("."))

    def build(self, file: Path, *attributes: str) -> list[str]:
        """Builds attributes of a Nix file and returns their output paths in order.

        Each attribute stands for one output: `name` for the default one, `name.dev` for another.
        No garbage collector root is made, so what needs the paths must not collect garbage.

        :raises CommandFailedError: evaluation or build failed.
        """
        selection = [word for attribute in attributes for word in ("-A", attribute)]
        return self.run("nix-build", "--no-out-link", file, *selection).split()

    def path_info(self, *paths: str, recursive: bool = False) -> dict[str, PathInfo]:
        """Returns what the store knows of `paths` (with their closure when `recursive`), by path.

        Read from `nix-store --dump-db`, whose format is the same in every version, so that tests
        of the reading of `nix path-info --json` have something to be held against.

        :raises CommandFailedError: a path is not valid.
        """
        wanted = list(paths)
        if recursive:
            wanted = self.run("nix-store", "--query", "--requisites", *paths).split()
        lines = iter(self.run("nix-store", "--dump-db", *wanted).splitlines())
        found = {}
        for path in lines:
            nar_hash, nar_size, _deriver, count = (next(lines) for _ in range(4))
            references = tuple(next(lines) for _ in range(int(count)))
            found[path] = PathInfo(path, nar_hash, int(nar_size), references)
        return found

    def chroot_store(self, directory: Path) -> Nix:
        """Returns this Nix with a store of its own whose files are below `directory`/nix/store.

        It is empty until `copy_closure` fills it. Store paths are `/nix/store/…` there too.
        """
        return dataclasses.replace(self, store=f"local?root={directory.resolve()}")

    def copy_closure(self, paths: Sequence[str], target: Nix) -> None:
        """Copies the closure of `paths` from this Nix's store into that of `target`.

        :raises CommandFailedError: a path is not valid here.
        """
        destination = target.store or "local"
        self.run("nix", "copy", "--no-check-sigs", "--to", destination, *paths)

    def with_fresh_root(self, directory: Path) -> Nix:
        """Returns this Nix with `directory` as its /nix: an own store where builds run too.

        Every command runs in a mount namespace of its own (needs root), in which `directory` lies
        over /nix. `prefix` does the same for other programs, such as Pants without its daemon.
        """
        # The mount point must exist outside the namespace.
        Path("/nix").mkdir(exist_ok=True)
        directory.mkdir(parents=True, exist_ok=True)
        script = 'mount --bind "$1" /nix && shift && exec "$@"'
        namespace = ("unshare", "--mount", "--propagation", "private", "--")
        prefix = (*namespace, "/bin/sh", "-c", script, "sh", str(directory.resolve()))
        return dataclasses.replace(self, prefix=prefix)


def configuration_directory(text: str = CONFIGURATION) -> Path:
    """Returns a directory for NIX_CONF_DIR whose `nix.conf` is `text`."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]

    def make(directory: Path, _final: Path) -> None:
        (directory / "nix.conf").write_text(text)

    return cached_directory("test-nix", f"conf-{digest}", make)


def machine_nix() -> Nix:
    """Returns the Nix on this machine's PATH, with the tests' configuration.

    :raises ToolMissingError: there is none.
    """
    return Nix(Path(tool("nix-store")).parent, configuration_directory())


def newer_nix(suite: str) -> Nix:
    """Returns the Nix of a Debian suite (`trixie`: 2.26, `sid`: 2.34), working on this machine's
    own /nix.

    Made once and kept. It brings its own C library and needs neither root nor a namespace: the
    binary is patched to find its loader and its libraries where they are unpacked. A patched binary
    is better than a wrapper around the loader, since Nix starts itself again as its build hook.

    :raises CommandFailedError: apt or patchelf failed.
    """
    # Not needed to run it, but its absence must not be noticed after the download.
    patchelf = tool("patchelf")
    archives = debian_packages(suite, ["nix-bin"], with_dependencies=True)

    def make(directory: Path, final: Path) -> None:
        for archive in sorted(archives.glob("*.deb")):
            patterns = ("./usr/lib/x86_64-linux-gnu/*.so*", "./usr/bin/nix*", "./usr/libexec/nix/*")
            unpack(archive, directory, *patterns)
        programs = directory / "usr" / "bin"
        libraries = Path("usr", "lib", "x86_64-linux-gnu")
        run(
            [
                patchelf,
                "--set-interpreter",
                final / libraries / "ld-linux-x86-64.so.2",
                # Unlike a RUNPATH, a forced RPATH also counts for the libraries' own libraries.
                "--force-rpath",
                "--set-rpath",
                final / libraries,
                programs / "nix",
            ]
        )

    tag = hashlib.sha256(f"{_NEWER_NIX_RECIPE} {archives.name}".encode()).hexdigest()[:16]
    root = cached_directory("test-nix", f"{suite}-{tag}", make)
    return Nix(root / "usr" / "bin", configuration_directory())
