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

CONTENTS_FIELDS = (
    NixPackagesField,
    NixCopyToRootField,
    NixIgnoreField,
    NixLayersField,
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
