"""The fields of layers and images that name packages, and layers below."""

from __future__ import annotations

from typing import Optional

from nixoci.layering.split import MAX_LAYERS
from pants.engine.addresses import Address
from pants.engine.target import Dependencies, IntField, InvalidFieldException, StringSequenceField
from pants.util.strutil import help_text


class NixPackagesField(StringSequenceField):
    alias = "packages"
    help = help_text(
        """
        The `nix_package` targets whose outputs, with all that they reference, are put in
        `/nix/store`.
        """
    )


class NixCopyToRootField(StringSequenceField):
    alias = "copy_to_root"
    help = help_text(
        """
        The `nix_package` targets whose contents are copied to the root of the image: a package with
        `etc/passwd` makes `/etc/passwd`.

        What they reference is put in `/nix/store`; they themselves only if something in the image
        refers to them. Two packages may have directories in common, but no files.
        """
    )


class NixIgnoreField(StringSequenceField):
    alias = "ignore"
    help = help_text(
        """
        The `nix_package` targets that take part in computing the closure (so what they reference gets
        into the image) and are themselves kept out.

        It is an error to ignore a path that another path in the image references.
        """
    )


class NixLayersField(StringSequenceField):
    alias = "layers"
    help = help_text(
        """
        The `nix_layer` targets below, bottom first, with those that they have below themselves.
        Store paths that they hold are left out here. A `nix_image` cannot be named, as its config would be
        lost; it can be the `base` of an image.
        """
    )


class NixMaxLayersField(IntField):
    alias = "max_layers"
    value: int
    default = 1
    help = help_text(
        """
        The most OCI layers to split the packages over, 1 to 125, so that a changed package changes few
        layers; the field `layering` says how. What is copied to the root takes one of them when there
        are two or more.

        Container engines take about 125 layers in an image; stay at or below 100.
        """
    )

    @classmethod
    def compute_value(cls, raw_value: Optional[int], address: Address) -> int:
        value = super().compute_value(raw_value, address)
        if value is None or not 1 <= value <= MAX_LAYERS:
            raise InvalidFieldException(
                f"The field `{cls.alias}` of {address} is {value}. Set it to a number from 1 to "
                f"{MAX_LAYERS}, or leave it out for {cls.default}."
            )
        return value


class NixLayerDependenciesField(Dependencies):
    help = help_text(
        """
        Further dependencies. The targets in `packages`, `layers` and the like are dependencies
        already.
        """
    )
