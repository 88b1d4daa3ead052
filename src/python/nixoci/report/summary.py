"""An image in one line: how large it is, and what of it is new."""

from __future__ import annotations

from typing import Optional

from nixoci.errors import InvalidInputError
from nixoci.image.image import Image
from nixoci.json_input import get_field, get_list, parse_object

_MEGABYTE = 1_000_000


def image_summary(image: Image, before: Optional[bytes] = None) -> str:
    """Returns the digest of an image, its layers and their size, and which of them an earlier image has not.

    :param before: the descriptor of that one, as `nixoci.image.descriptor` writes it. What is no such file says
        nothing.
    """
    layers = {item.layer.digest: item.layer.size for item in image.layers}
    count = len(image.layers)
    size = sum(item.layer.size for item in image.layers)
    text = f"Digest {image.digest}, {_layers(count)} of {size / _MEGABYTE:.1f} MB"
    if before is not None and image.digest.encode() in before:
        # A large document need not be parsed for that.
        return f"{text}, as before"
    known = None if before is None else _earlier(before)
    if known is None:
        return text
    new = [size for digest, size in layers.items() if digest not in known]
    if not new:
        return f"{text}, all of them as before"
    return f"{text}, new: {_layers(len(new))} of {sum(new) / _MEGABYTE:.1f} MB"


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _earlier(descriptor: bytes) -> Optional[frozenset[str]]:
    """Returns the digests of the layers of an image, as its descriptor has them."""
    try:
        layers = get_list(parse_object("descriptor", descriptor), "layers", dict)
        return frozenset(get_field(layer, "digest", str) for layer in layers)
    except InvalidInputError:
        return None
