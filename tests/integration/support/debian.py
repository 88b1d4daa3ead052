"""Debian packages as files, from the mirror that this machine's apt is configured for."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Sequence

from tests.integration.support.cache import cached_directory
from tests.integration.support.process import CommandFailedError, run

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class NoDebianMirrorError(Exception):
    """apt's configuration on this machine names no Debian archive."""

    def __init__(self) -> None:
        super().__init__(
            "The tests fetch Debian packages from the mirror in this machine's apt sources, "
            "and none of those is a Debian archive."
        )


def debian_packages(
    suite: str, packages: Sequence[str], *, with_dependencies: bool = False
) -> Path:
    """Returns a directory that holds the `.deb` files of `packages` for amd64, and no others.

    The versions are those that the archive offers at the first call; the directory is kept, so
    later calls see the same files. Needs apt, but neither root nor anything installed: apt works
    in a state directory of its own, so no lock of the system's is taken either.

    :param suite: `bookworm`, `trixie`, `sid`.
    :param with_dependencies: also fetch everything that they depend on, down to libc.
    :raises NoDebianMirrorError: see there.
    :raises CommandFailedError: apt failed.
    """
    wanted = sorted(packages)
    key = hashlib.sha256("\n".join([suite, str(with_dependencies), *wanted]).encode()).hexdigest()

    def make(directory: Path, _final: Path) -> None:
        with tempfile.TemporaryDirectory() as state:
            options = _apt_options(Path(state), suite)
            run(["apt-get", *options, "update"], timeout=600)
            if with_dependencies:
                run(["apt-get", *options, "install", "--yes", "--download-only", *wanted])
                for archive in Path(state, "archives").glob("*.deb"):
                    shutil.copyfile(archive, directory / archive.name)
            else:
                run(["apt-get", *options, "download", *wanted], cwd=directory)

    return cached_directory("test-debs", f"{suite}-{key[:16]}", make)


def apt_configuration(state: Path, packages: Sequence[str]) -> Path:
    """Returns a file for APT_CONFIG: apt then knows of these packages and no others, and none is installed.

    It can tell what it would do with them, and nothing else, since they have no contents.

    :param state: an empty directory, for apt's own use.
    """
    _make_state(state)
    archive = state / "archive"
    archive.mkdir()
    stanza = "Package: {}\nVersion: 1\nArchitecture: all\nFilename: none.deb\nSize: 1\nSHA256: {}\n\n"
    (archive / "Packages").write_text("".join(stanza.format(name, "0" * 64) for name in packages))
    options = _options_with_sources(state, f"deb [trusted=yes] file:{archive} ./\n")
    settings = (option.partition("=") for option in options[1::2])
    file = state / "apt.conf"
    file.write_text("".join(f'{key} "{value}";\n' for key, _, value in settings))
    return file


def unpack(archive: Path, directory: Path, *patterns: str) -> None:
    """Unpacks a `.deb` into `directory`.

    :param patterns: shell patterns of the names to unpack, such as `./usr/bin/*` (a `*` spans
        slashes); everything when none is given.
    :raises CommandFailedError: dpkg-deb failed.
    """
    # dpkg-deb brings every decompressor that an archive may need.
    command = ["dpkg-deb", "--fsys-tarfile", os.fspath(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as stream:
            for member in stream:
                if not patterns or any(fnmatchcase(member.name, p) for p in patterns):
                    stream.extract(member, directory)
        # dpkg-deb dies of a broken pipe when the padding after the last entry is not read.
        process.stdout.read()
    if process.returncode != 0:
        raise CommandFailedError(command, process.returncode, "")


def _apt_options(state: Path, suite: str) -> list[str]:
    _make_state(state)
    line = f"deb [arch=amd64 signed-by={_KEYRING}] {_mirror(state)} {suite} main\n"
    return _options_with_sources(state, line)


def _make_state(state: Path) -> None:
    for directory in ("lists/partial", "archives/partial"):
        (state / directory).mkdir(parents=True)
    (state / "status").touch()


def _options_with_sources(state: Path, lines: str) -> list[str]:
    sources = state / "sources.list"
    sources.write_text(lines)
    return _options(
        state,
        {
            "Dir::Etc::SourceList": str(sources),
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
        },
    )


def _options(state: Path, more: dict[str, str]) -> list[str]:
    options = {
        "Dir::State::Lists": str(state / "lists"),
        "Dir::State::Status": str(state / "status"),
        "Dir::Cache": str(state),
        "Dir::Cache::Archives": str(state / "archives"),
        "APT::Install-Recommends": "false",
        # Root would else fetch as the user `_apt`, who cannot write into our directories.
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        # A mirror that stands still at a date is as good for tests as any other.
        "Acquire::Check-Valid-Until": "false",
        **more,
    }
    return [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def _mirror(state: Path) -> str:
    """The address of the Debian archive that apt is configured for on this machine."""
    uris = _configured_archives([])
    if not uris:
        # A machine whose apt was never updated knows no archive by its label. Sources that are of
        # no concern here may fail to update; what counts is whether Debian's is known afterwards.
        options = _options(state, {})
        run(["apt-get", *options, "update"], timeout=600, check=False)
        uris = _configured_archives(options)
    if not uris:
        raise NoDebianMirrorError()
    return uris[0]


def _configured_archives(options: Sequence[str]) -> list[str]:
    listing = run(
        [
            "apt-get",
            *options,
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
            "Origin: Debian",
            "Label: Debian",
            "Component: main",
        ],
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    return listing.stdout.split()
