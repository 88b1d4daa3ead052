"""A Go that Pants 2.17 knows: Debian's, as newer ones refuse an experiment that it asks for."""

from __future__ import annotations

from pathlib import Path

from tests.integration.support.cache import cached_directory
from tests.integration.support.debian import debian_packages, unpack

_VERSION = "1.19"


def go_options() -> tuple[str, ...]:
    """Returns options with which Pants has its backend for Go, and makes static programs.

    :raises CommandFailedError: apt could not fetch Go, at the first call on a machine.
    """
    return (
        "--backend-packages=+['pants.backend.experimental.go']",
        f"--golang-go-search-paths={[str(_go_root() / 'bin')]}",
        "--no-golang-cgo-enabled",
    )


def _go_root() -> Path:
    """The GOROOT; unpacked on first use and kept."""
    archives = debian_packages("bookworm", [f"golang-{_VERSION}-go", f"golang-{_VERSION}-src"])

    def make(directory: Path, _final: Path) -> None:
        library, source = f"./usr/lib/go-{_VERSION}", f"./usr/share/go-{_VERSION}"
        # Without the packages of the compiler itself, and those for the race detector.
        patterns = ["VERSION", "src", "bin/*", "pkg/include", "pkg/tool/*"]
        patterns += [f"pkg/linux_amd64/{name}" for name in ("[!c]*", "c[!m]*")]
        wanted = [f"{library}/{pattern}" for pattern in patterns]
        wanted += [f"{source}/src/*", f"{source}/pkg/include/*"]
        for archive in archives.glob("*.deb"):
            unpack(archive, directory, *wanted)

    root = cached_directory("test-debs", f"{archives.name}-go", make)
    return root / "usr" / "lib" / f"go-{_VERSION}"
