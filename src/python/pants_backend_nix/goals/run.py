"""`pants run` for images: on podman or docker, without a registry and without an archive."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.image.index.platforms import (
    NoImageForPlatformError,
    machine_platform,
    position_for,
)
from pants.core.goals.run import RunFieldSet, RunInSandboxBehavior, RunRequest
from pants.engine.addresses import Address
from pants.engine.fs import FileContent
from pants.engine.rules import collect_rules
from pants.option.global_options import GlobalOptions
from pants.util.logging import LogLevel

from pants_backend_nix.engine import implicitly, rule
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.rules.delivery.copies import copy_sources
from pants_backend_nix.rules.delivery.foreground import ForegroundRequest, prepare_foreground
from pants_backend_nix.rules.delivery.healthcheck import warn_of_lost_healthcheck
from pants_backend_nix.rules.delivery.index import IndexedImagesRequest, find_indexed_images
from pants_backend_nix.rules.delivery.loaded import (
    UnloadedContentsRequest,
    find_unloaded_contents,
)
from pants_backend_nix.rules.delivery.references import ReferencesRequest, name_image
from pants_backend_nix.rules.delivery.verified import VerifiedImageRequest, verify_image
from pants_backend_nix.rules.registry.options import RegistryOptionsRequest, collect_registries
from pants_backend_nix.targets.fields.config import NixConfigField
from pants_backend_nix.targets.fields.publish import NixRegistriesField
from pants_backend_nix.targets.index.target import NixIndexedImagesField

_REGISTRIES = "registries.json"


@dataclass(frozen=True)
class NixImageRunFieldSet(RunFieldSet):
    required_fields = (NixConfigField, NixRegistriesField)
    # For `adhoc_tool(runnable=…)` and `runnable_dependencies`. What the engine lacks differs from session to session.
    run_in_sandbox_behavior = RunInSandboxBehavior.RUN_REQUEST_NOT_HERMETIC


@dataclass(frozen=True)
class NixIndexRunFieldSet(RunFieldSet):
    required_fields = (NixIndexedImagesField, NixRegistriesField)
    run_in_sandbox_behavior = RunInSandboxBehavior.RUN_REQUEST_NOT_HERMETIC


async def _run(
    address: Address, options: NixImageSubsystem, global_options: GlobalOptions
) -> RunRequest:
    built = (await verify_image(VerifiedImageRequest(address), **implicitly())).image
    warn_of_lost_healthcheck(address, built.image)
    named = await name_image(ReferencesRequest(address, built.image.digest), **implicitly())
    session = await current_session(CurrentSessionRequest(), **implicitly())
    known = await collect_registries(RegistryOptionsRequest(), **implicitly())
    contents = await find_unloaded_contents(
        UnloadedContentsRequest(built, session.id), **implicitly()
    )
    engine = () if options.engine is None else (f"--engine={options.engine.value}",)
    verbose = global_options.level in (LogLevel.DEBUG, LogLevel.TRACE)
    log = ("--log-requests",) if verbose else ()
    # After Ctrl-C Pants kills the command when this time is over. The container must be gone by then.
    stop_timeout = global_options.process_execution_graceful_shutdown_timeout / 2
    command = await prepare_foreground(
        ForegroundRequest(
            "run",
            session.id,
            built,
            named.references,
            (
                *engine,
                *log,
                f"--registries={{chroot}}/{_REGISTRIES}",
                *copy_sources(options.copy_from, named.references),
                f"--stop-timeout={stop_timeout:g}",
                # Pants that is killed, or without pantsd gets SIGTERM, passes no signal on.
                "--ends-with-parent",
                *(f"--engine-option={option}" for option in options.run_args),
                "--",
            ),
            (FileContent(_REGISTRIES, known.connection_settings().to_json()),),
            contents=contents.digest,
        ),
        **implicitly(),
    )
    return RunRequest(
        digest=command.digest,
        args=command.argv,
        append_only_caches=command.append_only_caches,
        immutable_input_digests=command.immutable_input_digests,
    )


@rule(desc="Run nix_image")
async def run_image(
    field_set: NixImageRunFieldSet, options: NixImageSubsystem, global_options: GlobalOptions
) -> RunRequest:
    return await _run(field_set.address, options, global_options)


@rule(desc="Run nix_image_index")
async def run_index(
    field_set: NixIndexRunFieldSet, options: NixImageSubsystem, global_options: GlobalOptions
) -> RunRequest:
    """Runs the image for this machine, as if that was named: no other one is built."""
    address = field_set.address
    images = await find_indexed_images(IndexedImagesRequest(address), **implicitly())
    try:
        position = position_for(images.platforms, machine_platform())
    except NoImageForPlatformError as error:
        raise NixImageError(
            f"{address} has no image for this machine, {error.platform}; it has images for "
            f"{', '.join(error.platforms)}. Add one to its field `{NixIndexedImagesField.alias}`, or run one of the "
            f"images that it has, if your engine can: {', '.join(map(str, images.addresses))}."
        ) from None
    return await _run(images.addresses[position], options, global_options)


def rules():
    return (*collect_rules(), *NixImageRunFieldSet.rules(), *NixIndexRunFieldSet.rules())
