"""The fields that say how the layers of an image are compressed."""

from __future__ import annotations

from typing import Optional

from nixoci.compression.formats import FORMATS, NONE, Compression
from nixoci.errors import InvalidInputError
from pants.engine.target import IntField, StringField, Target
from pants.util.strutil import help_text

from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem


class NixCompressionField(StringField):
    alias = "compression"
    valid_choices = (NONE, *FORMATS)
    help = help_text(
        """
        How all layers of the image are compressed, those of its `nix_layer` targets and of the Nix
        database too: `none`, `gzip` or `zstd`. By default what `[nix-images].compression` says.

        It saves bytes in the registry and on the network. It costs time: a layer that changed is
        compressed when it is packaged, and again when it is sent. The bytes are the same on every
        machine, so layers that a registry has are not sent. Docker pulls `zstd` from version 23 on,
        containerd from 1.5 on.
        """
    )


class NixCompressionLevelField(IntField):
    alias = "compression_level"
    help = help_text(
        """
        How hard to compress: 1 to 12 for `gzip` (default 6), 1 to 22 for `zstd` (default 3). With
        the field `compression` left out, it is the level for what `[nix-images].compression` says.
        """
    )


def compression_of(target: Target, options: NixImageSubsystem) -> Optional[Compression]:
    """Returns how the layers of an image are compressed; None if they are not.

    A layer that is looked at by itself is compressed as the options say.

    :raises NixImageError: the level is none of the format.
    """
    format_name = target.get(NixCompressionField).value
    level = target.get(NixCompressionLevelField).value
    if format_name is None and level is None:
        return _compression(
            options.compression.value,
            options.compression_level,
            "The options `[nix-images].compression` and `compression_level`",
        )
    return _compression(
        format_name or options.compression.value,
        level,
        f"The fields `{NixCompressionField.alias}` and `{NixCompressionLevelField.alias}` of "
        f"{target.address}",
    )


def _compression(format_name: str, level: Optional[int], what: str) -> Optional[Compression]:
    if format_name == NONE:
        if level is None:
            return None
        raise NixImageError(
            f"{what}: there is a level, {level}, and nothing is compressed. Take it away, or set "
            f'`{NixCompressionField.alias}` to "gzip" or "zstd".'
        )
    try:
        return Compression.create(format_name, level)
    except InvalidInputError as error:
        raise NixImageError(f"{what}: {error}") from None
