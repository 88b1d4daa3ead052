"""Asking registries whether they have images, and what they lack, before anybody gets what these are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

from nixoci.image.index.image_index import AnyImage
from nixoci.image.reference import Reference
from nixoci.layer.layer import Layer
from nixoci.registry.address import split_reference
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.errors import ConnectionFailedError
from nixoci.registry.http.connections import Connections
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.repository import Repository
from nixoci.registry.session import Session
from nixoci.registry.settings import Registries

#: Shorter than that of a push, which has somebody who watches it.
_SILENCE_TIME_LIMIT = 30.0


@dataclass(frozen=True)
class Lacking:
    """What registries lack of an image.

    :param is_there: every name names the image already.
    :param layers: those of the layers in question that a repository does not have.
    """

    is_there: bool
    layers: tuple[Layer, ...] = ()


class Lookup:
    """Asks registries about one image after the other; threads can share it.

    Nothing is tried again, and a registry that could not be reached is not asked again: whoever gets no
    answer here takes the image for one that is not there.

    :param environment: as for `nixoci.registry.push.push`.
    :param silence_time_limit: seconds until a registry that does nothing is given up.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        registries: Registries = Registries(),
        *,
        silence_time_limit: float = _SILENCE_TIME_LIMIT,
    ) -> None:
        self._registries = registries
        self._connections = Connections(environment, silence_time_limit=silence_time_limit)
        self._credentials = CredentialSearch.of_environment(environment)
        self._unreachable: dict[str, ConnectionFailedError] = {}

    def lacking(
        self, image: AnyImage, layers: Sequence[Layer], references: Sequence[Reference]
    ) -> Lacking:
        """Returns what the repositories in `references` lack.

        :param layers: of the image.
        :raises RegistryError: and `CredentialsError`, as `push`.
        """
        by_repository: dict[tuple[str, str], list[Reference]] = {}
        for reference in references:
            by_repository.setdefault(split_reference(reference), []).append(reference)
        is_there = True
        lacking: dict[Layer, None] = {}
        for (registry, name), names in by_repository.items():
            if registry in self._unreachable:
                raise self._unreachable[registry]
            repository = self._repository(registry, name)
            try:
                if all(
                    repository.manifest_digest(reference.tag, image.media_type) == image.digest
                    for reference in names
                ):
                    continue
                is_there = False
                lacking.update(
                    (layer, None)
                    for layer in layers
                    if not repository.has_blob(layer.digest, layer.size)
                )
            except ConnectionFailedError as error:
                self._unreachable[registry] = error
                raise
        return Lacking(is_there, tuple(lacking))

    def close(self) -> None:
        """Closes all connections; nobody may be asking."""
        self._connections.close()

    def _repository(self, registry: str, name: str) -> Repository:
        return Repository(
            Session(
                registry,
                name,
                registries=self._registries,
                connections=self._connections,
                credentials=self._credentials,
                retry=RetryPolicy(attempts=1),
            )
        )
