"""The target `nix_image_index`."""

from __future__ import annotations

from typing import Optional

from pants.core.goals.package import OutputPathField
from pants.engine.addresses import Address
from pants.engine.target import (
    COMMON_TARGET_FIELDS,
    Dependencies,
    DictStringToStringField,
    InvalidFieldException,
    StringSequenceField,
    Target,
)
from pants.util.docutil import bin_name
from pants.util.strutil import help_text

from pants_backend_nix.targets.fields.publish import (
    NixExtraBuildArgsField,
    NixImageTagsField,
    NixRegistriesField,
    NixRepositoryField,
    NixSkipPushField,
)
from pants_backend_nix.targets.image import DOCKER_ARCHIVE, OCI_OUTPUT_FORMATS, NixOutputFormatField


class NixIndexedImagesField(StringSequenceField):
    alias = "images"
    required = True
    help = help_text(
        """
        The `nix_image` targets of the index, each for another platform. Of a target that is parametrized, as by
        `system=parametrize("x86_64-linux", "aarch64-linux")`, all variants are meant, unless the address says which
        one. Their order does not matter: an index is sorted by platform.
        """
    )


class NixIndexAnnotationsField(DictStringToStringField):
    alias = "annotations"
    help = 'Annotations of the index: `{"org.opencontainers.image.source": "https://…"}`.'


class NixIndexOutputFormatField(NixOutputFormatField):
    valid_choices = ("descriptor", *OCI_OUTPUT_FORMATS)
    help = help_text(
        f"""
        What `{bin_name()} package` writes: `descriptor`, a JSON file with the digests of the index and its images;
        besides that file, `oci-layout` writes a directory and `oci-archive` a tar file with all images, for podman
        and skopeo. A `docker-archive` has images of one platform: make it of one of the images.
        """
    )

    @classmethod
    def compute_value(cls, raw_value: Optional[str], address: Address) -> Optional[str]:
        if raw_value == DOCKER_ARCHIVE:
            raise InvalidFieldException(
                f'The field `{cls.alias}` of {address} is "{DOCKER_ARCHIVE}", which has images of one platform. Set it '
                'to "oci-archive", or set it on one of the images of the index instead.'
            )
        return super().compute_value(raw_value, address)


class NixIndexSkipPushField(NixSkipPushField):
    help = f"Do not push this index, nor its images with it, when running `{bin_name()} publish`."


class NixIndexDependenciesField(Dependencies):
    help = help_text(
        """
        Further dependencies. The images of the index are dependencies already.
        """
    )


class NixImageIndexTarget(Target):
    alias = "nix_image_index"
    core_fields = (
        *COMMON_TARGET_FIELDS,
        NixIndexedImagesField,
        NixIndexAnnotationsField,
        NixIndexDependenciesField,
        NixIndexOutputFormatField,
        OutputPathField,
        NixRepositoryField,
        NixImageTagsField,
        NixExtraBuildArgsField,
        NixRegistriesField,
        NixIndexSkipPushField,
    )
    help = help_text(
        f"""
        Images for several platforms under one name (an OCI image index): engines take the one for their machine.

            nix_image(
                name="image",
                system=parametrize("x86_64-linux", "aarch64-linux"),
                packages=[":app"],
                entrypoint=["{{app}}/bin/app"],
                skip_push=True,
            )
            nix_image_index(name="index", images=[":image"], repository="acme/api", image_tags=["latest"])

        `{bin_name()} publish` pushes the images by their digests, without tags, and the index after them;
        `{bin_name()} run` runs the image for this machine. Packages for another system need what Nix needs to build
        them: a remote builder, emulation, or a substituter.
        """
    )
