"""The target `nix_layer_plan`, and the field of images that names one."""

from __future__ import annotations

from pants.engine.target import (
    COMMON_TARGET_FIELDS,
    Dependencies,
    StringField,
    StringSequenceField,
    Target,
)
from pants.util.strutil import help_text

from pants_backend_nix.targets.fields.layering import NixChangeRatesField
from pants_backend_nix.targets.layer import NixLayerSystemField


class NixLayerPlanField(StringField):
    alias = "layer_plan"
    help = help_text(
        """
        A `nix_layer_plan` that has this image among its `images`. What they have in common is then in
        the same layers.
        """
    )


class NixPlannedImagesField(StringSequenceField):
    alias = "images"
    required = True
    help = help_text(
        """
        The `nix_image` targets that share layers. Each of them names the plan in its field
        `layer_plan`.
        """
    )


class NixLayerPlanSystemField(NixLayerSystemField):
    help = help_text(
        """
        The Nix system that the plan is for. It chooses among images that are parametrized by their `system`.
        Parametrized itself, it makes a plan for each system, among which the images choose likewise.
        """
    )


class NixLayerPlanDependenciesField(Dependencies):
    help = help_text(
        """
        Further dependencies. What the images of the plan depend on are dependencies already, since it
        changes how they are split.
        """
    )


class NixLayerPlanTarget(Target):
    alias = "nix_layer_plan"
    core_fields = (
        *COMMON_TARGET_FIELDS,
        NixPlannedImagesField,
        NixLayerPlanSystemField,
        NixChangeRatesField,
        NixLayerPlanDependenciesField,
    )
    help = help_text(
        """
        One split into layers for several images, so that they share all layers that they can.

            nix_layer_plan(name="plan", images=[":api", ":worker"])
            nix_image(name="api", layer_plan=":plan", packages=[":api-package"])
            nix_image(name="worker", layer_plan=":plan", packages=[":worker-package"])

        Without a plan each image is split by itself, and what two of them have in common may be in other
        layers in each. With it, a registry and a host have nearly every store path once. `max_layers`
        stays that of each image; layer targets that are named in `layers` stay as they are.

        A changed image may change the layers of its siblings. Where a group of packages is well known
        to be common, a `nix_layer` of them is simpler.
        """
    )
