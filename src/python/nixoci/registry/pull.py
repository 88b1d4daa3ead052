"""Reading a manifest from a registry."""

from __future__ import annotations

from typing import Callable, Mapping, Optional

from nixoci.image.reference import Reference
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.errors import ImageUnknownError, ManifestUnknownError
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.reading.reader import RepositoryReader, reading_connections
from nixoci.registry.settings import Registries


def fetch_manifest(
    reference: Reference,
    environment: Mapping[str, str],
    registries: Registries = Registries(),
    retry: RetryPolicy = RetryPolicy(),
    choose: Callable[[bytes], Optional[str]] = lambda manifest: None,
) -> bytes:
    """Returns the manifest that a registry has under a tag, whatever kind it is of.

    :param environment: says where credentials and proxies are; programs that keep credentials
        get it.
    :param choose: gets that manifest and returns the digest of the one of the repository that is meant, if that is
        another one.
    :raises ImageUnknownError: there is no such tag.
    :raises RegistryError: see its children.
    :raises CredentialsError: credentials cannot be read.
    """
    connections = reading_connections(environment)
    try:
        reader = RepositoryReader(
            reference.repository,
            connections=connections,
            credentials=CredentialSearch.of_environment(environment),
            registries=registries,
            retry=retry,
        )
        manifest = reader.manifest(reference.tag)
        chosen = choose(manifest)
        return manifest if chosen is None else reader.manifest(chosen)
    except ManifestUnknownError as error:
        raise ImageUnknownError(error.registry, reference, error.why) from None
    finally:
        connections.close()
