"""What the ELF files of an image do not find in it: loaders of programs, and libraries."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from nixoci.elf.facts import ElfFacts
from nixoci.elf.image_paths import ImagePaths
from nixoci.elf.places import (
    comes_with_loader,
    default_directories,
    expand,
    handed_on,
    is_musl,
    searched,
)
from nixoci.elf.store_facts import StoreLibraries, store_path_of
from nixoci.recipe.globs import matches_shell_pattern

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Iterable, Mapping, Optional, Sequence

#: What `Missing.kind` can be.
LOADER = "loader"
LIBRARY = "library"


@dataclass(frozen=True, order=True)
class Missing:
    """Something that a file needs and that the image does not have.

    :param file: absolute path of the file in the image.
    :param name: of a library, as the file names it; of a loader, its path.
    :param kind: `LOADER` or `LIBRARY`.
    """

    file: str
    name: str
    kind: str


@dataclass(frozen=True)
class _Context:
    """A program in which libraries are loaded.

    :param loader: path of its loader, after symbolic links if it is there.
    :param arch: machine and bits: a loader takes no library of others.
    :param loaded: names that are loaded anyway.
    :param rpath: directories that count for all that it loads, see `handed_on`.
    :param defaults: the default directories of the loader.
    """

    loader: str
    arch: tuple[str, int]
    loaded: frozenset[str]
    rpath: tuple[str, ...]
    defaults: tuple[str, ...]


#: What a file needs: the file, and the name.
_Need = tuple[str, str]


def missing_libraries(
    files: Mapping[str, ElfFacts],
    paths: Mapping[str, Optional[str]],
    store: StoreLibraries = StoreLibraries(),
    *,
    store_paths: Collection[str] = (),
    programs: Sequence[str] = (),
    library_path: Sequence[str] = (),
    ignored: Sequence[str] = (),
) -> tuple[Missing, ...]:
    """Returns what ELF files of an image need that they would not find in it, sorted. Reads nothing.

    A program (`ElfFacts.is_program`) lacks its loader if the path does not lead to something in the image, and
    a library where ld.so(8) would not find it: in DT_RPATH (of a file without DT_RUNPATH, and of what loads
    it), `library_path`, DT_RUNPATH, and the default directories of the loader. What a program loads is judged
    in it, and what that loads, and so on. If the loader is missing, so is the C library; of these, only the
    loader is named.

    Every other library is judged as if each of `programs` loaded it by hand, as Python loads extension modules:
    something is missing if none of those of its machine would find it. Without such a program it is not judged:
    somebody else may know what loads it.

    As nobody can tell from outside which libraries a program loads by hand, and from where (PyTorch loads its
    own so, before others need them), a name counts as found if any file of `files` of the same machine has it as
    its soname or file name, wherever it is. So it does if the program has loaded it already. The cache of
    `ldconfig`, directories for kinds of processors (`glibc-hwcaps`), and search paths that are relative do not
    count, and what libraries of the store need is not looked at: Nix has seen to it.

    :param files: the facts of all ELF files of the contents of the image, by absolute path.
    :param paths: everything that the image has outside of `/nix/store` (these files, links, what is copied to
        the root): see `ImagePaths`.
    :param store: what the store has of `programs`, and of the directories that `store_directories` returns.
        What is in a directory of the image's store paths that is not in `store` counts as there.
    :param store_paths: those of the image. What is in others is not in the image.
    :param programs: absolute paths in the image of programs that may load libraries of `files`: of
        `store.programs`, or of `files`, through symbolic links. Of the store, only those whose `path` is
        asked for are known. Unknown ones are left out.
    :param library_path: directories of LD_LIBRARY_PATH.
    :param ignored: patterns, as of `fnmatch`, of the names of libraries (`libcuda.so.*`) and of the paths of
        loaders that are not missed.
    """
    image = ImagePaths(paths, store_paths, dict(store.directories))
    search = _Search(files, image, tuple(library_path))
    missing: set[Missing] = set()
    covered: set[str] = set()
    contexts: dict[str, _Context] = {}
    for path in sorted(files):
        facts = files[path]
        if not facts.is_program or facts.interpreter is None:
            continue
        real_loader = image.real(facts.interpreter)
        context = _own_context(path, facts, real_loader)
        walk = search.walk(path, context, ())
        covered |= walk.files
        names = context.loaded | walk.names
        contexts[path] = replace(context, loaded=names)
        lost = {(file, name) for file, name in walk.lost if name not in names}
        if real_loader is None:
            missing.add(Missing(path, facts.interpreter, LOADER))
            lost = {need for need in lost if not comes_with_loader(need[1], facts.interpreter)}
        missing |= {Missing(file, name, LIBRARY) for file, name in lost}

    of_store = {
        known.path: _Context(
            image.real(known.loader) or known.loader,
            (known.machine or "", known.bits),
            frozenset(known.loaded),
            known.rpath,
            known.defaults,
        )
        for known in store.programs
        if known.loader is not None
    }
    chosen: dict[str, _Context] = {}
    for program in programs:
        real = image.real(program) or program
        one = of_store.get(program) or of_store.get(real) or contexts.get(real)
        if one is not None:
            chosen[real] = one
    missing |= _of_libraries(search, set(files) - covered, list(chosen.values()))
    return tuple(sorted(lack for lack in missing if not _is_ignored(lack, ignored)))


def store_directories(
    files: Mapping[str, ElfFacts],
    paths: Mapping[str, Optional[str]],
    *,
    store_paths: Collection[str] = (),
    library_path: Sequence[str] = (),
) -> tuple[str, ...]:
    """Returns the directories in store paths of the image that `missing_libraries` would look into, sorted.

    To be asked of the store (`StoreLibrariesRequest.directories`), with the store paths that they are in. The
    arguments are those of `missing_libraries`.
    """
    image = ImagePaths(paths, store_paths)
    found: set[str] = set()
    for path, facts in files.items():
        loader = None if facts.interpreter is None else image.real(facts.interpreter)
        needed = (p for name in facts.needed if "/" in name for p in expand(name, path, facts))
        places = (
            *(place.rpartition("/")[0] for place in needed if place.startswith("/")),
            *handed_on(path, facts, (), loader),
            *searched(path, facts, (), library_path, loader),
            *default_directories(loader, facts.machine),
        )
        for directory in places:
            real = image.real(directory)
            if real is not None and store_path_of(real) is not None:
                found.add(real)
    return tuple(sorted(found))


def store_programs(
    programs: Iterable[str],
    paths: Mapping[str, Optional[str]],
    *,
    store_paths: Collection[str] = (),
) -> tuple[str, ...]:
    """Returns those of `programs` that are in store paths of the image, through symbolic links, sorted.

    To be asked of the store (`StoreLibrariesRequest.programs`). The arguments are those of
    `missing_libraries`.
    """
    image = ImagePaths(paths, store_paths)
    found = {image.real(program) for program in programs if program.startswith("/")}
    return tuple(sorted(real for real in found if real is not None and store_path_of(real)))


@dataclass(frozen=True)
class _Walk:
    """What happens when a file is loaded, with all that it needs.

    :param found: what is found. `lost` likewise, what is not.
    :param names: under which something is loaded.
    :param files: the files of the image that are loaded.
    """

    found: frozenset[_Need]
    lost: frozenset[_Need]
    names: frozenset[str]
    files: frozenset[str]


class _Search:
    """Looks for what files need, in one image."""

    def __init__(
        self, files: Mapping[str, ElfFacts], image: ImagePaths, library_path: tuple[str, ...]
    ) -> None:
        self.files = files
        self._image = image
        self._library_path = library_path
        # For each machine and name, the files that have it.
        self._named: dict[tuple[tuple[str, int], str], list[str]] = {}
        for path in sorted(files):
            facts = files[path]
            for name in {path.rpartition("/")[2], facts.soname}:
                if name is not None and not facts.is_program:
                    arch = (facts.machine, facts.bits)
                    self._named.setdefault((arch, name), []).append(path)

    def walk(self, start: str, context: _Context, inherited: tuple[str, ...]) -> _Walk:
        """Loads a file in a program, breadth-first.

        :param inherited: the directories that what loads it hands on to it.
        """
        found: set[_Need] = set()
        lost: set[_Need] = set()
        names: set[str] = set()
        visited = {start}
        waiting = deque([(start, inherited)])
        while waiting:
            path, before = waiting.popleft()
            facts = self.files[path]
            names.add(facts.soname or path.rpartition("/")[2])
            chain = handed_on(path, facts, before, context.loader)
            directories = (
                *searched(path, facts, chain, self._library_path, context.loader),
                *context.defaults,
            )
            for name in facts.needed:
                is_there, library = self._find(name, path, facts, context, directories)
                if not is_there:
                    lost.add((path, name))
                    continue
                found.add((path, name))
                names.add(name)
                if library is not None and library not in visited:
                    visited.add(library)
                    waiting.append((library, chain))
        return _Walk(frozenset(found), frozenset(lost), frozenset(names), frozenset(visited))

    def _find(
        self,
        name: str,
        path: str,
        facts: ElfFacts,
        context: _Context,
        directories: Sequence[str],
    ) -> tuple[bool, Optional[str]]:
        """Returns whether a file finds what it needs, and which of `files` it is, if it is one."""
        candidates = self._named.get((context.arch, name.rpartition("/")[2]), [])
        if len(candidates) == 1:
            return True, candidates[0]
        if not candidates and _is_loaded(name, context):
            return True, None
        if "/" in name:
            places = tuple(p for p in expand(name, path, facts) if p.startswith("/"))
        else:
            places = tuple(f"{directory}/{name}" for directory in directories)
        for place in places:
            real = self._image.real(place)
            if real in candidates:
                return True, real
            # It is not of the contents, so it is not known for which machine it is.
            if real is not None and real not in self.files:
                return True, None
        return bool(candidates), candidates[0] if candidates else None


def _is_loaded(name: str, context: _Context) -> bool:
    """Whether a program has loaded a library, or has it in its loader as those of musl do."""
    is_part = is_musl(context.loader) and comes_with_loader(name, context.loader)
    return is_part or name in context.loaded


def _own_context(path: str, facts: ElfFacts, real_loader: Optional[str]) -> _Context:
    """Returns the context of a program of the image that has loaded nothing but its loader."""
    named = facts.interpreter or ""
    loader = real_loader or named
    return _Context(
        # What a link in the image calls a loader of musl is one.
        named if is_musl(named) else loader,
        (facts.machine, facts.bits),
        frozenset({named.rpartition("/")[2], loader.rpartition("/")[2]}),
        handed_on(path, facts, (), loader),
        default_directories(loader, facts.machine),
    )


def _of_libraries(
    search: _Search, files: Collection[str], contexts: Iterable[_Context]
) -> set[Missing]:
    """Returns what libraries miss that no program of the image loads by itself."""
    found: set[_Need] = set()
    lost: set[_Need] = set()
    for path in sorted(files):
        facts = search.files[path]
        for context in contexts:
            if context.arch != (facts.machine, facts.bits):
                continue
            walk = search.walk(path, context, context.rpath)
            found |= walk.found
            for need in walk.lost:
                (found if need[1] in walk.names else lost).add(need)
    return {Missing(file, name, LIBRARY) for file, name in lost - found if file in files}


def _is_ignored(missing: Missing, patterns: Iterable[str]) -> bool:
    names = (missing.name, missing.name.rpartition("/")[2])
    return any(matches_shell_pattern(pattern, *names) for pattern in patterns)
