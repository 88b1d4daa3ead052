"""`pants publish` for images."""

from __future__ import annotations

from dataclasses import dataclass

from pants.core.goals.publish import (
    PublishFieldSet,
    PublishOutputData,
    PublishPackages,
    PublishProcesses,
    PublishRequest,
)
from pants.engine.fs import FileContent
from pants.engine.process import InteractiveProcess
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import concurrently, implicitly, rule
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.assembly.image import BuiltImage
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.rules.delivery.foreground import (
    Foreground,
    ForegroundRequest,
    prepare_foreground,
)
from pants_backend_nix.rules.delivery.healthcheck import warn_of_lost_healthcheck
from pants_backend_nix.rules.delivery.lacking import (
    LackingContents,
    LackingContentsRequest,
    find_lacking_contents,
)
from pants_backend_nix.rules.delivery.references import (
    ReferencesRequest,
    RepositoryReferences,
    name_image,
)
from pants_backend_nix.rules.delivery.registries import RegistryOptionsRequest, collect_registries
from pants_backend_nix.rules.delivery.registry_environment import registry_environment
from pants_backend_nix.rules.delivery.verified import VerifiedImageRequest, verify_image
from pants_backend_nix.targets.fields.config import NixConfigField
from pants_backend_nix.targets.fields.publish import NixRegistriesField, NixSkipPushField
from pants_backend_nix.targets.image import DOCKER_ARCHIVE, NixOutputFormatField

_REGISTRIES = "registries.json"


class PublishNixImageRequest(PublishRequest):
    """Asks for an image to be pushed."""


@dataclass(frozen=True)
class NixImagePublishFieldSet(PublishFieldSet):
    publish_request_type = PublishNixImageRequest
    required_fields = (NixConfigField, NixRegistriesField)

    skip_push: NixSkipPushField
    output_format: NixOutputFormatField


def _output_data(names: RepositoryReferences, built: BuiltImage) -> PublishOutputData:
    return PublishOutputData(
        {
            "publisher": "nix",
            "registry": names.registry.address if names.registry else None,
            "repository": names.repository,
            "tags": tuple(reference.tag for reference in names.references),
            "digest": built.image.digest,
        }
    )


@rule(desc="Publish nix_image")
async def publish_image(
    request: PublishNixImageRequest, options: NixImageSubsystem
) -> PublishProcesses:
    field_set: NixImagePublishFieldSet = request.field_set
    address = field_set.address
    built = (await verify_image(VerifiedImageRequest(address), **implicitly())).image
    if field_set.output_format.value == DOCKER_ARCHIVE:
        # `package`, which comes first, has not said it: what it wrote has the healthcheck.
        warn_of_lost_healthcheck(address, built.image)
    named = await name_image(ReferencesRequest(address, built.image.digest), **implicitly())
    known = await collect_registries(RegistryOptionsRequest(), **implicitly())
    environment = await registry_environment(options.env_vars)
    settings = FileContent(_REGISTRIES, known.connection_settings().to_json())
    skipped = []
    pushed = []
    for names in named.repositories:
        if field_set.skip_push.value:
            skipped.append((names, f"(by `{field_set.skip_push.alias}` on {address})"))
        elif names.registry is not None and names.registry.skip_push:
            of = f"@{names.registry.alias}" if names.registry.alias else names.registry.address
            skipped.append((names, f"(by `skip_push` on registry {of})"))
        else:
            pushed.append(names)
    # A layer that one of them gets need not be sent to the next, if they are in one registry.
    likely = (*options.mount_from, *(names.repository for names in pushed))
    session = await current_session(CurrentSessionRequest(), **implicitly())
    lacking: tuple[LackingContents, ...] = await concurrently(
        find_lacking_contents(
            LackingContentsRequest(built, names.references, session.id), **implicitly()
        )
        for names in pushed
    )
    commands: tuple[Foreground, ...] = await concurrently(
        prepare_foreground(
            ForegroundRequest(
                "push",
                built,
                names.references,
                (
                    f"--registries={{chroot}}/{_REGISTRIES}",
                    *(f"--mount-from={other}" for other in likely if other != names.repository),
                ),
                (settings,),
                contents.digest,
                compresses=True,
            ),
            **implicitly(),
        )
        for names, contents in zip(pushed, lacking)
    )
    return PublishProcesses(
        [
            *(
                PublishPackages(
                    tuple(map(str, names.references)),
                    InteractiveProcess(
                        command.argv,
                        env=environment,
                        input_digest=command.digest,
                        append_only_caches=command.append_only_caches,
                        immutable_input_digests=command.immutable_input_digests,
                    ),
                    data=_output_data(names, built),
                )
                for names, command in zip(pushed, commands)
            ),
            *(
                PublishPackages(
                    tuple(map(str, names.references)),
                    description=reason,
                    data=_output_data(names, built),
                )
                for names, reason in skipped
            ),
        ]
    )


def rules():
    return (*collect_rules(), *NixImagePublishFieldSet.rules())
