"""Registrations: what a Nix database says of the paths that are valid."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import chain

from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json
from nixoci.store.closure import ClosureGraph, NotClosedError, PathInfo
from nixoci.store.hashes import parse_sha256, to_sri
from nixoci.store.path import StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Optional

#: The database holds signed integers of 64 bits.
_MAX_NAR_SIZE = 2**63 - 1

#: In the database, signatures are separated by spaces. Half of a surrogate pair is no text.
_SIGNATURE = re.compile(r"[^:\s\x00-\x1f\x7f\ud800-\udfff]+:[0-9A-Za-z+/]+={0,2}")

#: Nix refuses to read a database with another content address (libstore/content-address.cc).
_CONTENT_ADDRESS = re.compile(
    r"(text:|fixed:(r:|git:)?)(md5|sha1|sha256|sha512|blake3):[0-9a-z]{26,128}"
)

_NUMBER = re.compile(rb"[0-9]{1,19}")

_TEXT = "registrations as text"


@dataclass(frozen=True)
class Registration:
    """What is registered of one valid store path.

    :param nar_hash: SRI form.
    :param nar_size: bytes.
    :param references: kept sorted; the path itself is among them if its contents mention it.
    :param deriver: the derivation that the path was built by.
    :param ca: the content address, for paths that are addressed by their contents.
    :param signatures: `name:base64`, kept sorted.
    :raises InvalidInputError: a size, content address or signature that a database cannot hold.
    """

    path: StorePath
    nar_hash: str
    nar_size: int
    references: tuple[StorePath, ...]
    deriver: Optional[StorePath] = None
    ca: Optional[str] = None
    signatures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "references", tuple(sorted(set(self.references))))
        object.__setattr__(self, "signatures", tuple(sorted(set(self.signatures))))
        if not 0 <= self.nar_size <= _MAX_NAR_SIZE:
            raise InvalidInputError("NAR size", self.nar_size, "expected 0 to 2^63 - 1 bytes")
        if self.ca is not None and not _CONTENT_ADDRESS.fullmatch(self.ca):
            raise InvalidInputError("content address", self.ca, "Nix would not read it")
        for signature in self.signatures:
            if not _SIGNATURE.fullmatch(signature):
                raise InvalidInputError("signature", signature, "expected <name>:<base64>")

    def path_info(self) -> PathInfo:
        """Returns this registration less the deriver."""
        return PathInfo(
            self.path, self.nar_hash, self.nar_size, self.references, self.ca, self.signatures
        )


class Registrations(tuple[Registration, ...]):
    """A set of registrations as a database may have it: sorted by path, each path once, closed.

    A `tuple`; made by the functions of this module only.
    """

    __slots__ = ()


def registrations_of(graph: ClosureGraph) -> Registrations:
    """Returns what is to be registered for the paths of an image.

    :param graph: all paths that are in the store of the image.
    :raises NotClosedError: a path references one that is not in `graph`.
    :raises InvalidInputError: references form a cycle, or as `Registration`.
    """
    _require_closed(graph)
    return Registrations(
        Registration(
            path=info.path,
            nar_hash=info.nar_hash,
            nar_size=info.nar_size,
            references=info.references,
            ca=info.ca,
            signatures=info.signatures,
        )
        for info in graph.values()
    )


def closed_registrations(registrations: Iterable[Registration]) -> Registrations:
    """Returns registrations in any order, such as those of several images, as one closed set.

    Those of one path become one. A deriver that is not registered is left out: nothing in the image
    could be done with it.

    :raises NotClosedError: a reference is not registered.
    :raises ContradictionError: two registrations of one path differ in its contents.
    :raises InvalidInputError: references form a cycle, which Nix would not load.
    """
    if isinstance(registrations, Registrations):
        return registrations
    by_path: dict[StorePath, Registration] = {}
    for registration in registrations:
        known = by_path.setdefault(registration.path, registration)
        if known is not registration:
            by_path[registration.path] = _merge(known, registration)
    _require_closed(ClosureGraph(r.path_info() for r in by_path.values()))
    return Registrations(
        replace(r, deriver=None) if r.deriver is not None and r.deriver not in by_path else r
        for _, r in sorted(by_path.items())
    )


def _merge(one: Registration, other: Registration) -> Registration:
    """Returns what both say of one path; the same in either order."""
    info = ClosureGraph((one.path_info(), other.path_info()))[one.path]
    # Different derivations may have built the same contents; any one of them is true.
    deriver = min(filter(None, (one.deriver, other.deriver)), default=None)
    return replace(one, deriver=deriver, ca=info.ca, signatures=info.signatures)


def _require_closed(graph: ClosureGraph) -> None:
    # Also what is not closed must be free of cycles, else there may be no chain to show.
    graph.referrers_first()
    missing = set(chain.from_iterable(info.references for info in graph.values())).difference(graph)
    if missing:
        raise NotClosedError(graph.chain_to(min(missing)))


def to_text(registrations: Iterable[Registration]) -> bytes:
    """Returns the form that `nix-store --load-db` reads and `--dump-db` writes, in every version.

    It has no place for content addresses and signatures.

    :raises NotClosedError, ContradictionError, InvalidInputError: as `closed_registrations`.
    """
    lines: list[str] = []
    for registration in closed_registrations(registrations):
        lines += (
            registration.path,
            parse_sha256(registration.nar_hash).hex(),
            str(registration.nar_size),
            registration.deriver or "",
            str(len(registration.references)),
            *registration.references,
        )
    return "".join(f"{line}\n" for line in lines).encode()


def parse_text(data: bytes) -> Registrations:
    """Parses what `to_text` or `nix-store --dump-db` wrote.

    :raises InvalidInputError: not that form, or references form a cycle.
    :raises NotClosedError, ContradictionError: as `closed_registrations`.
    """
    *lines, rest = data.split(b"\n")
    if rest:
        raise InvalidInputError(_TEXT, rest[:200], "the last line has no end")
    found = []
    position = 0
    while position < len(lines):
        head = lines[position : position + 5]
        if len(head) < 5:
            raise InvalidInputError(_TEXT, head, "lines are missing")
        path, nar_hash, nar_size, deriver, count = head
        position += 5
        references = lines[position : position + _parse_number(count)]
        if len(references) < _parse_number(count):
            raise InvalidInputError(_TEXT, path[:300], f"it has less than {count!r} references")
        position += len(references)
        found.append(
            Registration(
                path=_parse_path(path),
                nar_hash=to_sri(parse_sha256(f"sha256:{nar_hash.decode('ascii', 'replace')}")),
                nar_size=_parse_number(nar_size),
                references=tuple(map(_parse_path, references)),
                deriver=_parse_path(deriver) if deriver else None,
            )
        )
    return closed_registrations(found)


def _parse_path(line: bytes) -> StorePath:
    return StorePath.parse(line.decode("ascii", "replace"))


def _parse_number(line: bytes) -> int:
    if not _NUMBER.fullmatch(line):
        raise InvalidInputError(_TEXT, line[:200], "expected a number")
    return int(line)


def to_json(registrations: Iterable[Registration]) -> bytes:
    """Returns the one JSON form of a set of registrations: an object by path, all facts kept.

    :raises NotClosedError, ContradictionError, InvalidInputError: as `closed_registrations`.
    """
    document: dict[str, Any] = {}
    for registration in closed_registrations(registrations):
        entry: dict[str, Any] = {
            "narHash": registration.nar_hash,
            "narSize": registration.nar_size,
            "references": list(registration.references),
        }
        if registration.deriver is not None:
            entry["deriver"] = registration.deriver
        if registration.ca is not None:
            entry["ca"] = registration.ca
        if registration.signatures:
            entry["signatures"] = list(registration.signatures)
        document[registration.path] = entry
    return canonical_json("registrations", document)


def from_json(data: bytes) -> Registrations:
    """Parses what `to_json` wrote.

    :raises InvalidInputError: not such a document, or references form a cycle.
    :raises NotClosedError: as `closed_registrations`.
    """
    document = parse_object("registrations", data)
    return closed_registrations(
        _registration(StorePath.parse(path), document[path]) for path in document
    )


def _registration(path: StorePath, entry: object) -> Registration:
    if not isinstance(entry, dict):
        raise InvalidInputError("registration", entry, "expected an object")
    deriver = get_field(entry, "deriver", str, default=None)
    return Registration(
        path=path,
        nar_hash=to_sri(parse_sha256(entry.get("narHash"))),
        nar_size=get_field(entry, "narSize", int),
        references=tuple(map(StorePath.parse, get_list(entry, "references", str))),
        deriver=None if deriver is None else StorePath.parse(deriver),
        ca=get_field(entry, "ca", str, default=None),
        signatures=tuple(get_list(entry, "signatures", str, default=[])),
    )
