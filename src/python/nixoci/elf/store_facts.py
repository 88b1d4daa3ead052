"""What is asked of the Nix store about libraries, and what it answers: two documents."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json
from nixoci.store.path import STORE_DIR, StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Mapping, Optional


def store_path_of(path: str) -> Optional[str]:
    """Returns the store path that a path is in, or is; None outside of the store."""
    if not path.startswith(STORE_DIR + "/"):
        return None
    return "/".join(path.split("/")[:4])


@dataclass(frozen=True)
class StoreLibrariesRequest:
    """Asks what programs in the Nix store load when they start, and what is in directories there.

    Its JSON form is the key of the answer.

    :param store_paths: all that may be read, with NAR hashes: those that the programs and directories are
        in, and the closures of those of the programs. They come in any order and are kept sorted.
    :param programs: absolute paths of files in the store, such as `/nix/store/…-python3/bin/python3`.
    :param directories: absolute paths in the store.
    :raises InvalidInputError: a program or a directory is in no store path of these.
    """

    store_paths: tuple[tuple[StorePath, str], ...]
    programs: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "store_paths", tuple(sorted(set(self.store_paths))))
        for name in ("programs", "directories"):
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))
        known = set(self.paths)
        for path in (*self.programs, *self.directories):
            parts = path.split("/")
            if store_path_of(path) not in known or not {".", ".."}.isdisjoint(parts):
                raise InvalidInputError("path in the store", path, "it is in none of the store paths")

    @property
    def paths(self) -> tuple[StorePath, ...]:
        """The store paths that must be valid."""
        return tuple(path for path, _ in self.store_paths)

    def to_json(self) -> bytes:
        """The one JSON form."""
        return canonical_json(
            "request for libraries of the store",
            {
                "store_paths": dict(self.store_paths),
                "programs": list(self.programs),
                "directories": list(self.directories),
            },
        )

    @classmethod
    def from_json(cls, data: bytes) -> StoreLibrariesRequest:
        """Parses what `to_json` returned.

        :raises InvalidInputError: not such a document.
        """
        document = parse_object("request for libraries of the store", data)
        hashes = get_field(document, "store_paths", dict)
        return cls(
            tuple((StorePath.parse(path), get_field(hashes, path, str)) for path in hashes),
            tuple(get_list(document, "programs", str, default=[])),
            tuple(get_list(document, "directories", str, default=[])),
        )


@dataclass(frozen=True)
class StoreProgram:
    """What a program in the store has when it has started.

    :param path: as it was asked for.
    :param loader: path of its dynamic loader, as the program names it. None: nothing is known of the program
        (it is no ELF file and no script, is not there, or its `#!` line leads out of the store), or it is
        static, so no library can be judged by it. All else is empty then.
    :param machine: as in `ElfFacts`. `bits` likewise.
    :param loaded: the names of all that it has loaded, sorted: as they are needed, and the sonames.
    :param rpath: where the libraries that it loads later are looked for because of it: its DT_RPATH, if it
        has no DT_RUNPATH.
    :param defaults: the default directories of its loader.
    """

    path: str
    loader: Optional[str] = None
    machine: Optional[str] = None
    bits: int = 0
    loaded: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    defaults: tuple[str, ...] = ()

    def to_document(self) -> dict[str, Any]:
        document: dict[str, Any] = {"path": self.path, "loader": self.loader}
        if self.loader is not None:
            document.update(
                machine=self.machine,
                bits=self.bits,
                loaded=list(self.loaded),
                rpath=list(self.rpath),
                defaults=list(self.defaults),
            )
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> StoreProgram:
        """:raises InvalidInputError: not what `to_document` returned."""
        return cls(
            get_field(document, "path", str),
            get_field(document, "loader", str, default=None),
            get_field(document, "machine", str, default=None),
            get_field(document, "bits", int, default=0),
            tuple(get_list(document, "loaded", str, default=[])),
            tuple(get_list(document, "rpath", str, default=[])),
            tuple(get_list(document, "defaults", str, default=[])),
        )


@dataclass(frozen=True)
class StoreLibraries:
    """The answer, sorted.

    :param directories: for each directory that was asked for, and each that a program has, the names in it;
        none if it is missing.
    """

    programs: tuple[StoreProgram, ...] = ()
    directories: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def to_json(self) -> bytes:
        """The one JSON form."""
        return canonical_json(
            "libraries of the store",
            {
                "programs": [program.to_document() for program in self.programs],
                "directories": {path: list(names) for path, names in self.directories},
            },
        )

    @classmethod
    def from_json(cls, data: bytes) -> StoreLibraries:
        """Parses what `to_json` returned.

        :raises InvalidInputError: not such a document.
        """
        document = parse_object("libraries of the store", data)
        directories = get_field(document, "directories", dict)
        return cls(
            tuple(map(StoreProgram.from_document, get_list(document, "programs", dict))),
            tuple((path, tuple(get_list(directories, path, str))) for path in sorted(directories)),
        )

    @classmethod
    def union(cls, answers: Iterable[StoreLibraries]) -> StoreLibraries:
        """Returns what several answers say together."""
        programs: dict[str, StoreProgram] = {}
        directories: dict[str, tuple[str, ...]] = {}
        for answer in answers:
            programs.update((program.path, program) for program in answer.programs)
            directories.update(answer.directories)
        return cls(
            tuple(programs[path] for path in sorted(programs)), tuple(sorted(directories.items()))
        )
