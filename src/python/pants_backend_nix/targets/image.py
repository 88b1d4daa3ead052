"""The target `nix_image`."""

from __future__ import annotations

from typing import ClassVar

from pants.core.goals.package import OutputPathField
from pants.engine.target import COMMON_TARGET_FIELDS, StringField, Target
from pants.util.docutil import bin_name
from pants.util.strutil import help_text

from pants_backend_nix.targets.base.fields import NixBaseField, NixInheritConfigField
from pants_backend_nix.targets.fields.closures import NixLayerDependenciesField, NixMaxLayersField
from pants_backend_nix.targets.fields.compression import (
    NixCompressionField,
    NixCompressionLevelField,
)
from pants_backend_nix.targets.fields.config import (
    NixAnnotationsField,
    NixArchitectureField,
    NixCmdField,
    NixConfigField,
    NixCreatedField,
    NixEntrypointField,
    NixEnvField,
    NixExposedPortsField,
    NixHealthcheckField,
    NixLabelsField,
    NixManifestFormatField,
    NixOsField,
    NixStopSignalField,
    NixUserField,
    NixVariantField,
    NixVolumesField,
    NixWorkingDirField,
)
from pants_backend_nix.targets.fields.contents import NixIgnoreMissingLibrariesField
from pants_backend_nix.targets.fields.database import (
    NixDatabaseField,
    NixDatabaseSignaturesField,
    NixGidField,
    NixUidField,
)
from pants_backend_nix.targets.fields.publish import (
    NixExtraBuildArgsField,
    NixImageTagsField,
    NixRegistriesField,
    NixRepositoryField,
    NixSkipPushField,
)
from pants_backend_nix.targets.layer import CONTENTS_FIELDS
from pants_backend_nix.targets.layer_plan import NixLayerPlanField


class NixImageDependenciesField(NixLayerDependenciesField):
    help = help_text(
        """
        Further dependencies, such as `nix_package` targets that are only named in strings. The
        targets in `packages`, `layers`, `config` and the like are dependencies already.
        """
    )


class NixImageMaxLayersField(NixMaxLayersField):
    default = 40
    help = NixMaxLayersField.help


#: Values of `output_format` that are OCI image layouts.
OCI_OUTPUT_FORMATS = ("oci-layout", "oci-archive")

#: The one that has no manifest.
DOCKER_ARCHIVE = "docker-archive"


class NixOutputFormatField(StringField):
    alias = "output_format"
    valid_choices: ClassVar[tuple[str, ...]] = ("descriptor", *OCI_OUTPUT_FORMATS, DOCKER_ARCHIVE)
    default = "descriptor"
    help = help_text(
        f"""
        What `{bin_name()} package` writes: `descriptor`, a JSON file with the digests of manifest,
        config and layers; besides that file, `oci-layout` writes a directory and `oci-archive` a tar
        file for podman and skopeo, `docker-archive` a tar file for `docker load` and `podman load`.

        With `descriptor` nothing needs to be built when nothing changed. The other formats hold the
        bytes of all layers and are streamed from the Nix store each time.
        """
    )


class NixImageTarget(Target):
    alias = "nix_image"
    core_fields = (
        *COMMON_TARGET_FIELDS,
        *CONTENTS_FIELDS,
        NixImageMaxLayersField,
        NixLayerPlanField,
        NixImageDependenciesField,
        NixConfigField,
        NixBaseField,
        NixInheritConfigField,
        NixIgnoreMissingLibrariesField,
        NixEntrypointField,
        NixCmdField,
        NixEnvField,
        NixWorkingDirField,
        NixUserField,
        NixExposedPortsField,
        NixVolumesField,
        NixLabelsField,
        NixStopSignalField,
        NixHealthcheckField,
        NixManifestFormatField,
        NixAnnotationsField,
        NixCreatedField,
        NixArchitectureField,
        NixOsField,
        NixVariantField,
        NixOutputFormatField,
        OutputPathField,
        NixRepositoryField,
        NixImageTagsField,
        NixExtraBuildArgsField,
        NixRegistriesField,
        NixSkipPushField,
        NixDatabaseField,
        NixDatabaseSignaturesField,
        NixUidField,
        NixGidField,
        NixCompressionField,
        NixCompressionLevelField,
    )
    help = help_text(
        f"""
        An OCI image made of Nix store closures.

            nix_image(
                name="api",
                layers=[":runtime"],
                packages=[":app"],
                entrypoint=["{{app}}/bin/app"],
                image_tags=["latest"],
            )

        `{bin_name()} package` writes the image's digests into `dist/`. No layer archive is ever kept:
        layers are digested, and later sent, straight from the Nix store, and a digest that is in a
        cache is not computed again.
        """
    )
