"""Digest of an image → its manifest and config: from a cache, or else from the registry."""

from __future__ import annotations

from dataclasses import dataclass, replace

from nixoci.base.answer import BaseDocuments, fetch_base
from nixoci.base.errors import UnusableBaseError
from nixoci.errors import InvalidInputError, NixOciError
from nixoci.image.index.platforms import parse_platform
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.reading.reader import RepositoryReader, reading_connections
from nixoci.registry.settings import Registries
from pants.engine.fs import FileContent
from pants.engine.rules import collect_rules
from pants.util.frozendict import FrozenDict

from pants_backend_nix.engine import create, implicitly, rule
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.core.answers import Question, look_up
from pants_backend_nix.rules.core.run import CoreRun, run_core
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.rules.registry.environment import registry_environment
from pants_backend_nix.rules.registry.options import RegistryOptionsRequest, collect_registries

_ANSWER = "answer.json"


@dataclass(frozen=True)
class FetchBaseRequest:
    """Asks a registry for manifest and config of an image.

    All that it takes is in the request: when options change, Pants looks again at all that a rule once asked for,
    and must find this done.

    :param digest: of an index or a manifest.
    :param platform: as text, to choose from an index.
    :param environment: that of `registry_environment`.
    :param settings: how to connect, as JSON.
    :param session: in which is asked; a later one may have other credentials.
    """

    repository: str
    digest: str
    platform: str
    environment: FrozenDict[str, str]
    settings: bytes
    session: int


@dataclass(frozen=True)
class FetchedBase:
    """:param content: JSON of `BaseDocuments`; empty after a failure.
    :param error: what the registry said.
    :param unusable: why what it has cannot be a base.
    """

    content: bytes = b""
    error: str = ""
    unusable: str = ""


@rule(desc="Fetch base image")
async def fetch_base_documents(request: FetchBaseRequest) -> FetchedBase:
    connections = reading_connections(request.environment)
    try:
        reader = RepositoryReader(
            request.repository,
            connections=connections,
            credentials=CredentialSearch.of_environment(request.environment),
            registries=Registries.from_json(request.settings),
        )
        platform = parse_platform(request.platform)
        return FetchedBase(fetch_base(reader, request.digest, platform).to_json())
    except (UnusableBaseError, InvalidInputError) as error:
        return FetchedBase(unusable=str(error))
    except NixOciError as error:
        return FetchedBase(error=str(error))
    finally:
        connections.close()


@dataclass(frozen=True)
class BaseDocumentsRequest:
    """Asks for manifest and config of an image, which no cache has under another key than its digest.

    :param repository: where it is asked for if no cache has it.
    :param origin: who wants it, for an error.
    """

    repository: str
    digest: str
    platform: str
    origin: str


@dataclass(frozen=True)
class FoundDocuments:
    documents: BaseDocuments


@rule(desc="Look up base image")
async def find_base_documents(
    request: BaseDocumentsRequest, options: NixImageSubsystem
) -> FoundDocuments:
    question = Question(
        "base image",
        (request.digest, request.platform),
        f"Look up {request.repository}@{request.digest}",
        needs_nix=False,
    )
    answer = await look_up(question, **implicitly())
    if answer.content is None:
        session = await current_session(CurrentSessionRequest(), **implicitly())
        environment = await registry_environment(options.env_vars)
        known = await collect_registries(RegistryOptionsRequest(), **implicitly())
        fetched = await fetch_base_documents(
            FetchBaseRequest(
                *(request.repository, request.digest, request.platform, environment),
                *(known.connection_settings().to_json(), session.id),
            ),
            **implicitly(),
        )
        if fetched.unusable:
            raise NixImageError(f"{request.origin} cannot be a base: {fetched.unusable}")
        if fetched.error:
            raise NixImageError(f"{request.origin} cannot be fetched. {fetched.error}")
        left = await run_core(
            CoreRun(
                ("leave-answer", answer.key, _ANSWER),
                f"Keep manifest and config of {request.repository}@{request.digest}",
                await create([FileContent(_ANSWER, fetched.content)]),
                session=session.id,
                needs_nix=False,
            ),
            **implicitly(),
        )
        if left.exit_code == 0:
            answer = await look_up(replace(question, attempt=1), **implicitly())
        if answer.content is None:
            # No cache has it then, and no more is lost.
            return FoundDocuments(BaseDocuments.from_json(fetched.content))
    try:
        return FoundDocuments(BaseDocuments.from_json(answer.content))
    except InvalidInputError as error:
        raise NixImageError(f"{request.origin}: what a cache has of it is damaged. {error}") from None


def rules():
    return collect_rules()
