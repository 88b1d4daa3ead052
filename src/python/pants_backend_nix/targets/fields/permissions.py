"""The field `permissions`: a list of dictionaries, checked where it is written."""

from __future__ import annotations

from typing import Iterable, Mapping, Optional

from nixoci.errors import InvalidInputError
from nixoci.recipe.layer import Permission
from pants.engine.addresses import Address
from pants.engine.target import Field, InvalidFieldException, InvalidFieldTypeException
from pants.util.frozendict import FrozenDict
from pants.util.strutil import bullet_list, help_text

_KEYS = ("path", "mode", "uid", "gid", "uname", "gname", "capabilities")


class PermissionsField(Field):
    alias = "permissions"
    value: Optional[tuple[FrozenDict, ...]]
    default = None
    help = help_text(
        """
        Modes and owners that differ from those in the Nix store (everything belongs to root, nobody
        may write):

            permissions=[
                {"path": "/etc/shadow", "mode": "0600"},
                {"path": "{app}/bin/.*", "mode": "0755"},
                {"path": "/data(/.*)?", "uid": 1000, "gid": 1000, "uname": "app", "gname": "app"},
                {"path": "{ping}/bin/ping", "capabilities": ["cap_net_raw"]},
            ]

        `path` is a Python regular expression that must match a whole absolute path in the image, in
        which `{name}` stands for the store path of a package. It takes time in proportion to the path, however
        it is written; lookarounds and backreferences are taken beside two repeats of single characters (`.*`)
        at most. `mode` is an octal number in a string.
        `capabilities` are those that a program has whoever runs it, as `setcap cap_net_raw+ep` gives
        them; only regular files get any, whatever else `path` matches. The last entry that matches and
        sets a value wins.
        """
    )

    @classmethod
    def compute_value(
        cls, raw_value: Optional[Iterable[Mapping[str, object]]], address: Address
    ) -> Optional[tuple[FrozenDict, ...]]:
        value = super().compute_value(raw_value, address)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, Mapping) for v in value):
            raise InvalidFieldTypeException(
                address, cls.alias, value, expected_type="a list of dictionaries"
            )
        entries = []
        for entry in value:
            capabilities = to_permission(entry, address, {}).capabilities
            changes = {"capabilities": capabilities} if capabilities else {}
            entries.append(FrozenDict({**entry, **changes}))
        return tuple(entries)


def to_permission(
    entry: Mapping[str, object], address: Address, changes: Mapping[str, object]
) -> Permission:
    """Returns the permission that an entry of the field means, with `changes` to its keys.

    :raises InvalidFieldException: naming target, field, entry and the way out.
    """

    def invalid(why: str) -> InvalidFieldException:
        return InvalidFieldException(
            f"The entry {dict(entry)!r} of the field `permissions` of {address} is not valid: {why}\n\n"
            "An entry has these keys:\n"
            + bullet_list(
                (
                    "`path`: regular expression that matches a whole absolute path in the image",
                    '`mode`: octal number in a string, "0000" to "7777"',
                    "`uid`, `gid`: number; `uname`, `gname`: name",
                    '`capabilities`: list of names of Linux capabilities, `["cap_net_raw"]`',
                )
            )
        )

    unknown = sorted(set(entry) - set(_KEYS))
    if unknown:
        raise invalid(f"it has the unknown key {unknown[0]!r}.")
    values = {**entry, **changes}
    if not isinstance(values.get("path"), str):
        raise invalid("`path` must be a string.")
    mode = values.get("mode")
    if mode is not None:
        try:
            values["mode"] = int(mode, 8)  # type: ignore[call-overload]
        except (TypeError, ValueError):
            raise invalid(f"the mode {mode!r} is no octal number in a string.") from None
    for key, kind in (("uid", int), ("gid", int), ("uname", str), ("gname", str)):
        if values.get(key) is not None and type(values[key]) is not kind:
            raise invalid(f"`{key}` must be {'a number' if kind is int else 'a string'}.")
    if "capabilities" in values:
        names = values["capabilities"]
        if not isinstance(names, (list, tuple)) or not names:
            raise invalid("`capabilities` must be a list of at least one name.")
    if not set(values) - {"path"}:
        raise invalid("it changes nothing; give a mode, an owner or capabilities.")
    try:
        return Permission(**values)  # type: ignore[arg-type]
    except InvalidInputError as error:
        raise invalid(str(error)) from None
