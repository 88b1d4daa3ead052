"""The field `arguments` of a `nix_package`: what the function in its Nix file is called with."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from nixoci.errors import InvalidInputError
from nixoci.json_output import canonical_json
from pants.engine.addresses import Address
from pants.engine.target import Field, InvalidFieldException, InvalidFieldTypeException
from pants.util.frozendict import FrozenDict
from pants.util.strutil import help_text


class NixArgumentsField(Field):
    alias = "arguments"
    value: Optional[FrozenDict[str, Any]]
    default = None
    help = help_text(
        """
        What `source` is called with, if it is a function and no flake:

            arguments={"debug": True, "workers": 4, "features": ["tls"]},

        Values are strings, booleans, numbers, lists and dictionaries. The function must take each
        name; so must, or may, functions further down that `attr` leads through. `system` is passed by itself.
        With `parametrize` there is a package for each set of arguments.
        """
    )

    @classmethod
    def compute_value(
        cls, raw_value: Optional[Mapping[str, Any]], address: Address
    ) -> Optional[FrozenDict[str, Any]]:
        value = super().compute_value(raw_value, address)
        if value is None:
            return None
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise InvalidFieldTypeException(
                address, cls.alias, value, expected_type='a dictionary such as `{"debug": True}`'
            )
        if "system" in value:
            raise InvalidFieldException(
                f"The field `{cls.alias}` of {address} has `system`. Set the field `system` instead."
            )
        try:
            canonical_json(cls.alias, _plain(value))
        except (InvalidInputError, TypeError) as error:
            raise InvalidFieldException(
                f"The field `{cls.alias}` of {address} is not valid: {error} Values are strings, booleans, "
                "numbers, lists and dictionaries."
            )
        frozen = _frozen(value)
        assert isinstance(frozen, FrozenDict)
        return frozen

    @property
    def json(self) -> str:
        """The arguments as a JSON object; empty without any."""
        return canonical_json(self.alias, _plain(self.value)).decode() if self.value else ""


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FrozenDict({key: _frozen(item) for key, item in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> Any:
    """Returns what `json` can write."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
