"""An image with its layers uncompressed: the same config and image ID, another manifest.

For what takes an image on the same machine. There compression would only cost time, and some
(`docker load`, Docker before 23) do not know zstd.
"""

from __future__ import annotations

import json
from dataclasses import replace

from nixoci.image.image import Image
from nixoci.json_output import canonical_json


def uncompressed(image: Image) -> Image:
    """Returns `image` with layers that are the plain tars; itself if they are.

    :raises InvalidInputError: a layer does not say how it was compressed.
    """
    layers = tuple(replace(item, layer=item.layer.uncompressed()) for item in image.layers)
    if layers == image.layers:
        return image
    manifest = json.loads(image.manifest)
    manifest["layers"] = [item.descriptor(image.format) for item in layers]
    return replace(image, manifest=canonical_json("image manifest", manifest), layers=layers)
