"""Which repositories are known to have blobs: what an earlier push has learned, for later ones.

It is where to take blobs over from, and no more. Whoever goes by it asks the registry, which may have lost
them.
"""

from __future__ import annotations

from typing import Iterable

from nixoci.atomic import OutputError, replace_file
from nixoci.errors import InvalidInputError
from nixoci.image.reference import Reference
from nixoci.json_input import get_list, parse_object, read_all
from nixoci.json_output import canonical_json
from nixoci.registry.address import split_reference

#: So many blobs are remembered: those of some hundred images, in a file of about a megabyte.
_MOST_BLOBS = 10_000


class BlobHomes:
    """A repository for each blob of each registry, the one that was learned last."""

    def __init__(self) -> None:
        self._homes: dict[tuple[str, str], str] = {}

    def find(self, registry: str, digest: str) -> str:
        """Returns the name of a repository in a registry that had a blob; empty if none is known."""
        return self._homes.get((registry, digest), "")

    def note(self, registry: str, digest: str, name: str) -> None:
        """Takes note that a repository has a blob."""
        # What is learned last is forgotten last.
        self._homes.pop((registry, digest), None)
        self._homes[registry, digest] = name

    def to_json(self) -> bytes:
        """Returns the JSON form of what was learned last."""
        homes = [
            f"{registry}/{name} {digest}"
            for (registry, digest), name in list(self._homes.items())[-_MOST_BLOBS:]
        ]
        return canonical_json("homes of blobs", {"homes": homes})

    @classmethod
    def from_json(cls, data: bytes) -> BlobHomes:
        """Parses what `to_json` returned.

        :raises InvalidInputError: not such a document.
        """
        homes = cls()
        # There are far fewer repositories than blobs.
        places: dict[str, tuple[str, str]] = {}
        for text in get_list(parse_object("homes of blobs", data), "homes", str):
            repository, _, digest = text.partition(" ")
            if repository not in places:
                places[repository] = split_reference(Reference(repository))
            registry, name = places[repository]
            homes.note(registry, digest, name)
        return homes


def read_blob_homes(path: str) -> BlobHomes:
    """Reads a file that `write_blob_homes` wrote. One that is not there, or is another one, says nothing."""
    try:
        with open(path, "rb") as file:
            return BlobHomes.from_json(read_all(file, path))
    except (OSError, InvalidInputError):
        return BlobHomes()


def write_blob_homes(path: str, found: Iterable[tuple[str, str, str]]) -> None:
    """Adds to a file what was learned: registry, digest, name of the repository.

    Without a place to write to nothing is remembered, which is no reason for a push to fail.
    """
    # Another push may have written it meanwhile.
    homes = read_blob_homes(path)
    for registry, digest, name in found:
        homes.note(registry, digest, name)
    try:
        with replace_file(path) as file:
            file.write(homes.to_json())
    except OutputError:
        return
