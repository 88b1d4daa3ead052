"""An image whose healthcheck podman drops → a warning."""

from __future__ import annotations

import logging

from nixoci.image.image import Image
from pants.engine.addresses import Address

from pants_backend_nix.targets.fields.config import NixHealthcheckField, NixManifestFormatField

logger = logging.getLogger(__name__)


def warn_of_lost_healthcheck(address: Address, image: Image) -> None:
    """Says so where an OCI image has a healthcheck: podman reads none in these, and says nothing.

    :param address: of the image.
    """
    if image.loses_healthcheck:
        logger.warning(
            f"{address} has a healthcheck (field `{NixHealthcheckField.alias}`, or `Healthcheck` in `config`), "
            "which Docker reads and podman does not, as it is no part of OCI images. For podman set "
            f'`{NixManifestFormatField.alias}="docker"`.'
        )
