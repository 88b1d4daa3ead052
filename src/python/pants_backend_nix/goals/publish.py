"""`pants publish` for images and indexes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence, Union

from nixoci.image.index.platforms import platform_name
from nixoci.image.reference import Reference
from nixoci.json_output import canonical_json
from pants.core.goals.publish import (
    PublishFieldSet,
    PublishOutputData,
    PublishPackages,
    PublishProcesses,
    PublishRequest,
)
from pants.engine.addresses import Address
from pants.engine.fs import FileContent
from pants.engine.process import InteractiveProcess
from pants.engine.rules import collect_rules
from pants.option.global_options import GlobalOptions
from pants.util.frozendict import FrozenDict
from pants.util.logging import LogLevel

from pants_backend_nix.engine import implicitly, rule
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.rules.core.start import TOOLS_CACHE
from pants_backend_nix.rules.delivery.claims import CLAIMS
from pants_backend_nix.rules.delivery.copies import copy_sources
from pants_backend_nix.rules.delivery.foreground import ForegroundRequest, prepare_foreground
from pants_backend_nix.rules.delivery.healthcheck import warn_of_lost_healthcheck
from pants_backend_nix.rules.delivery.index import Built, BuiltIndex, IndexRequest, build_index
from pants_backend_nix.rules.delivery.lacking import (
    LackingContentsRequest,
    find_lacking_contents,
)
from pants_backend_nix.rules.delivery.likely import (
    LikelyRepositoriesRequest,
    guess_repositories,
)
from pants_backend_nix.rules.delivery.push_batch import enrol, withdraw
from pants_backend_nix.rules.delivery.references import (
    ReferencesRequest,
    RepositoryReferences,
    name_image,
)
from pants_backend_nix.rules.delivery.verified import VerifiedImageRequest, verify_image
from pants_backend_nix.rules.registry.environment import registry_environment
from pants_backend_nix.rules.registry.options import RegistryOptionsRequest, collect_registries
from pants_backend_nix.targets.fields.config import NixConfigField
from pants_backend_nix.targets.fields.publish import (
    NixImageTagsField,
    NixRegistriesField,
    NixRepositoryField,
    NixSkipPushField,
)
from pants_backend_nix.targets.image import DOCKER_ARCHIVE, NixOutputFormatField
from pants_backend_nix.targets.index.target import NixIndexedImagesField

_REGISTRIES = "registries.json"
_LIKELY = "likely.json"

#: In the append-only cache: what one push tells the next, in this command or a later one.
_KNOWN_BLOBS = "known-blobs.json"


class PublishNixImageRequest(PublishRequest):
    """Asks for an image to be pushed."""


@dataclass(frozen=True)
class NixImagePublishFieldSet(PublishFieldSet):
    publish_request_type = PublishNixImageRequest
    required_fields = (NixConfigField, NixRegistriesField)

    skip_push: NixSkipPushField
    output_format: NixOutputFormatField


class PublishNixIndexRequest(PublishRequest):
    """Asks for an index to be pushed, with its images."""


@dataclass(frozen=True)
class NixIndexPublishFieldSet(PublishFieldSet):
    publish_request_type = PublishNixIndexRequest
    required_fields = (NixIndexedImagesField, NixRegistriesField)

    skip_push: NixSkipPushField


def _output_data(
    built: Built, repositories: Sequence[RepositoryReferences], *, unchanged: bool = False
) -> PublishOutputData:
    """Returns what is in the file of `--publish-output`; of several repositories the first one is on top.

    :param unchanged: the registries have the image already. To Pants that is something which was skipped.
    """
    described: tuple[FrozenDict[str, Any], ...] = tuple(
        FrozenDict(
            {
                "registry": names.registry.address if names.registry else None,
                "repository": names.repository,
                "tags": tuple(reference.tag for reference in names.references),
                "reference": f"{names.repository}@{built.image.digest}",
            }
        )
        for names in repositories
    )
    data: dict[str, Any] = {
        "publisher": "nix",
        "digest": built.image.digest,
        "unchanged": unchanged,
        "repositories": described,
    }
    if isinstance(built, BuiltIndex):
        data["images"] = tuple(
            FrozenDict(
                {
                    "target": str(address),
                    "platform": platform_name(image.image.platform),
                    "digest": image.image.digest,
                }
            )
            for address, image in built.images
        )
    return PublishOutputData({**data, **described[0]})


def _take_names(address: Address, references: Sequence[Reference], session: int) -> None:
    """:raises NixImageError: another image of the command has one of the names."""
    for reference in references:
        other = CLAIMS.take(session, f"publish {reference}", address)
        if other is not None:
            one, two = sorted((str(address), str(other)))
            raise NixImageError(
                f"{one} and {two} would both be published as {reference}, and only one of them can be it. Nothing was "
                f"pushed. Give them different names, by `{NixRepositoryField.alias}` or `{NixImageTagsField.alias}` "
                "(both may have `{directory}` and `{name}`; of a parametrized target, parametrize them along), or publish "
                "one at a time."
            )


async def _publish(
    field_set: Union[NixImagePublishFieldSet, NixIndexPublishFieldSet],
    built: Built,
    options: NixImageSubsystem,
    global_options: GlobalOptions,
) -> PublishProcesses:
    address = field_set.address
    named = await name_image(ReferencesRequest(address, built.image.digest), **implicitly())
    known = await collect_registries(RegistryOptionsRequest(), **implicitly())
    environment = await registry_environment(options.env_vars)
    settings = FileContent(_REGISTRIES, known.connection_settings().to_json())
    packages = []
    pushed = []
    for names in named.repositories:
        reason = ""
        if field_set.skip_push.value:
            reason = f"(by `{field_set.skip_push.alias}` on {address})"
        elif names.registry is not None and names.registry.skip_push:
            of = f"@{names.registry.alias}" if names.registry.alias else names.registry.address
            reason = f"(by `skip_push` on registry {of})"
        if reason:
            data = _output_data(built, [names])
            packages.append(
                PublishPackages(tuple(map(str, names.references)), description=reason, data=data)
            )
        else:
            pushed.append(names)
    if not pushed:
        return PublishProcesses(packages)
    references = tuple(reference for names in pushed for reference in names.references)
    session = await current_session(CurrentSessionRequest(), **implicitly())
    _take_names(address, references, session.id)
    lacking = await find_lacking_contents(
        LackingContentsRequest(built, references, session.id), **implicitly()
    )
    shown = tuple(map(str, references))
    data = _output_data(built, pushed, unchanged=lacking.is_there)
    if lacking.is_there:
        withdraw(global_options.pants_workdir, session.id, address)
        reason = f"({address}: the registry has it already, {built.image.digest})"
        packages.append(PublishPackages(shown, description=reason, data=data))
        return PublishProcesses(packages)
    likely = await guess_repositories(LikelyRepositoriesRequest(address, built), **implicitly())
    verbose = global_options.level in (LogLevel.DEBUG, LogLevel.TRACE)
    together: tuple[str, ...] = ()
    if options.tags_together:
        # Without tags: only the last push of the command can tell whether it writes them.
        shown = tuple(f"{names.repository}@{built.image.digest}" for names in pushed)
        file = enrol(global_options.pants_workdir, session.id, address)
        together = (f"--batch={file}",)
    # One process for all repositories: tags are written when all of them have everything.
    command = await prepare_foreground(
        ForegroundRequest(
            "push",
            session.id,
            built,
            references,
            (
                f"--registries={{chroot}}/{_REGISTRIES}",
                f"--likely={{chroot}}/{_LIKELY}",
                f"--known-blobs={{chroot}}/{TOOLS_CACHE}/{_KNOWN_BLOBS}",
                f"--label={address}",
                *together,
                *(("--log-blobs",) if verbose else ()),
                *(f"--mount-from={other}" for other in options.mount_from),
                *copy_sources(options.copy_from, references),
            ),
            (
                settings,
                FileContent(_LIKELY, canonical_json("repositories", dict(likely.of_layers))),
            ),
            lacking.digest,
            compresses=True,
        ),
        **implicitly(),
    )
    process = InteractiveProcess(
        command.argv,
        env=environment,
        input_digest=command.digest,
        append_only_caches=command.append_only_caches,
        immutable_input_digests=command.immutable_input_digests,
    )
    packages.insert(0, PublishPackages(shown, process, data=data))
    return PublishProcesses(packages)


@rule(desc="Publish nix_image")
async def publish_image(
    request: PublishNixImageRequest, options: NixImageSubsystem, global_options: GlobalOptions
) -> PublishProcesses:
    field_set: NixImagePublishFieldSet = request.field_set
    address = field_set.address
    built = (await verify_image(VerifiedImageRequest(address), **implicitly())).image
    if field_set.output_format.value == DOCKER_ARCHIVE:
        # `package`, which comes first, has not said it: what it wrote has the healthcheck.
        warn_of_lost_healthcheck(address, built.image)
    return await _publish(field_set, built, options, global_options)


@rule(desc="Publish nix_image_index")
async def publish_index(
    request: PublishNixIndexRequest, options: NixImageSubsystem, global_options: GlobalOptions
) -> PublishProcesses:
    field_set: NixIndexPublishFieldSet = request.field_set
    built = await build_index(IndexRequest(field_set.address, is_shipped=True), **implicitly())
    return await _publish(field_set, built, options, global_options)


def rules():
    return (
        *collect_rules(),
        *NixImagePublishFieldSet.rules(),
        *NixIndexPublishFieldSet.rules(),
    )
