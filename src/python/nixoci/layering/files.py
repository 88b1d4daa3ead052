"""Files for an image → the recipes of its layers of files."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.layering.collisions import FileCollisionError, Occupant, Thing
from nixoci.layering.directories import DirectoriesBelow, Directory
from nixoci.recipe.files import FileEntry, FilesRecipe, parents_of, with_directories
from nixoci.sha256 import sha256

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Optional, Sequence


@dataclass(frozen=True)
class FileGroup:
    """Files that come from one place.

    :param origin: who brings them, for people.
    :param entries: without the directories that they are in, unless mode and owner of one matter.
    :param over: groups below whose files these may replace, by their origins.
    :param rank: and `shadows`, as of an `Occupant`.
    """

    origin: str
    entries: tuple[FileEntry, ...]
    over: tuple[str, ...] = ()
    rank: int = 0
    shadows: tuple[str, ...] = ()

    def occupant(self) -> Occupant:
        """Returns what the group puts where, with the directories on the way.

        :raises FileCollisionError: it puts two things at one place.
        """
        entries: dict[str, FileEntry] = {}
        for entry in self.entries:
            if entries.setdefault(entry.path, entry) != entry:
                raise FileCollisionError(
                    entry.path, (self.origin, self.origin), "brought by two, differently"
                )
        places = {path: _thing(entry) for path, entry in entries.items()}
        for entry in entries.values():
            for parent in parents_of(entry.path):
                if places.setdefault(parent, None) is not None:
                    raise FileCollisionError(
                        parent,
                        (self.origin, self.origin),
                        f"no directory, but {entry.path} is below it",
                    )
        return Occupant(self.origin, places, self.rank, self.shadows, self.over)


def _thing(entry: FileEntry) -> Optional[Thing]:
    if entry.is_directory:
        return None
    if entry.target is not None:
        return Thing(entry.mode, entry.owner, link_contents(entry.target))
    digest = entry.sha256 or sha256((entry.text or "").encode()).hexdigest()
    return Thing(entry.mode, entry.owner, file_contents(digest, entry.capabilities))


def file_contents(digest: str, capabilities: Sequence[str] = ()) -> str:
    """Returns what `Thing.contents` is for a file.

    :param digest: SHA-256 of its contents, in hex.
    """
    return " ".join((f"sha256:{digest}", *capabilities))


def link_contents(target: str) -> str:
    """Returns what `Thing.contents` is for a symbolic link."""
    return f"link:{target}"


def layers_of_files(
    system: Sequence[FileGroup],
    contents: Sequence[Sequence[FileGroup]],
    below: DirectoriesBelow = DirectoriesBelow(),
) -> tuple[Optional[FilesRecipe], ...]:
    """Returns the recipes of layers, bottom first; None for a layer with nothing that is not below it.

    Among the groups there are no collisions, see `nixoci.layering.collisions`. Of several that have a
    directory the first one says what it is like, in all layers.

    :param system: what is in the first layer: directories, accounts, links. What is said there of a directory
        counts before what lower layers say.
    :param contents: the groups of each further layer.
    :param below: the directories of the layers below these. Those that are spoiled are in the first layer.
    """
    layers = [system, *contents]
    known = {
        entry.path: entry
        for layer in reversed(layers)
        for group in reversed(layer)
        for entry in group.entries
        if entry.is_directory
    }
    declared = {e.path for group in system for e in group.entries if e.is_directory}
    for directory in below.special:
        if directory.path not in declared and _says_nothing(known.get(directory.path)):
            known[directory.path] = _entry(directory)
    restored = FileGroup("", tuple(known.get(d.path) or _entry(d) for d in below.spoiled))
    there: dict[str, FileEntry] = {}
    recipes: list[Optional[FilesRecipe]] = []
    for layer in ([*system, restored], *contents):
        by_path: dict[str, FileEntry] = {}
        for group in layer:
            # What a group has over another one of the same layer comes after it.
            if group.shadows:
                by_path = _without_shadowed(by_path, group)
            by_path.update((e.path, known[e.path] if e.is_directory else e) for e in group.entries)
        new = [entry for entry in by_path.values() if there.get(entry.path) != entry]
        there.update(by_path)
        recipes.append(FilesRecipe(with_directories(new, known)) if new else None)
    return tuple(recipes)


def _without_shadowed(
    by_path: Mapping[str, FileEntry], group: FileGroup
) -> dict[str, FileEntry]:
    """Returns what is left of a layer when a group is to have directories where things are, or the other
    way round."""
    places = group.occupant().places
    things = {path for path, thing in places.items() if thing is not None}
    return {
        path: entry
        for path, entry in by_path.items()
        if things.isdisjoint(parents_of(path)) and (entry.is_directory or places.get(path, "") is not None)
    }


def _entry(directory: Directory) -> FileEntry:
    return FileEntry(directory.path, directory.mode, directory.owner)


def _says_nothing(entry: Optional[FileEntry]) -> bool:
    return entry is None or entry == FileEntry(entry.path, 0o755)
