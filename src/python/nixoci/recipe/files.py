"""The recipe of a layer of files: what Pants built, and the small things of a file system.

It names files by the SHA-256 of their contents, as Pants' file store and remote caches do, and holds
none of them. Only text that is made of fields (`/etc/passwd`) is in the recipe itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json
from nixoci.recipe.capabilities import capability_names
from nixoci.recipe.layer import RECIPE_VERSION, Owner
from nixoci.recipe.reserved import WHITEOUT
from nixoci.store.path import StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Iterator, Mapping, Optional

_SHA256 = re.compile(r"[0-9a-f]{64}")

_MOST_MODE = 0o7777


@dataclass(frozen=True)
class FileEntry:
    """One directory, regular file or symbolic link of the image.

    It is a file with `sha256` or `text`, a symbolic link with `target`, and a directory without any.

    :param path: absolute and normal, such as `/app/api.pex`.
    :param mode: permission bits; those of a symbolic link are always 0777.
    :param sha256: hex digest of the contents of a file.
    :param size: bytes of these contents.
    :param text: the contents of a file that no store has.
    :param target: of a symbolic link, as it is written.
    :param capabilities: of a file with `sha256`, see `nixoci.recipe.capabilities`.
    """

    path: str
    mode: int
    owner: Owner = Owner()
    sha256: Optional[str] = None
    size: int = 0
    text: Optional[str] = None
    target: Optional[str] = None
    capabilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # The directories of Nix are in layers of store paths first, and may be written again.
        check_destination(self.path, directory_of_nix=self.is_directory)
        if sum(value is not None for value in (self.sha256, self.text, self.target)) > 1:
            raise InvalidInputError("entry of a layer", self.path, "it is of several kinds")
        if not 0 <= self.mode <= _MOST_MODE:
            raise InvalidInputError(f"mode of {self.path}", self.mode, "it is not 0 to 0o7777")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise InvalidInputError(f"sha256 of {self.path}", self.sha256, "expected 64 hex digits")
        if self.size < 0 or (self.size and self.sha256 is None):
            why = "it is negative" if self.size < 0 else "only files with contents have one"
            raise InvalidInputError(f"size of {self.path}", self.size, why)
        if self.target is not None and (not self.target or "\0" in self.target):
            raise InvalidInputError(f"target of {self.path}", self.target, "it is no path")
        object.__setattr__(self, "capabilities", capability_names(self.capabilities))
        if self.capabilities and self.sha256 is None:
            raise InvalidInputError(
                f"capabilities of {self.path}", self.capabilities, "only files have some"
            )

    @property
    def is_directory(self) -> bool:
        return self.sha256 is None and self.text is None and self.target is None

    @property
    def parent(self) -> str:
        """The path of the directory that it is in; `/` at the top."""
        return self.path.rpartition("/")[0] or "/"

    def to_document(self) -> dict[str, Any]:
        """Returns the JSON form: defaults are left out."""
        document: dict[str, Any] = {"path": self.path, "mode": f"{self.mode:04o}"}
        if self.owner != Owner():
            document["owner"] = dict(vars(self.owner))
        if self.sha256 is not None:
            document.update(sha256=self.sha256, size=self.size)
        for name in ("text", "target"):
            if getattr(self, name) is not None:
                document[name] = getattr(self, name)
        if self.capabilities:
            document["capabilities"] = list(self.capabilities)
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> FileEntry:
        """Parses what `to_document` returned.

        :raises InvalidInputError: not such a document.
        """
        mode = get_field(document, "mode", str)
        if not re.fullmatch("[0-7]{4}", mode):
            raise InvalidInputError("mode", mode, "expected four octal digits")
        return cls(
            get_field(document, "path", str),
            int(mode, 8),
            Owner.from_document(get_field(document, "owner", dict, default={})),
            get_field(document, "sha256", str, default=None),
            get_field(document, "size", int, default=0),
            get_field(document, "text", str, default=None),
            get_field(document, "target", str, default=None),
            tuple(get_list(document, "capabilities", str, default=[])),
        )


def check_destination(path: str, *, directory_of_nix: bool = False) -> None:
    """Checks that a path can be the place of something in an image.

    :param directory_of_nix: whether it may be in `/nix`.
    :raises InvalidInputError: relative, not normal, `/` itself, in `/nix`, or a name that layers
        reserve.
    """
    names = path[1:].split("/")
    if not path.startswith("/") or "\0" in path or not {"", ".", ".."}.isdisjoint(names):
        raise InvalidInputError("destination", path, "expected an absolute path without `.` and `..`")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidInputError("destination", path, "it is no Unicode text") from None
    if names[0] == "nix" and not directory_of_nix:
        raise InvalidInputError("destination", path, "/nix is for Nix: store paths bring what is there")
    reserved = [name for name in names if name.startswith(WHITEOUT)]
    if reserved:
        raise InvalidInputError(
            "destination",
            path,
            f"in a layer, {reserved[0]} would delete a file; names that begin with {WHITEOUT} are reserved",
        )


@dataclass(frozen=True)
class FilesRecipe:
    """The contents of one layer of files, sorted: recipes of the same contents are equal.

    :param entries: come in any order, and are kept in that of the tar: depth-first, siblings by the bytes
        of their names. Each one's directory is among them, with the mode and owner that it has in the
        image.
    :raises InvalidInputError: two entries at one place, or one without its directory.
    """

    entries: tuple[FileEntry, ...]

    def __post_init__(self) -> None:
        by_path: dict[str, FileEntry] = {}
        for entry in self.entries:
            if by_path.setdefault(entry.path, entry) != entry:
                raise InvalidInputError("layer of files", entry.path, "two entries are there")
        for entry in by_path.values():
            parent = by_path.get(entry.parent)
            if entry.parent != "/" and (parent is None or not parent.is_directory):
                raise InvalidInputError(
                    "layer of files", entry.path, f"{entry.parent} is not among its directories"
                )
        entries = sorted(by_path.values(), key=lambda entry: entry.path.encode().split(b"/"))
        object.__setattr__(self, "entries", tuple(entries))

    @property
    def paths(self) -> tuple[StorePath, ...]:
        """The store paths that have to be read for this layer: none."""
        return ()

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of the contents that have to be read, by their SHA-256."""
        return {entry.sha256: entry.size for entry in self.entries if entry.sha256 is not None}

    @property
    def summary(self) -> str:
        """What the layer holds, for people: `/app/api.pex, /etc/passwd and 3 more`."""
        parents = {entry.parent for entry in self.entries}
        leaves = [entry.path for entry in self.entries if entry.path not in parents]
        more = f" and {len(leaves) - 2} more" if len(leaves) > 2 else ""
        return ", ".join(leaves[:2]) + more

    def to_json(self) -> bytes:
        """The one JSON form of this recipe: sorted keys, no spaces, defaults left out."""
        return canonical_json(
            "recipe of files",
            {
                "version": RECIPE_VERSION,
                "files": [entry.to_document() for entry in self.entries],
            },
        )

    @classmethod
    def from_json(cls, data: bytes) -> FilesRecipe:
        """Parses what `to_json` wrote.

        :raises InvalidInputError: not such a document, or of another version.
        """
        document = parse_object("recipe of files", data)
        if document.get("version") != RECIPE_VERSION:
            raise InvalidInputError(
                "version of a recipe of files",
                document.get("version"),
                f"expected {RECIPE_VERSION}",
            )
        return cls(tuple(map(FileEntry.from_document, get_list(document, "files", dict))))


def with_directories(
    entries: Iterable[FileEntry], known: Mapping[str, FileEntry] = {}
) -> tuple[FileEntry, ...]:
    """Returns entries with the directories that they are in, each once.

    :param known: directories whose mode and owner are known, by path. Others have mode 0755 and belong
        to root.
    """
    found = {entry.path: entry for entry in entries}
    for path in list(found):
        for parent in parents_of(path):
            if parent in found:
                break
            found[parent] = known.get(parent) or FileEntry(parent, 0o755)
    return tuple(found.values())


def parents_of(path: str) -> Iterator[str]:
    """Yields the directories that an absolute path is in, the nearest first, without `/`."""
    path = path.rpartition("/")[0]
    while path:
        yield path
        path = path.rpartition("/")[0]
