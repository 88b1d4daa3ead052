"""Image target → an image that this machine can ship."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from nixoci.image.descriptor import descriptor_json
from pants.engine.addresses import Address
from pants.engine.fs import FileContent
from pants.engine.rules import collect_rules

from pants_backend_nix.engine import create, implicitly, merge, prefix, rule
from pants_backend_nix.rules.assembly.image import BuiltImage, ImageRequest, build_image
from pants_backend_nix.rules.core.run import CoreRun
from pants_backend_nix.rules.core.session import CurrentSessionRequest, current_session
from pants_backend_nix.rules.core.step import StoreStep, run_store_step
from pants_backend_nix.rules.core.view import StoreView

logger = logging.getLogger(__name__)

_KEPT = "kept"


@dataclass(frozen=True)
class VerifiedImageRequest:
    """:param address: of a `nix_image`."""

    address: Address


@dataclass(frozen=True)
class VerifiedImage:
    """:param image: of whose store paths this machine has the recorded contents, or none yet."""

    image: BuiltImage


@rule(desc="Verify image")
async def verify_image(request: VerifiedImageRequest) -> VerifiedImage:
    """Where another machine recorded the image and this one has built the same store paths with
    another result, the recorded layers cannot be made here, so the image is made of what is here.
    """
    built = await build_image(ImageRequest(request.address), **implicitly())
    if not built.has_store_paths:
        return VerifiedImage(built)
    session = await current_session(CurrentSessionRequest(), **implicitly())
    descriptor = FileContent("image.json", descriptor_json(built.image, built.recipes))
    step = await run_store_step(
        StoreStep(
            CoreRun(
                ("verify", "image.json", f"--kept-layers={_KEPT}"),
                f"Verify the store paths of {request.address}",
                await merge((await create([descriptor]), await prefix(built.kept, _KEPT))),
                session=session.id,
                has_image=True,
            ),
            (),
            expected_errors=("ContentsDifferError",),
        ),
        **implicitly(),
    )
    if step.error:
        logger.warning(
            f"{request.address}: {step.error} Their builds are not reproducible, so the layers are made "
            "of what this machine has. Fix the builds, or set `reproducible=False` on their "
            "`nix_package` targets: then all machines that share a cache ship the same layers."
        )
        built = await build_image(
            ImageRequest(request.address, StoreView(session.id, here=True)), **implicitly()
        )
    return VerifiedImage(built)


def rules():
    return collect_rules()
