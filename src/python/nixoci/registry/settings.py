"""What a user says about a registry: how to speak to it, and whom to trust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Mapping, Optional

from nixoci.errors import InvalidInputError
from nixoci.image.reference import Reference
from nixoci.json_input import get_field, parse_object
from nixoci.json_output import readable_json
from nixoci.registry.address import registry_origin


@dataclass(frozen=True)
class RegistrySettings:
    """Settings of one registry. There is no secret among them.

    :param address: `host` or `host:port`, as in references.
    :param plain_http: speak HTTP without encryption. A registry on a loopback address is spoken to
        so without being asked, if it does not speak TLS.
    :param skip_tls_verify: take any certificate.
    :param ca_file: PEM file of certificate authorities to trust besides those of the system.
    :param client_certificate: PEM file of a certificate that the registry asks its clients for.
    :param client_key: PEM file of its private key, if it is not in the same file.
    :raises InvalidInputError: no such address, or settings that exclude each other.
    """

    address: str
    plain_http: bool = False
    skip_tls_verify: bool = False
    ca_file: Optional[str] = None
    client_certificate: Optional[str] = None
    client_key: Optional[str] = None

    def __post_init__(self) -> None:
        # The host of a reference is checked more strictly than a lone name could be.
        Reference(f"{self.address}/any")
        if "/" in self.address:
            raise InvalidInputError("registry", self.address, "expected a host and perhaps a port")
        if self.plain_http and (self.skip_tls_verify or self.ca_file or self.client_certificate):
            raise InvalidInputError(
                "registry", self.address, "plain_http has no use for settings of TLS"
            )
        if self.client_key and not self.client_certificate:
            raise InvalidInputError(
                "registry", self.address, "client_key needs a client_certificate"
            )


class Registries:
    """The settings of all registries that have some; the others have the default."""

    def __init__(self, settings: Iterable[RegistrySettings] = ()) -> None:
        self._settings: Mapping[str, RegistrySettings] = {each.address: each for each in settings}

    def settings_of(self, address: str) -> RegistrySettings:
        """Returns the settings of the registry `address` (`host` or `host:port`)."""
        return self._settings.get(address) or RegistrySettings(address)

    def has(self, address: str) -> bool:
        """Whether the user said something about the registry `address`."""
        return address in self._settings

    def allow_plain_http(self, host: str) -> bool:
        """Whether the user said of a host, at any port, that it is spoken to without encryption."""
        return any(
            settings.plain_http and registry_origin(address, "http").host == host
            for address, settings in self._settings.items()
        )

    @classmethod
    def from_json(cls, data: bytes) -> Registries:
        """Parses `{"registries": {"<address>": {"plain_http": true, …}}}`.

        :raises InvalidInputError: not such a document. Unknown settings are an error, since a
            misspelled `ca_file` must not go unnoticed.
        """
        registries = get_field(parse_object("registries file", data), "registries", dict)
        settings = []
        for address in registries:
            fields = get_field(registries, address, dict)
            unknown = sorted(set(fields) - set(_FIELDS))
            if unknown:
                known = ", ".join(_FIELDS)
                raise InvalidInputError(f"setting of {address}", unknown[0], f"there are {known}")
            values = {name: get_field(fields, name, _FIELDS[name]) for name in fields}
            settings.append(RegistrySettings(address, **values))
        return cls(settings)

    def to_json(self) -> bytes:
        """Returns what `from_json` parses."""
        registries = {
            address: {name: getattr(each, name) for name in _FIELDS if getattr(each, name)}
            for address, each in self._settings.items()
        }
        return readable_json("registries file", {"registries": registries})


_FIELDS: Mapping[str, type] = {
    "plain_http": bool,
    "skip_tls_verify": bool,
    "ca_file": str,
    "client_certificate": str,
    "client_key": str,
}
