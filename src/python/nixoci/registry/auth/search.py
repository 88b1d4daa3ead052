"""Credentials of registries, from the files that `docker login` and `podman login` write.

A file says for a registry which program keeps its credentials (`credHelpers`), which one keeps all
others (`credsStore`), or has them itself (`auths`); asked in this order.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Sequence

from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, parse_object
from nixoci.registry.address import DOCKER_HUB
from nixoci.registry.auth.credentials import Credentials
from nixoci.registry.auth.helper import ask_helper
from nixoci.registry.errors import CredentialsError

#: The key of Docker's own registry in `auths`, and what helpers are asked for.
_KEY_OF_DOCKER_HUB = "https://index.docker.io/v1/"

_WAY_OUT = "log in again, or correct it"


@dataclass(frozen=True)
class CredentialSearch:
    """Where credentials are looked for.

    :param files: in the order in which they are asked; one that is absent knows nothing.
    :param environment: for the programs that keep credentials.
    """

    files: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> CredentialSearch:
        """Returns the files that docker and podman would use.

        REGISTRY_AUTH_FILE names a file and DOCKER_CONFIG the directory of a `config.json`. Only if
        neither is set, the default places of podman and docker are asked, in this order.
        """
        files = []
        if environment.get("REGISTRY_AUTH_FILE"):
            files.append(environment["REGISTRY_AUTH_FILE"])
        if environment.get("DOCKER_CONFIG"):
            files.append(os.path.join(environment["DOCKER_CONFIG"], "config.json"))
        if not files:
            home = environment.get("HOME") or ""
            settings = environment.get("XDG_CONFIG_HOME") or (home and f"{home}/.config")
            for directory, rest in (
                (environment.get("XDG_RUNTIME_DIR"), "containers/auth.json"),
                (settings, "containers/auth.json"),
                (home, ".docker/config.json"),
            ):
                if directory:
                    files.append(os.path.join(directory, rest))
        return cls(tuple(files), environment)

    def find(self, registry: str, repository: str) -> Optional[Credentials]:
        """Returns the credentials for a repository of a registry; None if there are none.

        :param registry: `host` or `host:port`.
        :raises CredentialsError: a file cannot be read or is no such file, or a program failed.
        """
        for path in self.files:
            document = _read(path)
            if document is not None:
                try:
                    found = self._find_in(document, path, registry, repository)
                except InvalidInputError as error:
                    # The value may be a secret, so only the name of the field is told.
                    raise CredentialsError(path, f"its {error.what} is wrong", _WAY_OUT) from None
                if found is not None:
                    return found
        return None

    def _find_in(
        self, document: Mapping[str, Any], path: str, registry: str, repository: str
    ) -> Optional[Credentials]:
        keys = [_KEY_OF_DOCKER_HUB, DOCKER_HUB] if registry == DOCKER_HUB else [registry]
        helpers = get_field(document, "credHelpers", dict, {})
        programs = [get_field(helpers, key, str) for key in keys if key in helpers]
        store = get_field(document, "credsStore", str, "")
        for program in [*programs[:1], *([store] if store else [])]:
            found = ask_helper(program, keys[0], self.environment)
            if found is not None:
                return found
        entries = get_field(document, "auths", dict, {})
        by_name = {_normal_key(key): key for key in reversed(list(entries))}
        for name in _names(registry, repository):
            key = by_name.get(name)
            if key is not None:
                entry = _parse_entry(get_field(entries, key, dict), path, key)
                if entry is not None:
                    return entry
        return None


def _read(path: str) -> Optional[dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            return parse_object("file", file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CredentialsError(path, str(error.strerror), "make it readable") from None
    except InvalidInputError:
        raise CredentialsError(path, "it is not a JSON object", _WAY_OUT) from None


def _names(registry: str, repository: str) -> Sequence[str]:
    """podman keeps credentials for parts of a registry too; the closest one counts."""
    parts = repository.split("/")
    return [f"{registry}/{'/'.join(parts[:end])}" for end in range(len(parts), 0, -1)] + [registry]


def _normal_key(key: str) -> str:
    """Some programs write the URL of the registry where its name should be."""
    name = key
    for scheme in ("https://", "http://"):
        if name.startswith(scheme):
            name = name[len(scheme) :].rstrip("/")
            for version in ("/v1", "/v2"):
                if name.endswith(version):
                    name = name[: -len(version)]
    name = name.rstrip("/")
    return DOCKER_HUB if name in ("index.docker.io", "registry-1.docker.io") else name


def _parse_entry(entry: Mapping[str, Any], path: str, key: str) -> Optional[Credentials]:
    username = get_field(entry, "username", str, "")
    password = get_field(entry, "password", str, "")
    encoded = get_field(entry, "auth", str, "")
    if encoded:
        try:
            text = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, ValueError):
            raise CredentialsError(path, f"the auth of {key} is not base64", _WAY_OUT) from None
        username, colon, password = text.rstrip("\0").partition(":")
        if not colon:
            raise CredentialsError(path, f"the auth of {key} has no colon", _WAY_OUT)
    token = get_field(entry, "identitytoken", str, "")
    # A helper's entry is there with nothing in it: its secret is elsewhere.
    return Credentials(username, password, token, source=path) if password or token else None
