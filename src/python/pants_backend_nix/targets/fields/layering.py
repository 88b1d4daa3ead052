"""The fields that say how store paths are split over layers."""

from __future__ import annotations

from typing import Iterable, Mapping, Optional

from pants.engine.addresses import Address
from pants.engine.target import (
    Field,
    InvalidFieldException,
    InvalidFieldTypeException,
    OptionalSingleSourceField,
    StringField,
)
from pants.util.frozendict import FrozenDict
from pants.util.strutil import help_text

from pants_backend_nix.options.images import Layering, check_rate


class NixLayeringField(StringField):
    alias = "layering"
    valid_choices = Layering
    help = help_text(
        """
        How store paths are split over the layers: `expected_cost`, for the fewest bytes that an update
        is expected to move; `size_first`, as dockerTools of nixpkgs does it since 2024; `popularity`,
        as nix2container does. By default what the option `[nix-images].layering` says.
        """
    )


class NixLayerGroupsField(Field):
    alias = "layer_groups"
    value: Optional[tuple[tuple[str, ...], ...]]
    default = None
    help = help_text(
        """
        Store paths that share a layer, as lists of shell patterns:

            layer_groups=[["glibc-*", "gcc-*-lib"], ["python3-*", "python3.11-*"]]

        Each list makes a layer, the first one at the bottom. A pattern is matched against the name of
        a store path and against the whole path; the first list that matches counts. What is left is
        split over the layers that are left, by expected cost.
        """
    )

    @classmethod
    def compute_value(
        cls, raw_value: Optional[Iterable[Iterable[str]]], address: Address
    ) -> Optional[tuple[tuple[str, ...], ...]]:
        value = super().compute_value(raw_value, address)
        if value is None:
            return None
        if not isinstance(value, (list, tuple)) or not all(map(_is_group, value)):
            raise InvalidFieldTypeException(
                address, cls.alias, value, expected_type="a list of lists of strings"
            )
        return tuple(tuple(group) for group in value)


def _is_group(group: object) -> bool:
    return (
        isinstance(group, (list, tuple))
        and bool(group)
        and all(isinstance(pattern, str) for pattern in group)
    )


class NixChangeRatesField(Field):
    alias = "change_rates"
    value: Optional[FrozenDict[str, float]]
    default = None
    help = help_text(
        """
        How often store paths change by themselves, compared with 1 for others, by shell patterns of
        their names: `{"model-weights-*": 0.1, "acme-*": 20}`. The split takes what changes often out
        of the layers of what does not. The first pattern that matches counts, those of the option
        `[nix-images].change_rates` after these. What a layer below holds goes by the field of that layer,
        and the store paths of images with a `layer_plan` go by that of the plan.

        Packages that are built from other sources than Nix files in this repository are known to change
        most, without being named here.
        """
    )

    @classmethod
    def compute_value(
        cls, raw_value: Optional[Mapping[str, float]], address: Address
    ) -> Optional[FrozenDict[str, float]]:
        value = super().compute_value(raw_value, address)
        if value is None:
            return None
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise InvalidFieldTypeException(
                address, cls.alias, value, expected_type="a dictionary of numbers"
            )
        for pattern, rate in value.items():
            why = check_rate(rate)
            if why:
                raise InvalidFieldException(
                    f"The field `{cls.alias}` of {address} gives {pattern!r} the rate {rate!r}: {why}"
                )
        return FrozenDict(value)


class NixPreviousField(OptionalSingleSourceField):
    alias = "previous"
    expected_file_extensions = (".json",)
    uses_source_roots = False
    required = False
    help = help_text(
        """
        A file that an earlier `package` wrote (`NAME.image.json` or `NAME.layer.json`), copied from
        `dist/` into the repository; or one that `nixoci previous` made of a published image, see
        `[nix-images].annotate_layers`. Layers of that build, which registries and hosts have, are kept
        where that is cheaper than what would be the best split without it.

        Without it, a split depends on nothing but the store paths.
        """
    )
