"""Registries as the options describe them: the schema of `[docker].registries`, and how to connect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Iterator, Mapping, Optional

from nixoci.errors import InvalidInputError
from nixoci.registry.settings import Registries as ConnectionSettings
from nixoci.registry.settings import RegistrySettings
from pants.util.strutil import bullet_list

from pants_backend_nix.errors import NixImageError
from pants_backend_nix.targets.fields.publish import ALL_DEFAULT_REGISTRIES

_OPTION = "[nix-images].registries"

#: Keys of one registry, and the types of their values.
_CONNECTION_KEYS: Mapping[str, type] = {
    "plain_http": bool,
    "skip_tls_verify": bool,
    "ca_file": str,
    "client_certificate": str,
    "client_key": str,
}
_KEYS: Mapping[str, type] = {
    "address": str,
    "default": bool,
    "extra_image_tags": list,
    "skip_push": bool,
    "repository": str,
    # Of use for `docker_image` only, and no error, so that both options can have the same entries.
    "use_local_alias": bool,
    **_CONNECTION_KEYS,
}


@dataclass(frozen=True)
class Registry:
    """One registry.

    :param address: `host` or `host:port`, perhaps with the beginning of repository names.
    :param alias: empty for one that only a target names.
    :param default: images that name no registry belong to it.
    :param connection: None where the options say nothing of it.
    """

    address: str
    alias: str = ""
    default: bool = False
    extra_image_tags: tuple[str, ...] = ()
    skip_push: bool = False
    repository: Optional[str] = None
    connection: Optional[RegistrySettings] = None


@dataclass(frozen=True)
class RegistryOptions:
    """:param registries: with different aliases."""

    registries: tuple[Registry, ...]

    def named(self, names: Iterable[str]) -> Iterator[Registry]:
        """Yields what the field `registries` of a target names, each once.

        :raises NixImageError: an alias that there is not.
        """
        by_name = {registry.address: registry for registry in self.registries}
        by_name.update((f"@{registry.alias}", registry) for registry in self.registries)
        found: dict[Registry, None] = {}
        for name in names:
            if name == ALL_DEFAULT_REGISTRIES:
                found.update((r, None) for r in self.registries if r.default)
            elif name in by_name:
                found[by_name[name]] = None
            elif name.startswith("@"):
                known = bullet_list(sorted(n for n in by_name if n.startswith("@")))
                raise NixImageError(
                    f"no registry has the alias {name!r}. Add it to the option `{_OPTION}`, or name "
                    f"one of these:\n\n{known or '(none)'}"
                )
            else:
                found[Registry(name)] = None
        return iter(found)

    def connection_settings(self) -> ConnectionSettings:
        """Returns how to connect to them, as `nixoci push` wants to know it."""
        return ConnectionSettings(r.connection for r in self.registries if r.connection)


def parse_registries(option: Mapping[str, Any]) -> tuple[Registry, ...]:
    """Parses the option `[nix-images].registries`.

    :raises NixImageError: a key that there is not, a value of another type, no address.
    """
    return tuple(_registry(alias, entry) for alias, entry in sorted(option.items()))


def _registry(alias: str, entry: object) -> Registry:
    if not isinstance(entry, dict) or "address" not in entry:
        raise NixImageError(
            f"The registry {alias!r} of `{_OPTION}` needs an `address`: "
            f'`{alias} = {{ address = "registry.example:5000" }}`.'
        )
    for key, value in entry.items():
        expected = _KEYS.get(key)
        if expected is None:
            raise NixImageError(
                f"The registry {alias!r} of `{_OPTION}` has the unknown key {key!r}. There are "
                f"{', '.join(_KEYS)}."
            )
        if not isinstance(value, expected):
            raise NixImageError(
                f"The key `{key}` of the registry {alias!r} of `{_OPTION}` is {value!r}; "
                f"it must be a {expected.__name__}."
            )
    connection = {key: entry[key] for key in _CONNECTION_KEYS if key in entry}
    try:
        return Registry(
            entry["address"],
            alias,
            entry.get("default", alias == "default"),
            tuple(map(str, entry.get("extra_image_tags", ()))),
            entry.get("skip_push", False),
            entry.get("repository"),
            RegistrySettings(entry["address"].partition("/")[0], **connection)
            if connection
            else None,
        )
    except InvalidInputError as error:
        raise NixImageError(f"The registry {alias!r} of `{_OPTION}`: {error}") from None
