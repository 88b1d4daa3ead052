"""The fields for the small things of a file system: directories, accounts, links, certificates."""

from __future__ import annotations

import re
from typing import Any, Iterable, Mapping, Optional

from nixoci.errors import InvalidInputError
from nixoci.recipe.files import check_destination
from nixoci.recipe.globs import check_glob
from pants.engine.addresses import Address
from pants.engine.target import (
    Field,
    InvalidFieldException,
    InvalidFieldTypeException,
    StringSequenceField,
)
from pants.util.frozendict import FrozenDict
from pants.util.strutil import help_text

from pants_backend_nix.targets.fields.places import DESTINATION, MODE

_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}\$?")

#: The most that the header of a tar has room for.
MOST_ID = 8**7 - 1


class _ListOfDictionariesField(Field):
    value: Optional[tuple[FrozenDict[str, Any], ...]]
    default = None
    #: Keys, with the type of each value; the first one is required.
    keys: Mapping[str, type] = {}

    @classmethod
    def compute_value(
        cls, raw_value: Optional[Iterable[Mapping[str, Any]]], address: Address
    ) -> Optional[tuple[FrozenDict[str, Any], ...]]:
        value = super().compute_value(raw_value, address)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, Mapping) for v in value):
            raise InvalidFieldTypeException(
                address, cls.alias, value, expected_type="a list of dictionaries"
            )
        for entry in value:
            why = cls._why_not(entry)
            if why:
                raise InvalidFieldException(
                    f"The entry {dict(entry)!r} of the field `{cls.alias}` of {address} is not valid: "
                    f"{why} An entry has the keys {', '.join(f'`{key}`' for key in cls.keys)}."
                )
        return tuple(FrozenDict(entry) for entry in value)

    @classmethod
    def _why_not(cls, entry: Mapping[str, Any]) -> str:
        for key, entry_value in entry.items():
            if key not in cls.keys:
                return f"there is no key {key!r}."
            if type(entry_value) is not cls.keys[key]:
                kind = "number" if cls.keys[key] is int else "string"
                return f"`{key}` must be a {kind}."
        for key in ("uid", "gid"):
            if not 0 <= entry.get(key, 0) <= MOST_ID:
                return f"`{key}` must be from 0 to {MOST_ID}."
        if "mode" in entry and not MODE.fullmatch(entry["mode"]):
            return f'the mode {entry["mode"]!r} is no octal number in a string, such as "1777".'
        required = next(iter(cls.keys))
        if required not in entry:
            return f"`{required}` is missing."
        for key in ("path", "home"):
            # A home at the root is none.
            if key in entry and (key, entry[key]) != ("home", "/"):
                try:
                    check_destination(entry[key])
                except InvalidInputError as error:
                    return f"{error} Set `{key}` to {DESTINATION}."
        if "name" in entry and not _NAME.fullmatch(entry["name"]):
            return "`name` must be lower-case letters, digits, `_` and `-`, at most 31."
        for key in ("home", "shell"):
            if re.search("[\n:]", entry.get(key, "")):
                return f"`{key}` has a colon or a line end, and is part of a line of `/etc/passwd`."
        return ""


class NixDirectoriesField(_ListOfDictionariesField):
    alias = "directories"
    keys = {"path": str, "mode": str, "uid": int, "gid": int}
    help = help_text(
        """
        Directories of the image, with mode and owner:

            directories=[{"path": "/tmp", "mode": "1777"}, {"path": "/data", "uid": 1000, "gid": 1000}],

        By default 0755, and owned by root. What is put below them later leaves mode and owner alone.
        """
    )


class NixUsersField(_ListOfDictionariesField):
    alias = "users"
    keys = {"name": str, "uid": int, "gid": int, "home": str, "shell": str}
    help = help_text(
        """
        Users of the image, besides root:

            users=[{"name": "app", "uid": 1000, "home": "/home/app"}],

        Makes `/etc/passwd`, `/etc/group`, `/etc/shadow` (nobody has a password), `/etc/nsswitch.conf`, and
        the home directories, with mode 0700. `gid` is `uid` by default, `home` is `/`, and `shell` is a
        program that refuses. A group with the name and `gid` of each user is made unless `groups` has one
        with this number. Which user a container runs as is said by the field `user`.
        """
    )

    @classmethod
    def _why_not(cls, entry: Mapping[str, Any]) -> str:
        return super()._why_not(entry) or ("" if "uid" in entry else "`uid` is missing.")


class NixGroupsField(_ListOfDictionariesField):
    alias = "groups"
    keys = {"name": str, "gid": int}
    help = help_text(
        """
        Groups of the image, besides root and those of `users`: `[{"name": "staff", "gid": 50}]`.
        """
    )

    @classmethod
    def _why_not(cls, entry: Mapping[str, Any]) -> str:
        return super()._why_not(entry) or ("" if "gid" in entry else "`gid` is missing.")


class NixSymlinksField(Field):
    alias = "symlinks"
    value: Optional[FrozenDict[str, str]]
    default = None
    help = help_text(
        """
        Symbolic links of the image, by path: `{"/bin/sh": "{busybox}/bin/sh"}`.

        `{name}` stands for the store path of the `nix_package` of that name among the packages of this
        target and of its layers, `{name^output}` for another output.
        """
    )

    @classmethod
    def compute_value(
        cls, raw_value: Optional[Mapping[str, str]], address: Address
    ) -> Optional[FrozenDict[str, str]]:
        value = super().compute_value(raw_value, address)
        if value is None:
            return None
        if not isinstance(value, Mapping) or not all(
            isinstance(part, str) for pair in value.items() for part in pair
        ):
            raise InvalidFieldTypeException(
                address, cls.alias, value, expected_type="a dictionary of paths to targets of links"
            )
        for path, target in value.items():
            why = ""
            if not target or "\0" in target:
                why = f"the link {target!r} is no path. Set its value to where it leads."
            try:
                check_destination(path)
            except InvalidInputError as error:
                why = f"{error} Set its key to {DESTINATION}."
            if why:
                raise InvalidFieldException(
                    f"The entry {path!r} in the field `{cls.alias}` of {address} is not valid: {why}"
                )
        return FrozenDict(value)


class NixCaCertificatesField(StringSequenceField):
    alias = "ca_certificates"
    help = help_text(
        """
        The authorities that programs in the image trust: `[":cacert", "//certs:team"]`.

        Names `nix_package` targets with a bundle (`cacert` of nixpkgs, or a package that is the file), and
        targets with files of certificates in PEM form. All certificates are put into
        `/etc/ssl/certs/ca-certificates.crt`, which has the names `ca-bundle.crt` beside it,
        `/etc/ssl/cert.pem` and `/etc/pki/tls/certs/ca-bundle.crt` too. The packages themselves do not become
        part of the image.
        """
    )


class NixShadowsField(StringSequenceField):
    alias = "shadows"
    help = help_text(
        """
        What this target may replace of the layers below it:

            shadows=["/etc/nsswitch.conf", "/usr/share/app/**"],

        In an image the upper of two layers hides what the lower one has at a place, and a symbolic link hides a
        whole directory. Where both have the same, nothing is lost; where they differ, it is an error
        unless a pattern here matches the path. `*` stands for any characters of a name, `?` for one, `**` for
        any number of directories, as in `excludes`.

        Only what layers below have can be replaced: those of the targets in `layers`, and, for `contents`
        and the small things of a file system (`users`, `symlinks` and so on), what is copied to the root.
        Two packages in one `copy_to_root`, or two entries of one `contents`, must agree.
        """
    )

    @classmethod
    def compute_value(
        cls, raw_value: Optional[Iterable[str]], address: Address
    ) -> Optional[tuple[str, ...]]:
        value = super().compute_value(raw_value, address)
        for pattern in value or ():
            try:
                if not pattern.startswith("/"):
                    raise InvalidInputError("The pattern", pattern, "it must be absolute")
                check_glob("The pattern", pattern[1:])
            except InvalidInputError as error:
                raise InvalidFieldException(
                    f"The field `{cls.alias}` of {address} has a pattern that matches nothing. {error} "
                    "Patterns are absolute paths in the image, such as `/etc/nsswitch.conf` or `/opt/app/**`."
                ) from None
        return value


FILE_SYSTEM_FIELDS = (
    NixDirectoriesField,
    NixUsersField,
    NixGroupsField,
    NixSymlinksField,
    NixCaCertificatesField,
)
