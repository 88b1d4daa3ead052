"""Image → the contents of files that an engine will read: none if it has the image."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.engine.client import find_engine
from nixoci.engine.load import needed_manifest_type
from nixoci.errors import NixOciError
from pants.engine.env_vars import EnvironmentVarsRequest
from pants.engine.fs import EMPTY_DIGEST, Digest
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import environment_variables, rule
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.rules.assembly.image import BuiltImage

#: Where an engine is, and which of several it talks to.
_NAMES = (
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
    "CONTAINER_HOST",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_TLS_VERIFY",
    "HOME",
    "PATH",
    "TMPDIR",
    "USER",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
)


@dataclass(frozen=True)
class UnloadedContentsRequest:
    """:param session: in which the engine is asked; in a later one it may have something else."""

    image: BuiltImage
    session: int


@dataclass(frozen=True)
class UnloadedContents:
    """:param digest: a tree of files that are named by their SHA-256."""

    digest: Digest


@rule(desc="Ask engine for image")
async def find_unloaded_contents(
    request: UnloadedContentsRequest, options: NixImageSubsystem
) -> UnloadedContents:
    image = request.image
    if image.contents == EMPTY_DIGEST:
        return UnloadedContents(EMPTY_DIGEST)
    environment = await environment_variables(EnvironmentVarsRequest(sorted(_NAMES)))
    chosen = None if options.engine is None else options.engine.value
    try:
        engine = find_engine(chosen, dict(environment))
        digests = (image.image.config_digest, image.image.digest)
        has_image = engine.image_id(digests, needed_manifest_type(image.image)) is not None
    except (NixOciError, OSError):
        # The command that runs the image says what is wrong with the engine.
        has_image = False
    return UnloadedContents(EMPTY_DIGEST if has_image else image.contents)


def rules():
    return collect_rules()
