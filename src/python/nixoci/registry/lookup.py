"""Asking registries which layers they lack, before anybody gets what these are made of."""

from __future__ import annotations

from typing import Mapping, Sequence

from nixoci.image.image import Image
from nixoci.image.reference import Reference
from nixoci.layer.layer import Layer
from nixoci.registry.address import split_reference
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.http.connections import Connections
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.repository import Repository
from nixoci.registry.session import Session
from nixoci.registry.settings import Registries


def lacking_layers(
    image: Image,
    layers: Sequence[Layer],
    references: Sequence[Reference],
    environment: Mapping[str, str],
    registries: Registries = Registries(),
) -> tuple[Layer, ...]:
    """Returns those of `layers` that a repository lacks; none where every tag names the image.

    Nothing is tried again: whoever gets no answer here takes all layers for lacking.

    :param layers: of the image.
    :param references: all of one repository.
    :param environment: as for `nixoci.registry.push.push`.
    :raises RegistryError: and `CredentialsError`, as there.
    """
    registry, name = split_reference(references[0])
    connections = Connections(environment)
    try:
        repository = Repository(
            Session(
                registry,
                name,
                registries=registries,
                connections=connections,
                credentials=CredentialSearch.of_environment(environment),
                retry=RetryPolicy(attempts=1),
            )
        )
        if all(
            repository.manifest_digest(reference.tag, image.media_type) == image.digest
            for reference in references
        ):
            return ()
        return tuple(
            layer for layer in layers if not repository.has_blob(layer.digest, layer.size)
        )
    finally:
        connections.close()
