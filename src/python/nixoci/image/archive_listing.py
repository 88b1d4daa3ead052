"""What is where in an image archive that any tool wrote: layers are read in place later on, by their offsets."""

from __future__ import annotations

import base64
import binascii
import posixpath
import tarfile
from dataclasses import dataclass
from typing import IO, Any, Mapping

from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, get_list, parse_json, parse_object
from nixoci.json_output import canonical_json
from nixoci.sha256 import sha256

#: Bytes of a document that are kept in a listing.
LARGEST_DOCUMENT = 4 << 20

#: What lists the images of a Docker archive.
DOCKER_MANIFEST = "manifest.json"

_MOST_MEMBERS = 100_000
_CHUNK_SIZE = 1 << 20


@dataclass(frozen=True)
class ListedFile:
    """:param file: SHA-256 of the file that has it in it, in hex: the name that this has among contents.
    :param offset: bytes before it in there; `size` of it.
    :param digest: `sha256:<hex>`, where it is known.
    :param magic: its first bytes in hex, where somebody looked.
    """

    file: str
    offset: int
    size: int
    digest: str = ""
    magic: str = ""


@dataclass(frozen=True)
class ArchiveListing:
    """:param files: by their paths.
    :param documents: the contents of those that may be JSON, by path.
    """

    files: Mapping[str, ListedFile]
    documents: Mapping[str, bytes]

    def to_json(self) -> bytes:
        """The one JSON form."""
        document = {
            "files": {name: vars(file) for name, file in self.files.items()},
            "documents": {
                name: base64.b64encode(content).decode() for name, content in self.documents.items()
            },
        }
        return canonical_json("listing of an archive", document)

    @classmethod
    def from_json(cls, data: bytes) -> ArchiveListing:
        """Parses what `to_json` wrote.

        :raises InvalidInputError: not such a document.
        """
        document = parse_object("listing of an archive", data)
        files = get_field(document, "files", dict)
        documents = get_field(document, "documents", dict)
        try:
            return cls(
                {name: _listed_file(get_field(files, name, dict)) for name in files},
                {name: base64.b64decode(get_field(documents, name, str)) for name in documents},
            )
        except binascii.Error:
            raise InvalidInputError("listing of an archive", data[:80], "no base64") from None


def list_archive(path: str, name: str) -> ArchiveListing:
    """Reads the headers of an archive, its documents, and, of a Docker archive, the digests of its layers.

    :param name: SHA-256 of the archive in hex.
    :raises InvalidInputError: it is no tar, or a compressed one.
    """
    files: dict[str, ListedFile] = {}
    documents: dict[str, bytes] = {}
    links: dict[str, str] = {}
    try:
        with open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for number, member in enumerate(archive):
                if number >= _MOST_MEMBERS:
                    raise InvalidInputError("archive", path, f"it has over {_MOST_MEMBERS} members")
                place = posixpath.normpath(member.name)
                if member.issym() or member.islnk():
                    above = posixpath.dirname(place) if member.issym() else ""
                    links[place] = posixpath.normpath(posixpath.join(above, member.linkname))
                elif member.isreg() and member.sparse is None:
                    files[place] = ListedFile(name, member.offset_data, member.size)
        # Docker writes equal layers once, and links to them.
        for place, target in links.items():
            if target in files:
                files[place] = files[target]
        with open(path, "rb") as file:
            for place, found in files.items():
                if found.size <= LARGEST_DOCUMENT and _read(file, found, 1) in (b"{", b"["):
                    documents[place] = _read(file, found, found.size)
            if "index.json" not in documents:
                for place in _docker_layers(documents):
                    if place in files:
                        files[place] = _digested(file, files[place])
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InvalidInputError(
            "archive", path, f"it is no plain tar ({error}); a compressed one must be decompressed"
        ) from None
    return ArchiveListing(files, documents)


def docker_entries(documents: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """Returns the images that a Docker archive lists.

    :raises InvalidInputError: a broken document.
    """
    entries = parse_json(DOCKER_MANIFEST, documents.get(DOCKER_MANIFEST, b"[]"))
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidInputError(DOCKER_MANIFEST, str(entries)[:80], "expected a list of objects")
    return entries


def _docker_layers(documents: Mapping[str, bytes]) -> list[str]:
    return [
        posixpath.normpath(layer)
        for entry in docker_entries(documents)
        for layer in get_list(entry, "Layers", str, default=[])
    ]


def _read(file: IO[bytes], listed: ListedFile, size: int) -> bytes:
    file.seek(listed.offset)
    return file.read(min(size, listed.size))


def _digested(file: IO[bytes], listed: ListedFile) -> ListedFile:
    hasher = sha256()
    file.seek(listed.offset)
    left = listed.size
    first = b""
    while left:
        part = file.read(min(left, _CHUNK_SIZE))
        if not part:
            raise EOFError("it ends too early")
        first = first or part[:4]
        hasher.update(part)
        left -= len(part)
    return ListedFile(
        listed.file, listed.offset, listed.size, f"sha256:{hasher.hexdigest()}", first.hex()
    )


def _listed_file(document: Mapping[str, Any]) -> ListedFile:
    return ListedFile(
        get_field(document, "file", str),
        get_field(document, "offset", int),
        get_field(document, "size", int),
        get_field(document, "digest", str, default=""),
        get_field(document, "magic", str, default=""),
    )
