"""`pants run` for images: on podman or docker, without a registry and without an archive."""

from __future__ import annotations

from dataclasses import dataclass

from pants.core.goals.run import RunFieldSet, RunInSandboxBehavior, RunRequest
from pants.engine.rules import collect_rules
from pants.option.global_options import GlobalOptions
from pants.util.logging import LogLevel

from pants_backend_nix.engine import implicitly, rule
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.rules.delivery.foreground import ForegroundRequest, prepare_foreground
from pants_backend_nix.rules.delivery.healthcheck import warn_of_lost_healthcheck
from pants_backend_nix.rules.delivery.loaded import (
    UnloadedContentsRequest,
    find_unloaded_contents,
)
from pants_backend_nix.rules.delivery.references import ReferencesRequest, name_image
from pants_backend_nix.rules.delivery.verified import VerifiedImageRequest, verify_image
from pants_backend_nix.targets.fields.config import NixConfigField
from pants_backend_nix.targets.fields.publish import NixRegistriesField


@dataclass(frozen=True)
class NixImageRunFieldSet(RunFieldSet):
    required_fields = (NixConfigField, NixRegistriesField)
    # A container engine keeps images, and what runs in it is not in the sandbox.
    run_in_sandbox_behavior = RunInSandboxBehavior.NOT_SUPPORTED


@rule(desc="Run nix_image")
async def run_image(
    field_set: NixImageRunFieldSet, options: NixImageSubsystem, global_options: GlobalOptions
) -> RunRequest:
    built = (await verify_image(VerifiedImageRequest(field_set.address), **implicitly())).image
    warn_of_lost_healthcheck(field_set.address, built.image)
    named = await name_image(
        ReferencesRequest(field_set.address, built.image.digest), **implicitly()
    )
    session = await current_session(CurrentSessionRequest(), **implicitly())
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
                f"--stop-timeout={stop_timeout:g}",
                # Pants that is killed, or without pantsd gets SIGTERM, passes no signal on.
                "--ends-with-parent",
                *(f"--engine-option={option}" for option in options.run_args),
                "--",
            ),
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


def rules():
    return (*collect_rules(), *NixImageRunFieldSet.rules())
