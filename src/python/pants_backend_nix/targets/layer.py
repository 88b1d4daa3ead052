"""The target `nix_layer`, and the fields that it shares with `nix_image`."""

from __future__ import annotations

from pants.core.goals.package import OutputPathField
from pants.engine.target import COMMON_TARGET_FIELDS, Target
from pants.util.docutil import bin_name
from pants.util.strutil import help_text

from pants_backend_nix.targets.fields.closures import (
    NixCopyToRootField,
    NixIgnoreField,
    NixLayerDependenciesField,
    NixLayersField,
    NixMaxLayersField,
    NixPackagesField,
)
from pants_backend_nix.targets.fields.contents import NixContentsField
from pants_backend_nix.targets.fields.environment import NixEnvironmentField
from pants_backend_nix.targets.fields.excludes import NixExcludesField
from pants_backend_nix.targets.fields.file_system import FILE_SYSTEM_FIELDS, NixShadowsField
from pants_backend_nix.targets.fields.history import (
    NixAuthorField,
    NixCommentField,
    NixCreatedByField,
)
from pants_backend_nix.targets.fields.layering import (
    NixChangeRatesField,
    NixLayerGroupsField,
    NixLayeringField,
    NixPreviousField,
)
from pants_backend_nix.targets.fields.permissions import PermissionsField
from pants_backend_nix.targets.fields.reproducible import NixReproducibleField
from pants_backend_nix.targets.package import NixSystemField


class NixLayerSystemField(NixSystemField):
    help = help_text(
        """
        The Nix system that this is for, such as `x86_64-linux` or `aarch64-linux`. It chooses among packages
        and layers that are parametrized by their `system`:

            nix_package(name="app", system=parametrize("x86_64-linux", "aarch64-linux"), …)
            nix_image(name="image", system="aarch64-linux", packages=[":app"])

        Without it, one of them is named by its whole address: `:app@system=aarch64-linux`. The field can be
        parametrized itself; then there is an image for each system. Packages that are for another system
        are an error. It changes nothing in how packages are evaluated: that is said by the field `system` of
        a `nix_package`.
        """
    )


CONTENTS_FIELDS = (
    NixPackagesField,
    NixCopyToRootField,
    NixIgnoreField,
    NixLayersField,
    NixLayerSystemField,
    NixLayeringField,
    NixLayerGroupsField,
    NixChangeRatesField,
    NixPreviousField,
    PermissionsField,
    NixExcludesField,
    NixCreatedByField,
    NixAuthorField,
    NixCommentField,
    NixEnvironmentField,
    NixContentsField,
    *FILE_SYSTEM_FIELDS,
    NixShadowsField,
)


class NixLayerTarget(Target):
    alias = "nix_layer"
    core_fields = (
        *COMMON_TARGET_FIELDS,
        *CONTENTS_FIELDS,
        NixMaxLayersField,
        NixLayerDependenciesField,
        NixReproducibleField,
        OutputPathField,
    )
    help = help_text(
        f"""
        A layer (or up to `max_layers` of them) with Nix packages, for images to share.

            nix_layer(name="runtime", packages=[":python"], max_layers=40)

        What it holds does not depend on the image that uses it. `{bin_name()} package` writes a JSON
        file with digests and sizes.
        """
    )
