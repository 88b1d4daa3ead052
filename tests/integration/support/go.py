"""A Go that Pants 2.17 knows: Debian's, as newer ones refuse an experiment that it asks for.

And programs made with it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests.integration.support.cache import cached_directory
from tests.integration.support.debian import debian_packages, unpack
from tests.integration.support.process import run

_VERSION = "1.19"
_VERSION_OF_SUITE = "1.24"

#: The conformance suite of the OCI distribution specification.
_CONFORMANCE = (
    "github.com/opencontainers/distribution-spec/conformance",
    "v0.0.0-20260831232431-97274622c111",
)


def go_options() -> tuple[str, ...]:
    """Returns options with which Pants has its backend for Go, and makes static programs.

    :raises CommandFailedError: apt could not fetch Go, at the first call on a machine.
    """
    return (
        "--backend-packages=+['pants.backend.experimental.go']",
        f"--golang-go-search-paths={[str(_go_root('bookworm', _VERSION) / 'bin')]}",
        "--no-golang-cgo-enabled",
    )


def conformance_suite() -> Path:
    """Returns the program that holds a registry against the OCI distribution specification.

    Its modules come from the Go proxy, at the first call on a machine.

    :raises CommandFailedError: apt or Go could not fetch something.
    """
    root = _go_root("trixie", _VERSION_OF_SUITE)
    name, version = _CONFORMANCE

    def make(directory: Path, _final: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            environment = {
                "PATH": os.defpath,
                "HOME": work,
                "GOROOT": str(root),
                "GOPATH": f"{work}/modules",
                # Directories that can be deleted.
                "GOFLAGS": "-modcacherw",
                "GOTOOLCHAIN": "local",
                "GOPROXY": os.environ.get("GOPROXY", "https://proxy.golang.org"),
                "GOSUMDB": os.environ.get("GOSUMDB", "sum.golang.org"),
                "CGO_ENABLED": "0",
            }
            go = str(root / "bin" / "go")
            run([go, "mod", "download", f"{name}@{version}"], cwd=work, env=environment, timeout=600)
            sources = Path(work, "modules", "pkg", "mod", f"{name}@{version}")
            program = directory / "conformance"
            run([go, "build", "-o", program, "."], cwd=sources, env=environment, timeout=1200)

    directory = cached_directory("test-conformance", f"{version}-go{_VERSION_OF_SUITE}", make)
    return directory / "conformance"


def _go_root(suite: str, version: str) -> Path:
    """The GOROOT; unpacked on first use and kept."""
    archives = debian_packages(suite, [f"golang-{version}-go", f"golang-{version}-src"])

    def make(directory: Path, _final: Path) -> None:
        library, source = f"./usr/lib/go-{version}", f"./usr/share/go-{version}"
        # Without the packages of the compiler itself, and those for the race detector.
        patterns = ["VERSION", "src", "bin/*", "pkg/include", "pkg/tool/*"]
        patterns += [f"pkg/linux_amd64/{name}" for name in ("[!c]*", "c[!m]*")]
        wanted = [f"{library}/{pattern}" for pattern in patterns]
        wanted += [f"{source}/{pattern}" for pattern in ("src/*", "pkg/include/*")]
        for archive in archives.glob("*.deb"):
            unpack(archive, directory, *wanted)

    root = cached_directory("test-debs", f"{archives.name}-go", make)
    return root / "usr" / "lib" / f"go-{version}"
