"""An image in one line: how large it is, and what of it is new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from nixoci.errors import InvalidInputError
from nixoci.image.image import Image
from nixoci.json_input import get_field, get_list, parse_object

_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class ImageSummary:
    """An image in a few words.

    :param contents: its layers, and how large they are.
    :param news: what an earlier image has of it, or has not; empty if there is none.
    :param has_new_layers: `news` says which.
    """

    digest: str
    contents: str
    news: str = ""
    has_new_layers: bool = False


def image_summary(image: Image, before: Optional[bytes] = None) -> ImageSummary:
    """Returns the digest of an image, its layers and their size, and which of them an earlier image has not.

    :param before: the descriptor of that one, as `nixoci.image.descriptor` writes it. What is no such file says
        nothing.
    """
    layers = {item.layer.digest: item.layer.size for item in image.layers}
    count = len(image.layers)
    size = sum(item.layer.size for item in image.layers)
    contents = f"{_layers(count)} of {size / _MEGABYTE:.1f} MB"
    if before is not None and image.digest.encode() in before:
        # A large document need not be parsed for that.
        return ImageSummary(image.digest, contents, "as before")
    known = None if before is None else _earlier(before)
    if known is None:
        return ImageSummary(image.digest, contents)
    new = [size for digest, size in layers.items() if digest not in known]
    if not new:
        return ImageSummary(image.digest, contents, "all of them as before")
    news = f"new: {_layers(len(new))} of {sum(new) / _MEGABYTE:.1f} MB"
    return ImageSummary(image.digest, contents, news, has_new_layers=True)


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _earlier(descriptor: bytes) -> Optional[frozenset[str]]:
    """Returns the digests of the layers of an image, as its descriptor has them."""
    try:
        layers = get_list(parse_object("descriptor", descriptor), "layers", dict)
        return frozenset(get_field(layer, "digest", str) for layer in layers)
    except InvalidInputError:
        return None
