"""Real tools for Nix files: deadnix, and nixpkgs-fmt, a formatter with the command line of nixfmt.

Neither Debian nor a package index has them as programs; crates.io has their sources. They are compiled by the Rust of
Debian 12, in a root of its own, so that it matters little what the machine has.
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.integration.support.cache import cached_directory
from tests.integration.support.debian import debian_packages
from tests.integration.support.process import run
from tests.integration.support.tools import tool

_SUITE = "bookworm"

#: Those of their time, for Rust 1.63. What they are made of is in their lock files, with hashes.
_CRATES = {"deadnix": "1.0.0", "nixpkgs-fmt": "1.3.0"}


def nix_tools() -> Path:
    """Returns the directory of the programs `deadnix` and `nixpkgs-fmt`; compiled on first use and kept.

    :raises CommandFailedError: apt or cargo could not fetch something.
    """
    name = "-".join(f"{crate}-{version}" for crate, version in _CRATES.items())

    def make(directory: Path, _final: Path) -> None:
        archives = debian_packages(_SUITE, ["cargo", "rustc"], with_dependencies=True)
        with tempfile.TemporaryDirectory() as work:
            root = Path(work, "root")
            _unpack(archives, root)
            _compile(root, directory)

    return cached_directory("test-nix-tools", name, make) / "bin"


def _unpack(archives: Path, root: Path) -> None:
    """Unpacks packages as they would be installed, as far as a compiler needs it."""
    root.mkdir()
    commands = [["dpkg-deb", "--extract", path, root] for path in sorted(archives.glob("*.deb"))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(run, commands))
    # An installation would choose it.
    (root / "usr/bin/cc").symlink_to("gcc")


def _compile(root: Path, directory: Path) -> None:
    """Compiles the crates into `directory`."""
    for name in ("out", "home"):
        (root / name).mkdir()
    sandbox = [
        tool("bwrap"),
        *("--bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),
        # Names of hosts, and certificates.
        *("--ro-bind", "/etc", "/etc", "--bind", directory, "/out"),
        *("--die-with-parent", "--"),
    ]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CARGO", "RUST"))},
        "PATH": "/usr/bin:/bin",
        "HOME": "/home",
        "CARGO_HOME": "/home/cargo",
        "CARGO_TARGET_DIR": "/home/target",
        # The index over HTTP, by files, which is the default of later versions.
        "RUSTC_BOOTSTRAP": "1",
        "CARGO_UNSTABLE_SPARSE_REGISTRY": "true",
        "CARGO_PROFILE_DEV_DEBUG": "0",
    }
    for crate, version in _CRATES.items():
        install = ["cargo", "install", "--quiet", "--locked", "--debug", "--no-track", "--root", "/out"]
        run([*sandbox, *install, "--version", version, crate], env=environment, timeout=900)
