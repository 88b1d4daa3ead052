"""Images: config and manifest, made of a config and layers; as the OCI image spec or Docker has them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Mapping, Optional, Sequence

from nixoci.errors import InvalidInputError
from nixoci.image.config import DEFAULT_CREATED, ImageConfig, Platform
from nixoci.image.config_values import check_created
from nixoci.image.healthcheck import NONE
from nixoci.image.manifest_format import MANIFEST_FORMATS, OCI, ManifestFormat
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json
from nixoci.layer.layer import MEDIA_TYPE_LAYER_TAR, Layer
from nixoci.sha256 import sha256

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class History:
    """What an image says about how a layer came to be (OCI image spec, config.md, `history`).

    :param created: RFC 3339 date and time; in an image that of the image if absent, since Docker
        shows an absent one as centuries ago.
    :raises InvalidInputError: `created` is not such a time.
    """

    created_by: Optional[str] = None
    author: Optional[str] = None
    comment: Optional[str] = None
    created: Optional[str] = None

    def __post_init__(self) -> None:
        reason = None if self.created is None else check_created(self.created)
        if reason is not None:
            raise InvalidInputError("history created", self.created, reason)


@dataclass(frozen=True)
class LayerInImage:
    """A layer with what the image says of it, which is no part of the layer: it changes no byte of it.

    :param history: in the config.
    :param annotations: of the layer's descriptor in the manifest, sorted by key.
    :param before: entries of the history that have no layer, between that of the layer below and this one.
    """

    layer: Layer
    history: History = History()
    annotations: tuple[tuple[str, str], ...] = ()
    before: tuple[History, ...] = ()

    def descriptor(self, format: ManifestFormat = OCI) -> dict[str, Any]:
        """The descriptor of the layer's blob, as a manifest of `format` has it.

        :raises InvalidInputError: such a manifest has no layers that are compressed so, or no annotations.
        """
        descriptor = self.layer.descriptor()
        descriptor["mediaType"] = format.layer_type(self.layer.media_type)
        if self.annotations:
            _require_annotations(format)
            descriptor["annotations"] = dict(self.annotations)
        return descriptor


@dataclass(frozen=True)
class Manifest:
    """What a registry has under a digest that is no blob: the manifest of an image, or an index."""

    content: bytes
    media_type: str

    @cached_property
    def digest(self) -> str:
        return digest_of(self.content)


@dataclass(frozen=True)
class Image:
    """An image but for the bytes of its layers; made by `assemble` or `parse_image`.

    :param config: the bytes of the config blob.
    :param manifest: the bytes of the manifest, which is what the image's digest is of.
    :param layers: from the lowest to the uppermost. Whatever the manifest calls them, their media types
        are those of the OCI image spec.
    :param format: of the manifest.
    :param after: entries of the history that have no layer, after that of the uppermost one.
    """

    config: bytes
    manifest: bytes
    layers: tuple[LayerInImage, ...]
    platform: Platform
    format: ManifestFormat = OCI
    after: tuple[History, ...] = ()

    @cached_property
    def digest(self) -> str:
        """The digest of the manifest, `sha256:<hex>`: what registries know the image by."""
        return digest_of(self.manifest)

    @cached_property
    def config_digest(self) -> str:
        """The digest of the config, `sha256:<hex>`: Docker's image ID."""
        return digest_of(self.config)

    @property
    def is_compressed(self) -> bool:
        """Whether a compressor is needed to make the layers."""
        return any(item.layer.compression is not None for item in self.layers)

    @property
    def media_type(self) -> str:
        """Of the manifest."""
        return self.format.manifest

    @property
    def images(self) -> tuple[Image, ...]:
        """The images that this is: one. An index has several."""
        return (self,)

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """All that registries have by digest, what others refer to first: here the manifest alone."""
        return (Manifest(self.manifest, self.media_type),)

    @property
    def has_healthcheck(self) -> bool:
        """Whether the config has one, which is not that there is none."""
        execution = get_field(parse_object("image config", self.config), "config", dict, default={})
        test = get_field(execution, "Healthcheck", dict, default={}).get("Test")
        return bool(test) and test != [NONE]

    @property
    def loses_healthcheck(self) -> bool:
        """Whether there is a healthcheck, and podman drops it: it reads none in OCI images."""
        return self.format == OCI and self.has_healthcheck

    def descriptor(self) -> dict[str, Any]:
        """The descriptor of the manifest (OCI image spec, descriptor.md), without platform."""
        return _descriptor(self.media_type, self.manifest)


def digest_of(content: bytes) -> str:
    """Returns `sha256:<hex>` of `content`."""
    return f"sha256:{sha256(content).hexdigest()}"


def assemble(
    config: ImageConfig,
    layers: Sequence[LayerInImage],
    annotations: Optional[Mapping[str, str]] = None,
    format: ManifestFormat = OCI,
    after: Sequence[History] = (),
) -> Image:
    """Makes an image of layers, the lowest first.

    :param annotations: of the manifest.
    :param format: of the manifest.
    :param after: as of `Image`.
    :raises InvalidInputError: the config names no architecture, an annotation has an empty key or
        is no text, a digest or size of a layer is not valid, or the format has no such annotations or
        layers.
    """
    document = config.to_document()
    document["rootfs"] = {"type": "layers", "diff_ids": [item.layer.diff_id for item in layers]}
    document["history"] = _history_document(layers, after, config.created or DEFAULT_CREATED)
    config_bytes = canonical_json("image config", document)
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": format.manifest,
        "config": _descriptor(format.config, config_bytes),
        "layers": [item.descriptor(format) for item in layers],
    }
    if annotations:
        _require_annotations(format)
        manifest["annotations"] = dict(annotations)
    # Reading back what was written proves that a push or a writer will be able to read it.
    image = parse_image(config_bytes, canonical_json("image manifest", manifest))
    return with_layers(image, [item.layer for item in layers])


def with_layers(image: Image, layers: Sequence[Layer]) -> Image:
    """Returns `image` with what its manifest cannot say of its layers: how to make them again.

    :param layers: one for each layer of the image, in the same order.
    :raises InvalidInputError: they are not those of the manifest.
    """
    for item, layer in zip(image.layers, layers):
        if (layer.diff_id, layer.descriptor()) != (item.layer.diff_id, item.layer.descriptor()):
            raise InvalidInputError("layer", layer.digest, "it is not that of the manifest")
        if layer.compression and layer.compression.media_type != layer.media_type:
            raise InvalidInputError(
                "layer compression", layer.compression.format, f"the layer is {layer.media_type}"
            )
    items = (replace(item, layer=layer) for item, layer in zip(image.layers, layers))
    return replace(image, layers=tuple(items))


def parse_image(config: bytes, manifest: bytes) -> Image:
    """Returns the image that a config and a manifest describe.

    :raises InvalidInputError: they do not belong together, or are not of the kind that `assemble`
        makes: a manifest whose layers each have a diff ID and an entry of the history.
    """
    manifest_document, format = _parse_manifest(manifest)
    recorded_config = get_field(manifest_document, "config", dict)
    for name, value in _descriptor(format.config, config).items():
        _require(recorded_config, name, value)

    config_document = parse_object("image config", config)
    platform = Platform(
        os=get_field(config_document, "os", str),
        architecture=get_field(config_document, "architecture", str),
        variant=get_field(config_document, "variant", str, default=None),
        os_version=get_field(config_document, "os.version", str, default=None),
    )
    diff_ids = get_list(get_field(config_document, "rootfs", dict), "diff_ids", str)
    histories, after = parse_history(config_document)
    layer_documents = get_list(manifest_document, "layers", dict)
    if not len(diff_ids) == len(histories) == len(layer_documents):
        raise InvalidInputError(
            "image",
            digest_of(manifest),
            f"{len(layer_documents)} layers have {len(diff_ids)} diff IDs and"
            f" {len(histories)} entries of history",
        )
    layers = tuple(
        LayerInImage(
            _parse_layer(document, diff_id, format),
            history,
            _parse_annotations(document, format),
            before,
        )
        for document, diff_id, (before, history) in zip(layer_documents, diff_ids, histories)
    )
    return Image(config, manifest, layers, platform, format, after)


def parse_history(
    config: Mapping[str, Any],
) -> tuple[list[tuple[tuple[History, ...], History]], tuple[History, ...]]:
    """Returns the history in a config.

    :returns: for each entry that has a layer, those without one before it, and itself; and those without a
        layer that follow the last one.
    :raises InvalidInputError: not such a history.
    """
    histories: list[tuple[tuple[History, ...], History]] = []
    waiting: list[History] = []
    for document in get_list(config, "history", dict, default=[]):
        history = _parse_history(document)
        if get_field(document, "empty_layer", bool, default=False):
            waiting.append(history)
        else:
            histories.append((tuple(waiting), history))
            waiting = []
    return histories, tuple(waiting)


def _history_document(
    layers: Sequence[LayerInImage], after: Sequence[History], default_created: str
) -> list[dict[str, Any]]:
    """:param default_created: of entries that do not say when they were made."""
    entries = [
        (history, is_empty)
        for item in layers
        for history, is_empty in (*((one, True) for one in item.before), (item.history, False))
    ]
    entries += [(history, True) for history in after]
    documents = []
    for history, is_empty in entries:
        history = replace(history, created=history.created or default_created)
        document = {name: value for name, value in vars(history).items() if value}
        documents.append({**document, "empty_layer": True} if is_empty else document)
    return documents


def parse_layer_annotations(manifest: bytes) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Returns the annotations of each layer of a manifest, of which there is no config.

    :raises InvalidInputError: `parse_image` would not take it with any config.
    """
    document, format = _parse_manifest(manifest)
    config = get_field(document, "config", dict)
    _require(config, "mediaType", format.config)
    _check_blob("config", get_field(config, "digest", str), get_field(config, "size", int))
    layers = get_list(document, "layers", dict)
    for layer in layers:
        # Nothing but the diff ID is in the config, and that of a plain tar is its digest.
        _parse_layer(layer, get_field(layer, "digest", str), format)
    return tuple(_parse_annotations(layer, format) for layer in layers)


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def _require(document: Mapping[str, Any], name: str, expected: Any) -> None:
    value = get_field(document, name, type(expected))
    if value != expected:
        raise InvalidInputError(f"field {name}", value, f"expected {expected}")


def _require_annotations(format: ManifestFormat) -> None:
    if not format.has_annotations:
        raise InvalidInputError(
            "manifest format",
            format.name,
            'such manifests have no annotations; leave them out, or take the format "oci"',
        )


def _parse_manifest(manifest: bytes) -> tuple[dict[str, Any], ManifestFormat]:
    """Returns a manifest as far as it can be verified without looking at its parts."""
    document = parse_object("image manifest", manifest)
    _require(document, "schemaVersion", 2)
    media_type = get_field(document, "mediaType", str)
    for format in MANIFEST_FORMATS.values():
        if format.manifest == media_type:
            _parse_annotations(document, format)
            return document, format
    expected = " or ".join(format.manifest for format in MANIFEST_FORMATS.values())
    raise InvalidInputError("field mediaType", media_type, f"expected {expected}")


def _parse_annotations(
    document: Mapping[str, Any], format: ManifestFormat
) -> tuple[tuple[str, str], ...]:
    annotations = get_field(document, "annotations", dict, default={})
    if annotations:
        _require_annotations(format)
    for key, value in annotations.items():
        if not key or not isinstance(value, str):
            raise InvalidInputError(f"annotation {key!r}", value, "expected a key and a string")
    return tuple(sorted(annotations.items()))


def _parse_layer(document: Mapping[str, Any], diff_id: str, format: ManifestFormat) -> Layer:
    layer = Layer(
        digest=get_field(document, "digest", str),
        size=get_field(document, "size", int),
        diff_id=diff_id,
        media_type=format.own_layer_type(get_field(document, "mediaType", str)),
    )
    for digest in (layer.digest, layer.diff_id):
        _check_blob("layer", digest, layer.size)
    if layer.media_type == MEDIA_TYPE_LAYER_TAR and layer.digest != layer.diff_id:
        raise InvalidInputError(
            "layer digest", layer.digest, "it must be the diff ID, since the layer is uncompressed"
        )
    return layer


def _check_blob(what: str, digest: str, size: int) -> None:
    if not _DIGEST.fullmatch(digest):
        raise InvalidInputError(f"{what} digest", digest, "expected sha256: and 64 hex digits")
    if size < 0:
        raise InvalidInputError(f"{what} size", size, "it is negative")


def _parse_history(document: Mapping[str, Any]) -> History:
    return History(
        **{
            name: get_field(document, name, str, default=None)
            for name in ("created_by", "author", "comment", "created")
        }
    )
