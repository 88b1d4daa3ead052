"""Reads the Nix store: what programs load when they start, and which names directories have."""

from __future__ import annotations

import os
import re
import subprocess
from collections import deque

from nixoci.elf.facts import ElfFacts, read_elf
from nixoci.elf.places import default_directories, expand, handed_on, searched
from nixoci.elf.store_facts import (
    StoreLibraries,
    StoreLibrariesRequest,
    StoreProgram,
    store_path_of,
)
from nixoci.errors import InvalidInputError

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, Mapping, Optional

#: As the kernel: a script whose interpreter is a script, and so on.
_MOST_SCRIPTS = 4

_NO_ENVIRONMENT: Mapping[str, str] = {}

#: Seconds that a loader gets to say what its directories are.
_SECONDS = 20

#: Bytes of a `#!` line that the kernel reads.
_MOST_LINE = 256


def store_libraries(
    request: StoreLibrariesRequest, locate: Callable[[str], str], store_root: str = ""
) -> StoreLibraries:
    """Returns what the store has of the programs and directories of a request.

    Reads no store path that the request does not list: what is in another one counts as missing.

    :param locate: as `nixoci.store.nix.Nix.location`: where a file of the store is on this machine, after
        symbolic links.
    :param store_root: as `nixoci.store.nix.Nix.store_root`: what such a place begins with.
    :raises ElfReaderError: pyelftools is not here, and there is an ELF file to read.
    :raises NixOciError: the operating system refused to read a file.
    """
    store = _Store(request, locate, store_root)
    programs = tuple(_program(store, path) for path in request.programs)
    wanted = {*request.directories, *(path for known in programs for path in (*known.rpath, *known.defaults))}
    return StoreLibraries(programs, tuple((path, store.names(path)) for path in sorted(wanted)))


class _Store:
    """The part of the store that may be read; paths are those of an image, `/nix/store/…`."""

    def __init__(
        self, request: StoreLibrariesRequest, locate: Callable[[str], str], store_root: str
    ) -> None:
        self._paths = set(request.paths)
        self._locate = locate
        self._root = store_root

    def real(self, path: str) -> Optional[str]:
        """Returns the path after symbolic links, or None if what is there may not be read.

        Something need not be there.
        """
        if store_path_of(path) not in self._paths:
            return None
        try:
            found = self._locate(path)[len(self._root) :]
        except InvalidInputError:
            # A link that leads out of the store, or nowhere.
            return None
        return found if store_path_of(found) in self._paths else None

    def file(self, path: str) -> Optional[str]:
        """Returns the path of a regular file after symbolic links, or None if there is none."""
        real = self.real(path)
        return real if real is not None and os.path.isfile(self._root + real) else None

    def elf(self, real: str) -> Optional[ElfFacts]:
        return read_elf(self._root + real)

    def first_line(self, real: str) -> bytes:
        try:
            with open(self._root + real, "rb") as file:
                return file.read(_MOST_LINE).partition(b"\n")[0]
        except OSError:
            return b""

    def default_directories(self, loader: Optional[str]) -> tuple[str, ...]:
        """Returns the default directories that a loader says it has; none if it does not, or is of another
        kind of machine.

        glibc since 2.33 does. Where it was built for another place than it is in, as what distributions
        ship is when it lies in a store, these are not beside it.
        """
        if loader is None:
            return ()
        try:
            result = subprocess.run(
                [self._locate(loader), "--list-diagnostics"],
                env=_NO_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.SubprocessError, InvalidInputError):
            return ()
        said = re.findall(rb'^path\.system_dirs\[0x[0-9a-f]+\]="(/[^"\\]*)"$', result.stdout, re.MULTILINE)
        return tuple(directory.decode(errors="replace").rstrip("/") for directory in said)

    def names(self, directory: str) -> tuple[str, ...]:
        """Returns the names in a directory, sorted. Libraries have names that are text."""
        real = self.real(directory)
        if real is None:
            return ()
        try:
            found = os.listdir(self._root + real)
        except OSError:
            return ()
        return tuple(sorted(name for name in found if name.isprintable()))


def _program(store: _Store, path: str) -> StoreProgram:
    """Returns what is known of a program, or of the interpreter of a script."""
    file = path
    for _ in range(_MOST_SCRIPTS + 1):
        real = store.file(file)
        if real is None:
            break
        facts = store.elf(real)
        if facts is not None:
            return _started(store, path, real, facts)
        interpreter = _interpreter(store.first_line(real))
        if interpreter is None:
            break
        file = interpreter
    return StoreProgram(path)


def _interpreter(line: bytes) -> Optional[str]:
    """Returns the program that the first line of a script names."""
    if not line.startswith(b"#!"):
        return None
    words = line[2:].split(None, 1)
    try:
        return words[0].decode() if words else None
    except UnicodeDecodeError:
        return None


def _started(store: _Store, path: str, real: str, facts: ElfFacts) -> StoreProgram:
    """Loads a program as its loader would: breadth-first, each name once."""
    loader = facts.interpreter
    if loader is None:
        return StoreProgram(path)
    real_loader = store.file(loader)
    defaults = store.default_directories(real_loader) or default_directories(
        real_loader or loader, facts.machine
    )
    loaded = {loader.rpartition("/")[2]}
    if real_loader is not None:
        known = store.elf(real_loader)
        loaded.add(real_loader.rpartition("/")[2])
        if known is not None and known.soname is not None:
            loaded.add(known.soname)
    rpath = handed_on(real, facts, (), loader)
    seen = {real}
    waiting = deque([(real, facts, rpath)])
    while waiting:
        file, its, inherited = waiting.popleft()
        directories = (*searched(file, its, inherited, (), loader), *defaults)
        for name in its.needed:
            if name in loaded:
                continue
            found = _find(store, name, file, its, directories)
            if found is None:
                continue
            library, what = found
            loaded.add(name)
            if what.soname is not None:
                loaded.add(what.soname)
            if library not in seen:
                seen.add(library)
                waiting.append((library, what, handed_on(library, what, inherited, loader)))
    return StoreProgram(
        path, loader, facts.machine, facts.bits, tuple(sorted(loaded)), rpath, defaults
    )


def _find(
    store: _Store, name: str, file: str, facts: ElfFacts, directories: Iterable[str]
) -> Optional[tuple[str, ElfFacts]]:
    """Returns the library that a file loads by a name, after symbolic links, and its facts."""
    if "/" in name:
        places = expand(name, file, facts)
    else:
        places = tuple(f"{directory}/{name}" for directory in directories)
    for place in places:
        real = store.file(place)
        known = None if real is None else store.elf(real)
        if real is None or known is None:
            continue
        if (known.machine, known.bits) == (facts.machine, facts.bits):
            return real, known
    return None
