"""Reading a manifest from a registry."""

from __future__ import annotations

from typing import Mapping

from nixoci.image.image import digest_of
from nixoci.image.manifest_format import (
    DOCKER,
    MEDIA_TYPE_DOCKER_MANIFEST_LIST,
    MEDIA_TYPE_INDEX,
    MEDIA_TYPE_MANIFEST,
)
from nixoci.image.reference import Reference
from nixoci.registry.address import split_reference
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.errors import ImageUnknownError, printable
from nixoci.registry.http.answers import describe, failure
from nixoci.registry.http.connections import Connections
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.session import Session
from nixoci.registry.settings import Registries

#: Bytes of a manifest that are read: what all registries should take, and many take at most
#: (distribution spec, "Pushing Manifests").
LONGEST_MANIFEST = 4 << 20

#: The other kinds are asked for too, since registries convert them, or deny that there is an image,
#: where a client does not know them. Whoever parses the manifest can say what is wrong with it.
_ACCEPT = ", ".join(
    (
        MEDIA_TYPE_MANIFEST,
        MEDIA_TYPE_INDEX,
        DOCKER.manifest,
        MEDIA_TYPE_DOCKER_MANIFEST_LIST,
    )
)


def fetch_manifest(
    reference: Reference,
    environment: Mapping[str, str],
    registries: Registries = Registries(),
    retry: RetryPolicy = RetryPolicy(),
) -> bytes:
    """Returns the manifest that a registry has under a tag, whatever kind it is of.

    :param environment: says where credentials and proxies are; programs that keep credentials
        get it.
    :raises ImageUnknownError: there is no such tag.
    :raises RegistryError: see its children.
    :raises CredentialsError: credentials cannot be read.
    """
    registry, name = split_reference(reference)
    # One byte more than is taken shows that there are too many.
    connections = Connections(environment, longest_answer=LONGEST_MANIFEST + 1)
    try:
        session = Session(
            registry,
            name,
            registries=registries,
            connections=connections,
            credentials=CredentialSearch.of_environment(environment),
            retry=retry,
        )
        what = f"for the manifest {reference.tag}"
        url = session.url(f"manifests/{reference.tag}")
        scopes = (f"repository:{name}:pull",)
        answer = session.ask(url, "GET", scopes, {"Accept": _ACCEPT}, what=what)
    finally:
        connections.close()
    if answer.status == 404:
        raise ImageUnknownError(registry, reference, describe(answer))
    if answer.status != 200:
        raise failure(registry, name, what, answer, writes=False)
    if len(answer.body) > LONGEST_MANIFEST:
        raise session.unexpected(what, f"with more than {LONGEST_MANIFEST} bytes")
    digest = digest_of(answer.body)
    said = answer.headers.get("Docker-Content-Digest", digest).strip()
    # Of another algorithm there is nothing to compare.
    if said != digest and said.startswith("sha256:"):
        raise session.unexpected(what, f"with the digest {printable(said, 80)}, not {digest}")
    return answer.body
