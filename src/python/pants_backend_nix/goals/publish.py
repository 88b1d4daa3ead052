"""`pants publish` for images."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.store.nix import ENVIRONMENT_NAMES
from pants.core.goals.publish import (
    PublishFieldSet,
    PublishOutputData,
    PublishPackages,
    PublishProcesses,
    PublishRequest,
)
from pants.engine.env_vars import EnvironmentVarsRequest
from pants.engine.fs import FileContent
from pants.engine.process import InteractiveProcess
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import concurrently, environment_variables, implicitly, rule
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.assembly.image import BuiltImage
from pants_backend_nix.rules.delivery.foreground import (
    Foreground,
    ForegroundRequest,
    prepare_foreground,
)
from pants_backend_nix.rules.delivery.references import (
    ReferencesRequest,
    RepositoryReferences,
    name_image,
)
from pants_backend_nix.rules.delivery.registries import RegistryOptionsRequest, collect_registries
from pants_backend_nix.rules.delivery.verified import VerifiedImageRequest, verify_image
from pants_backend_nix.targets.fields.config import NixConfigField
from pants_backend_nix.targets.fields.publish import NixRegistriesField, NixSkipPushField

#: Where credentials, proxies and certificates are; what credential helpers need to be found and run.
_ENVIRONMENT_NAMES = (
    *ENVIRONMENT_NAMES,
    "ALL_PROXY",
    "DOCKER_CONFIG",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LANG",
    "LC_ALL",
    "NO_COLOR",
    "NO_PROXY",
    "PATH",
    "REGISTRY_AUTH_FILE",
    "SSL_CERT_DIR",
    "TERM",
    "XDG_RUNTIME_DIR",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)

_REGISTRIES = "registries.json"


class _NotPrinted(str):
    """A value that is not in Pants' log, which at the level debug has each process that is run."""

    def __repr__(self) -> str:
        return "'…'"


class PublishNixImageRequest(PublishRequest):
    """Asks for an image to be pushed."""


@dataclass(frozen=True)
class NixImagePublishFieldSet(PublishFieldSet):
    publish_request_type = PublishNixImageRequest
    required_fields = (NixConfigField, NixRegistriesField)

    skip_push: NixSkipPushField


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
    named = await name_image(ReferencesRequest(address, built.image.digest), **implicitly())
    known = await collect_registries(RegistryOptionsRequest(), **implicitly())
    variables = await environment_variables(
        EnvironmentVarsRequest(sorted({*_ENVIRONMENT_NAMES, *options.env_vars}))
    )
    # The address of a proxy has a password at times, and so has what a credential helper needs.
    environment = {name: _NotPrinted(value) for name, value in variables.items()}
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
                compresses=True,
            ),
            **implicitly(),
        )
        for names in pushed
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
