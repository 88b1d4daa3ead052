"""The two formats of manifests: that of the OCI image spec, and Docker's, which is older.

Config and layers are the same bytes in both; media types differ, and what a manifest can say.
"""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.compression.formats import FORMATS
from nixoci.errors import InvalidInputError
from nixoci.layer.layer import MEDIA_TYPE_LAYER_TAR

MEDIA_TYPE_CONFIG = "application/vnd.oci.image.config.v1+json"
MEDIA_TYPE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MEDIA_TYPE_INDEX = "application/vnd.oci.image.index.v1+json"

#: Docker's index of images for several platforms.
MEDIA_TYPE_DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


@dataclass(frozen=True)
class ManifestFormat:
    """How a manifest is written: an OCI image manifest, or Docker's image manifest version 2, schema 2.

    :param name: what fields and options call it.
    :param manifest: media type, as `config`.
    :param layers: the media types of layers, by those of the OCI image spec, which layers have by
        themselves.
    :param has_annotations: whether manifests and descriptors of layers may have annotations.
    """

    name: str
    manifest: str
    config: str
    layers: tuple[tuple[str, str], ...]
    has_annotations: bool

    def layer_type(self, media_type: str) -> str:
        """Returns what a manifest calls a layer.

        :param media_type: of the layer by itself.
        :raises InvalidInputError: the format has none for it.
        """
        if self == OCI:
            return media_type
        if media_type not in dict(self.layers):
            short = media_type.rpartition("+")[2]
            raise InvalidInputError(
                "layer media type",
                media_type,
                f"manifests of Docker's have no {short} layers, only gzip and plain ones; compress "
                'with gzip or not at all, or take the manifest format "oci"',
            )
        return dict(self.layers)[media_type]

    def own_layer_type(self, media_type: str) -> str:
        """Returns the media type of a layer by itself.

        :param media_type: what a manifest calls it.
        :raises InvalidInputError: the format does not have it.
        """
        if self == OCI:
            # Of one that nobody knows it is said later what cannot be done with it.
            return media_type
        for own, written in self.layers:
            if written == media_type:
                return own
        expected = " or ".join(written for _, written in self.layers)
        raise InvalidInputError("layer media type", media_type, f"expected {expected}")


OCI = ManifestFormat(
    "oci",
    MEDIA_TYPE_MANIFEST,
    MEDIA_TYPE_CONFIG,
    tuple(
        (media_type, media_type)
        for media_type in (
            MEDIA_TYPE_LAYER_TAR,
            *(compression.media_type for compression in FORMATS.values()),
        )
    ),
    has_annotations=True,
)

#: https://distribution.github.io/distribution/spec/manifest-v2-2/; the type of plain tars is in no text of
#: it, but in the sources of all that read and write it.
DOCKER = ManifestFormat(
    "docker",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    (
        (MEDIA_TYPE_LAYER_TAR, "application/vnd.docker.image.rootfs.diff.tar"),
        (FORMATS["gzip"].media_type, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    ),
    has_annotations=False,
)

MANIFEST_FORMATS = {"oci": OCI, "docker": DOCKER}
