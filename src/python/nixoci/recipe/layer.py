"""Layer recipes: what the tar of a layer is made of, and nothing else.

A recipe is all that decides the bytes of a layer, so its JSON form is the cache key of the layer's
digest. It never holds what does not change the bytes (target names, image config, tool paths).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property

from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.recipe.capabilities import capability_names
from nixoci.recipe.globs import check_glob
from nixoci.store.path import StorePath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional

#: Version of the recipe's JSON form *and* of the byte layout that `nixoci.tar.pack` gives it. It grows
#: when the bytes of any layer change, so that no cached digest of the old layout is taken.
RECIPE_VERSION = 2

#: The destination of a path that is copied to the root of the image.
ROOT = "/"

#: The ways to write the tar of a layer; `nixoci.tar.pack` says what they are.
DIALECTS = ("oci", "nix2container")


@dataclass(frozen=True)
class Owner:
    """Numeric and symbolic owner. A user without a name has an empty one: numbers count then."""

    uid: int = 0
    gid: int = 0
    uname: str = "root"
    gname: str = "root"

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Owner:
        """Parses the fields of an owner; those that are absent are root's.

        :raises InvalidInputError: other fields, or values of another type.
        """
        try:
            owner = cls(**document)
        except TypeError as error:
            raise InvalidInputError("owner", document, str(error)) from None
        for name, value in vars(cls()).items():
            get_field(vars(owner), name, type(value))
        return owner


@dataclass(frozen=True)
class Permission:
    """Changes mode, owner or capabilities of what a regular expression matches.

    :param path: a Python regular expression that must match a whole absolute path in the image,
        e.g. `/etc/shadow` or `/nix/store/[^/]+/bin/.*`; see `nixoci.recipe.expressions`.
    :param mode: permission bits (0 to 0o7777), or None to keep those that it has. Symbolic links
        keep theirs in the dialect `oci`.
    :param uid: numeric user, or None to keep the layer's. `gid`, `uname`, `gname` likewise.
    :param capabilities: those that regular files have, see `capability_names`; empty to keep them as
        they are. Nix stores none. Directories and symbolic links have none either.
    """

    path: str
    mode: Optional[int] = None
    uid: Optional[int] = None
    gid: Optional[int] = None
    uname: Optional[str] = None
    gname: Optional[str] = None
    capabilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Fails if it is none that is safe.
        self.matcher()
        for name in ("mode", "uid", "gid"):
            # JSON has booleans and fractions, which compare and print like numbers.
            if type(getattr(self, name)) not in (int, type(None)):
                raise InvalidInputError(f"permission {name}", getattr(self, name), "expected int")
        if self.mode is not None and not 0 <= self.mode <= 0o7777:
            raise InvalidInputError("permission mode", oct(self.mode), "it is not 0 to 0o7777")
        for name in ("uid", "gid"):
            number = getattr(self, name)
            if number is not None and not 0 <= number < 8**7:
                raise InvalidInputError(f"permission {name}", number, "it is not 0 to 2097151")
        for name in ("uname", "gname"):
            text = getattr(self, name)
            if text is not None and not re.fullmatch(r"[A-Za-z0-9_.\-]{1,31}", text):
                raise InvalidInputError(
                    f"permission {name}", text, "expected 1 to 31 letters, digits, _ . or -"
                )
        object.__setattr__(self, "capabilities", capability_names(self.capabilities))

    @cached_property
    def _literal_prefix(self) -> str:
        """Every path that the expression matches starts with this text (perhaps empty)."""
        if "|" in self.path or self.path.startswith("(?"):
            return ""
        prefix = ""
        index = 0
        while index < len(self.path):
            char = self.path[index]
            if char == "\\" and index + 1 < len(self.path):
                char = self.path[index + 1]
                if char.isalnum():
                    return prefix
                index += 1
            elif char in "*?{":
                return prefix[:-1]
            elif char in "+.^$[]()\\":
                return prefix
            prefix += char
            index += 1
        return prefix

    def may_match(self, destination: str) -> bool:
        """Whether the expression could match `destination` or a path below it (never wrong on no)."""
        prefix = self._literal_prefix
        base = destination.rstrip("/")
        return base.startswith(prefix) or prefix == base or prefix.startswith(base + "/")

    @property
    def changes_owner(self) -> bool:
        return any(n is not None for n in (self.uid, self.gid, self.uname, self.gname))

    def matches(self, path: str) -> bool:
        """Whether the expression matches an absolute path in the image."""
        return bool(self.matcher()(path))

    def matcher(self) -> Callable[[str], object]:
        """Returns `matches` for who asks often."""
        # Only needed by who has permissions.
        from nixoci.recipe.expressions import expression

        return expression(self.path)

    def change(self, owner: Owner) -> Owner:
        """Returns the owner of what matches, if it would be `owner` otherwise."""
        return Owner(
            owner.uid if self.uid is None else self.uid,
            owner.gid if self.gid is None else self.gid,
            owner.uname if self.uname is None else self.uname,
            owner.gname if self.gname is None else self.gname,
        )


@dataclass(frozen=True)
class RecipeEntry:
    """One store path of a layer.

    :param path: where the contents are read.
    :param nar_hash: their hash as Nix knows it, SRI form (`sha256-…`): part of the recipe since the
        same path may have other contents on another machine.
    :param destination: where they go in the image: the path itself, or `ROOT`.
    """

    path: StorePath
    nar_hash: str
    destination: str


@dataclass(frozen=True)
class LayerRecipe:
    """The contents of one layer, sorted: recipes of the same contents are equal.

    :param entries: come in any order, and are kept in that of their destinations.
    :param permissions: applied in order; of several that match, the last one that sets a value wins.
    :param owner: of `/nix` and all that is below it, where no permission says otherwise: the user
        that runs Nix inside. Everything else belongs to root.
    :param dialect: one of `DIALECTS`.
    :param excludes: globs of paths below each store path that stay out of the layer, see
        `glob_expression`; a directory with all that it contains. The store path itself never does.
    :raises InvalidInputError: another dialect, two NAR hashes for one path, or no such glob.
    """

    entries: tuple[RecipeEntry, ...]
    permissions: tuple[Permission, ...] = ()
    owner: Owner = Owner()
    dialect: str = DIALECTS[0]
    excludes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.dialect not in DIALECTS:
            raise InvalidInputError(
                "layer recipe dialect", self.dialect, f"expected one of {', '.join(DIALECTS)}"
            )
        hashes: dict[StorePath, str] = {}
        for entry in self.entries:
            if hashes.setdefault(entry.path, entry.nar_hash) != entry.nar_hash:
                raise InvalidInputError("layer recipe", entry.path, "it has two NAR hashes")
        entries = sorted(set(self.entries), key=lambda entry: (entry.destination, entry.path))
        object.__setattr__(self, "entries", tuple(entries))
        for pattern in self.excludes:
            check_glob("exclude", pattern)
        object.__setattr__(self, "excludes", tuple(sorted(set(self.excludes))))

    @property
    def paths(self) -> tuple[StorePath, ...]:
        return tuple(entry.path for entry in self.entries)

    @property
    def mode_of_copied_directory(self) -> int:
        """Permission bits of directories that are copied to the root, where no permission says others."""
        return 0o755 if self.dialect == DIALECTS[0] else 0o555

    @property
    def summary(self) -> str:
        """What the layer holds, for people: `glibc-2.36, bash-5.2 and 3 more`."""
        names = [path.name for path in self.paths]
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        return ", ".join(names[:2]) + more

    def to_json(self) -> bytes:
        """The one JSON form of this recipe: sorted keys, no spaces, defaults left out."""
        document: dict[str, Any] = {
            "version": RECIPE_VERSION,
            "entries": [
                {"path": e.path, "narHash": e.nar_hash}
                if e.destination == e.path
                else {"path": e.path, "narHash": e.nar_hash, "destination": e.destination}
                for e in self.entries
            ],
        }
        if self.permissions:
            document["permissions"] = permissions_document(self.permissions)
        if self.owner != Owner():
            document["owner"] = vars(self.owner)
        if self.dialect != DIALECTS[0]:
            document["dialect"] = self.dialect
        if self.excludes:
            document["excludes"] = self.excludes
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> LayerRecipe:
        """Parses what `to_json` wrote.

        :raises InvalidInputError: not such a document, or of another version.
        """
        document = parse_object("layer recipe", data)
        if document.get("version") != RECIPE_VERSION:
            raise InvalidInputError(
                "layer recipe version", document.get("version"), f"expected {RECIPE_VERSION}"
            )
        entries = []
        for item in get_list(document, "entries", dict):
            path = StorePath.parse(item.get("path"))
            destination = get_field(item, "destination", str, default=str(path))
            if destination not in (path, ROOT):
                raise InvalidInputError("destination", destination, f"expected {path} or {ROOT}")
            entries.append(RecipeEntry(path, get_field(item, "narHash", str), destination))
        permissions = permissions_of(document)
        owner = Owner.from_document(get_field(document, "owner", dict, default={}))
        dialect = get_field(document, "dialect", str, default=DIALECTS[0])
        excludes = get_list(document, "excludes", str, default=[])
        return cls(tuple(entries), permissions, owner, dialect, tuple(excludes))


def permissions_document(permissions: tuple[Permission, ...]) -> list[dict[str, Any]]:
    """Returns the JSON form of permissions: what they do not change is left out."""
    return [
        {
            name: value
            for name, value in vars(permission).items()
            if value not in (None, ()) and name[0] != "_"
        }
        for permission in permissions
    ]


def permissions_of(document: dict[str, Any]) -> tuple[Permission, ...]:
    """Parses what `permissions_document` returned, which a recipe has as its `permissions`, if any.

    :raises InvalidInputError: not such a document.
    """
    facts = get_list(document, "permissions", dict, default=[])
    try:
        return tuple(Permission(**fact) for fact in facts)
    except TypeError as error:
        raise InvalidInputError("permissions of a recipe", facts, str(error)) from None
