"""The format of an image's manifest, by field and option, and what it rules out."""

from __future__ import annotations

from nixoci.compression.formats import FORMATS
from nixoci.image.manifest_format import MANIFEST_FORMATS, OCI, ManifestFormat
from pants.engine.target import Target

from pants_backend_nix.errors import NixImageError
from pants_backend_nix.options.images import NixImageSubsystem
from pants_backend_nix.targets.fields.compression import NixCompressionField, compression_of
from pants_backend_nix.targets.fields.config import NixAnnotationsField, NixManifestFormatField
from pants_backend_nix.targets.image import OCI_OUTPUT_FORMATS, NixOutputFormatField


def manifest_format_of(target: Target, options: NixImageSubsystem) -> ManifestFormat:
    """Returns the format of the manifest of an image.

    :raises NixImageError: the target wants something that such manifests, or their images, do not have.
    """
    field = target[NixManifestFormatField]
    name = field.value or options.manifest_format.value
    format = MANIFEST_FORMATS[name]
    if format == OCI:
        return format
    said_by = f'`{field.alias}="{name}"`'
    if field.value is None:
        said_by = f"the option `[nix-images].{field.alias}` ({name})"

    def error(other: str, why: str) -> NixImageError:
        return NixImageError(f"{target.address} has {other} and {said_by}: {why}")

    own = f'`{field.alias}="oci"`'
    output = target[NixOutputFormatField]
    if output.value in OCI_OUTPUT_FORMATS:
        raise error(
            f'`{output.alias}="{output.value}"`',
            "an OCI image layout holds OCI manifests. Write a `docker-archive` or the `descriptor`, or set "
            f"{own}.",
        )
    if target[NixAnnotationsField].value:
        raise error(
            f"the field `{NixAnnotationsField.alias}`",
            "manifests of Docker's have no annotations. Make them `labels`, which are in the config, or set "
            f"{own}.",
        )
    compression = compression_of(target, options)
    if compression is not None and FORMATS[compression.format].media_type not in dict(format.layers):
        raise error(
            f'`{NixCompressionField.alias}="{compression.format}"`, by field or option,',
            f"manifests of Docker's know gzip and plain layers. Set `{NixCompressionField.alias}` to "
            f'"gzip" or "none", or {own}.',
        )
    return format
