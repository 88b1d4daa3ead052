"""Where a dynamic loader looks for libraries, as ld.so(8) has it, and musl's for programs of its own."""

from __future__ import annotations

import re
from posixpath import normpath

from nixoci.elf.facts import ElfFacts
from nixoci.store.path import STORE_DIR

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Optional, Sequence

#: `$LIB` and `$PLATFORM` of the GNU loader, by machine; the first has other values in distributions that
#: keep several architectures apart.
_MULTIARCH = {
    "EM_X86_64": "x86_64-linux-gnu",
    "EM_386": "i386-linux-gnu",
    "EM_AARCH64": "aarch64-linux-gnu",
    "EM_ARM": "arm-linux-gnueabihf",
    "EM_PPC64": "powerpc64le-linux-gnu",
    "EM_RISCV": "riscv64-linux-gnu",
    "EM_S390": "s390x-linux-gnu",
}
_PLATFORMS = {
    "EM_X86_64": ("x86_64", "haswell"),
    "EM_386": ("i686", "i586", "i386"),
    "EM_AARCH64": ("aarch64",),
    "EM_ARM": ("v7l",),
}

_TOKEN = re.compile(r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))")

_MUSL_LOADER = re.compile(r"ld-musl-[^/]*\.so\.1")

#: What is part of the C library, and so comes with the loader.
_GNU_LIBRARIES = re.compile(
    r"lib(c|m|dl|rt|pthread|util|resolv|anl|mvec|BrokenLocale|thread_db|nss_[a-z]+)\.so\.[0-9.]+"
    r"|ld(-linux|64)?[^/]*\.so\.[0-9]+"
)
_MUSL_LIBRARIES = re.compile(r"libc\.so|libc\.musl-[^/]*\.so\.1|ld-musl-[^/]*\.so\.1")


def is_musl(loader: Optional[str]) -> bool:
    """Whether a loader, by its path, is that of musl."""
    return loader is not None and bool(_MUSL_LOADER.fullmatch(loader.rpartition("/")[2]))


def comes_with_loader(name: str, loader: str) -> bool:
    """Whether a library, by its name, is part of the C library of a loader."""
    libraries = _MUSL_LIBRARIES if is_musl(loader) else _GNU_LIBRARIES
    return bool(libraries.fullmatch(name))


def expand(text: str, file: str, facts: ElfFacts) -> tuple[str, ...]:
    """Returns what a search path, or a needed path, can stand for: `$ORIGIN`, `$LIB` and `$PLATFORM`.

    :param file: absolute path of the ELF file that has the text.
    :returns: one or more texts, as what `$LIB` is differs from one loader to the next.
    """
    origin = file.rpartition("/")[0] or "/"
    multiarch = _MULTIARCH.get(facts.machine)
    libraries = [*(["lib64"] if facts.bits == 64 else []), "lib"]
    if multiarch is not None:
        libraries.append(f"lib/{multiarch}")
    found = []
    for library in libraries:
        for platform in _PLATFORMS.get(facts.machine, ("",)):
            values = {"ORIGIN": origin, "LIB": library, "PLATFORM": platform}
            found.append(_TOKEN.sub(lambda match: values[match[1] or match[2]], text))
    return tuple(dict.fromkeys(found))


def _absolute(texts: Iterable[str], file: str, facts: ElfFacts) -> tuple[str, ...]:
    """Returns the directories that search paths stand for. A relative one depends on where a program is
    started, and is left out."""
    found = (directory for text in texts for directory in expand(text, file, facts))
    return tuple(normpath(directory) for directory in found if directory.startswith("/"))


def handed_on(
    file: str, facts: ElfFacts, inherited: Sequence[str], loader: Optional[str]
) -> tuple[str, ...]:
    """Returns the directories that count for all that a file loads, and for what that loads in turn.

    These are its DT_RPATH, if it has no DT_RUNPATH, and those of what loads it. To musl, DT_RUNPATH is
    another name of DT_RPATH.

    :param file: its absolute path, for `$ORIGIN`.
    :param inherited: what was handed on to the file.
    :param loader: path of the program's loader.
    """
    own = facts.rpath
    if facts.runpath:
        own = facts.runpath if is_musl(loader) else ()
    return tuple(dict.fromkeys((*_absolute(own, file, facts), *inherited)))


def searched(
    file: str,
    facts: ElfFacts,
    chain: Sequence[str],
    library_path: Iterable[str],
    loader: Optional[str],
) -> tuple[str, ...]:
    """Returns the directories in which what a file needs is looked for, before the default ones.

    :param chain: what `handed_on` returned for the file. It does not count for a file with DT_RUNPATH.
    :param library_path: the directories of LD_LIBRARY_PATH.
    """
    counts = () if facts.runpath and not is_musl(loader) else chain
    return (
        *counts,
        *_absolute(library_path, file, facts),
        *_absolute(facts.runpath, file, facts),
    )


def default_directories(loader: Optional[str], machine: str) -> tuple[str, ...]:
    """Returns where a loader looks when nothing else says where.

    :param loader: its path after symbolic links. One in the Nix store looks where it is itself; None stands
        for one outside of the store.
    """
    if loader is not None and loader.startswith(STORE_DIR + "/"):
        return (loader.rpartition("/")[0],)
    if is_musl(loader):
        return ("/lib", "/usr/local/lib", "/usr/lib")
    multiarch = _MULTIARCH.get(machine)
    usual = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
    if multiarch is None:
        return usual
    return (f"/lib/{multiarch}", f"/usr/lib/{multiarch}", *usual)
