"""Writing the tags of all images of a batch, when each is in its repositories."""

from __future__ import annotations

from functools import partial
from typing import Callable, Mapping, Sequence

from nixoci.errors import NixOciError
from nixoci.image.reference import Reference
from nixoci.registry.address import split_reference
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.batch.members import FAILED, Member, labels
from nixoci.registry.errors import RegistryError
from nixoci.registry.http.connections import Connections
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.push_result import WRITTEN, PushedTag, PushResult
from nixoci.registry.repository import Repository
from nixoci.registry.session import Session
from nixoci.registry.settings import Registries

_REASON = "all images of the command are in their registries"


class NotAllPushedError(NixOciError):
    """Images of a batch are not in their repositories, so no image gets its tags.

    :param failed: labels of these images.
    """

    def __init__(self, failed: Sequence[str]) -> None:
        self.failed = tuple(failed)
        super().__init__(
            f"No tag of any image was written, as these were not pushed: {', '.join(failed)}. What was pushed is in the "
            "registries by its digest, so the next push takes less time."
        )


class TagsMissingError(NixOciError):
    """Images of a batch are in their repositories, and not all of their tags could be written.

    :param missing: labels of these images.
    """

    def __init__(self, missing: Sequence[str], why: RegistryError) -> None:
        self.missing = tuple(missing)
        super().__init__(
            f"{why} All images of the command were pushed, but tags of these were not written: {', '.join(missing)}."
        )


def write_tags(
    members: Sequence[Member],
    environment: Mapping[str, str],
    registries: Registries = Registries(),
    tell: Callable[[str], object] = print,
    *,
    retry: RetryPolicy = RetryPolicy(),
) -> None:
    """Writes the tags of all images.

    :param members: all of a batch, none of them waiting.
    :param environment: as for `nixoci.registry.push.push`.
    :param tell: gets the lines about an image as soon as it has its tags.
    :raises NotAllPushedError: an image was not pushed; no tag was written.
    :raises TagsMissingError: a registry refuses a tag, or is not there any more; then no tag was written.
    """
    failed = labels(members, FAILED)
    if failed:
        raise NotAllPushedError(failed)
    missing = [member for member in members if member.tags]
    connections = Connections(environment)
    open_session = partial(
        Session,
        registries=registries,
        connections=connections,
        credentials=CredentialSearch.of_environment(environment),
        retry=retry,
    )
    repositories = {names: Repository(open_session(*names)) for names in _places(missing)}
    try:
        for member in missing:
            for names in _places([member]):
                # One that has gone away meanwhile, or lets nobody in any more, says so before the first tag.
                repositories[names].manifest_digest(member.digest, member.media_type)
        while missing:
            member = missing[0]
            manifest = member.manifest.encode()
            written = []
            for reference in map(Reference.parse, member.tags):
                repository = repositories[split_reference(reference)]
                tag = reference.tag
                repository.put_manifest(tag, manifest, member.media_type, member.digest)
                name = repository.full_name
                written.append(PushedTag(str(reference), name, tag, WRITTEN, _REASON))
            tell(PushResult(member.digest, tuple(written), ()).summary(member.label))
            del missing[0]
    except RegistryError as error:
        raise TagsMissingError([member.label for member in missing], error) from None
    finally:
        connections.close()


def _places(members: Sequence[Member]) -> dict[tuple[str, str], None]:
    """Returns registry and name of each repository."""
    return dict.fromkeys(
        split_reference(Reference.parse(tag)) for member in members for tag in member.tags
    )
