"""The fields that put files into layers: what Pants builds, and the small things of a file system."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Iterable, Mapping, Optional, Union

from nixoci.errors import InvalidInputError
from nixoci.recipe.capabilities import capability_names
from nixoci.recipe.files import check_destination
from pants.engine.addresses import Address
from pants.engine.target import (
    Field,
    InvalidFieldException,
    InvalidFieldTypeException,
    StringSequenceField,
    Target,
)
from pants.util.frozendict import FrozenDict
from pants.util.strutil import help_text

from pants_backend_nix.targets.fields.closures import NixMaxLayersField

_MODE = re.compile("[0-7]{3,4}")
_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}\$?")
_MOST_ID = 8**7 - 1

_DESTINATION = "an absolute path in the image, without `.` and `..`, and not in `/nix`"


@dataclass(frozen=True)
class NixContents:
    """`nix_contents(…)` in a BUILD file: what goes into an image, and where to.

    :param address: of the target, as it is written.
    :param to: the place of the one file; or, with a slash at its end, the directory of all files.
    :param owner: `uid`, `uid:gid`, a user's name, or `user:group`.
    :param mode: octal digits, of all files; None to keep what is executable.
    :param strip_prefix: a directory that is taken off the paths of the files.
    :param capabilities: of all files, such as `cap_net_bind_service`.
    """

    address: str
    to: str
    owner: Optional[str] = None
    mode: Optional[str] = None
    strip_prefix: str = ""
    capabilities: tuple[str, ...] = ()

    @property
    def is_directory(self) -> bool:
        return self.to.endswith("/")


class NixContentsField(Field):
    alias = "contents"
    value: Optional[tuple[NixContents, ...]]
    default = None
    help = help_text(
        """
        What Pants builds and what is in the repository, and where it goes in the image:

            contents={":api": "/app/api.pex", "//assets:static": "/srv/"},

        or, with more to say of it,

            contents=[nix_contents(":tool", to="/app/tool", owner="app", mode="0555")],

        Each key is the address of a target that `package` builds (a `pex_binary`, an `archive`, a Go or
        JVM binary, …) or of one with sources (`file`, `files`, `resources`, `relocated_files`, …).

        A place that ends in a slash is a directory: files of targets go there with their paths in the
        repository, and what was packaged with its output path, as in the context of a `docker_image`.
        `strip_prefix` takes the beginning of these paths off. A place without a slash is that of the one
        file that the target has.

        Files keep whether they are executable, belong to root, and nobody may write to them (0444 or
        0555), as in the Nix store; `owner`, `mode` and `capabilities` of `nix_contents` say otherwise.

        Each entry has an OCI layer of its own, above all store paths, as far as `max_layers` allows.
        What is only copied comes first, then what Pants builds; besides that, a list keeps its order,
        and the entries of a dictionary, which has none, go by their places.
        """
    )

    @classmethod
    def compute_value(
        cls, raw_value: Optional[object], address: Address
    ) -> Optional[tuple[NixContents, ...]]:
        value: Any = super().compute_value(raw_value, address)
        if value is None:
            return None
        expected = "a dictionary of addresses to paths, or a list of `nix_contents(…)`"
        if isinstance(value, Mapping):
            if not all(isinstance(part, str) for pair in value.items() for part in pair):
                raise InvalidFieldTypeException(address, cls.alias, value, expected_type=expected)
            # Pants takes dictionaries for equal whatever their order, so that must not count: a running
            # `pantsd` would not see another one.
            pairs = sorted(value.items(), key=lambda pair: (pair[1], pair[0]))
            value = [NixContents(target, to) for target, to in pairs]
        if not isinstance(value, (list, tuple)) or not all(
            isinstance(item, NixContents) for item in value
        ):
            raise InvalidFieldTypeException(address, cls.alias, value, expected_type=expected)
        for item in value:
            _check_contents(item, cls.alias, address)
        return tuple(map(_frozen, value))


def _frozen(item: NixContents) -> NixContents:
    """Returns an entry whose lists are tuples: the value of a field is hashed."""
    return replace(item, capabilities=tuple(item.capabilities))


def _check_contents(item: NixContents, field: str, address: Address) -> None:
    def invalid(why: str) -> InvalidFieldException:
        return InvalidFieldException(
            f"The entry for {item.address!r} in the field `{field}` of {address} is not valid: {why}"
        )

    for name in ("address", "to", "strip_prefix"):
        if not isinstance(getattr(item, name), str):
            raise invalid(f"`{name}` must be a string.")
    if item.to != "/":
        try:
            check_destination(item.to.rstrip("/") if item.is_directory else item.to)
        except InvalidInputError as error:
            raise invalid(f"{error} Set `to` to {_DESTINATION}.") from None
    if item.mode is not None and not (
        isinstance(item.mode, str) and _MODE.fullmatch(item.mode)
    ):
        raise invalid(f'the mode {item.mode!r} is no octal number in a string, such as "0555".')
    try:
        capability_names(item.capabilities)
    except InvalidInputError as error:
        raise invalid(str(error)) from None
    if item.owner is not None and not (isinstance(item.owner, str) and item.owner):
        raise invalid(f'the owner {item.owner!r} is none: write "1000:1000" or the name of a user.')


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
            if not 0 <= entry.get(key, 0) <= _MOST_ID:
                return f"`{key}` must be from 0 to {_MOST_ID}."
        if "mode" in entry and not _MODE.fullmatch(entry["mode"]):
            return f'the mode {entry["mode"]!r} is no octal number in a string, such as "1777".'
        required = next(iter(cls.keys))
        if required not in entry:
            return f"`{required}` is missing."
        for key in ("path", "home"):
            if key in entry:
                try:
                    check_destination(entry[key])
                except InvalidInputError as error:
                    return f"{error} Set `{key}` to {_DESTINATION}."
        if "name" in entry and not _NAME.fullmatch(entry["name"]):
            return "`name` must be lower-case letters, digits, `_` and `-`, at most 31."
        for text in entry.values():
            if isinstance(text, str) and re.search("[\n:]", text):
                return f"{text!r} has a colon or a line end."
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
            why: Union[InvalidInputError, str, None] = None if target else "the link is empty."
            try:
                check_destination(path)
            except InvalidInputError as error:
                why = error
            if why:
                raise InvalidFieldException(
                    f"The entry {path!r} in the field `{cls.alias}` of {address} is not valid: {why} Set "
                    f"its key to {_DESTINATION}."
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


#: All of them: what a target with layers may have besides store paths.
FILE_FIELDS = (
    NixContentsField,
    NixDirectoriesField,
    NixUsersField,
    NixGroupsField,
    NixSymlinksField,
    NixCaCertificatesField,
)


def contents_layer_count(target: Target) -> int:
    """Returns how many OCI layers the field `contents` takes: one for each entry, if there is room."""
    contents = target[NixContentsField].value or ()
    return min(len(contents), max(1, target[NixMaxLayersField].value - 1))


def store_layer_count(target: Target) -> int:
    """Returns how many of `max_layers` are left for store paths. There is always one."""
    system = any(target[field].value for field in FILE_FIELDS if field is not NixContentsField)
    return max(1, target[NixMaxLayersField].value - contents_layer_count(target) - system)
