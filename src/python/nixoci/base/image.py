"""Manifest and config of an image that any tool made → layers, history and config to build on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Mapping, Sequence

from nixoci.base.errors import UnusableBaseError
from nixoci.base.index import parse_index, require_digest
from nixoci.compression.formats import FORMATS
from nixoci.errors import InvalidInputError
from nixoci.image.config import ImageConfig
from nixoci.image.image import History, LayerInImage, digest_of, parse_history
from nixoci.image.manifest_format import DOCKER, MANIFEST_FORMATS, OCI
from nixoci.json_input import MOST_NESTED, get_field, get_list, parse_object
from nixoci.json_output import canonical_json
from nixoci.layer.layer import copied_layer
from nixoci.recipe.blob import BlobRecipe

#: Docker's manifests of before 2017. Their layers have no digest of their own tar.
_SCHEMA_1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)

#: What a layer may be called, in manifests of either format: some tools mix them.
_LAYER_TYPES = {
    **{written: own for format in (DOCKER, OCI) for own, written in format.layers},
    "application/vnd.docker.image.rootfs.diff.tar.zstd": FORMATS["zstd"].media_type,
}

#: Layers that registries need not have.
_FOREIGN = ("nondistributable", ".foreign.")

#: What a config says of how the image itself was built, and not of images on top of it.
_OF_THE_BUILD = frozenset(
    (
        *("container", "container_config", "docker_version", "id", "parent", "parent_id"),
        *("throwaway", "layer_id", "Size", "moby.buildkit.buildinfo.v1", "moby.buildkit.cache.v0"),
    )
)

#: Likewise, in the object `config`. Triggers (ONBUILD) are for builds with a Dockerfile; such a build drops them too.
_OF_THE_BUILD_IN_CONFIG = frozenset(("Image", "OnBuild"))


@dataclass(frozen=True)
class BaseImage:
    """An image to build on.

    :param layers: bottom first, each copied as it is.
    :param recipes: one for each layer.
    :param after: entries of the history that follow that of the uppermost layer.
    """

    layers: tuple[LayerInImage, ...]
    recipes: tuple[BlobRecipe, ...]
    after: tuple[History, ...]
    config: ImageConfig

    def below(
        self, own: Sequence[LayerInImage], *, annotated: bool
    ) -> tuple[list[LayerInImage], tuple[History, ...]]:
        """Returns all layers of an image on top of this one, and the entries of the history that follow them.

        :param own: the layers above.
        :param annotated: whether the layers of this one keep the annotations that they have in its manifest.
        """
        layers = [item if annotated else replace(item, annotations=()) for item in self.layers]
        if not own:
            return layers, self.after
        first = replace(own[0], before=(*self.after, *own[0].before))
        return [*layers, first, *own[1:]], ()

    @property
    def has_nix_database(self) -> bool:
        """Whether its history says that it has a Nix database of ours."""
        return any(
            (item.history.created_by or "").startswith("nixoci the Nix database of ")
            for item in self.layers
        )


def config_descriptor(manifest: bytes) -> tuple[str, int]:
    """Returns digest and size of the config that a manifest names.

    :raises UnusableBaseError: it is no manifest of an image.
    :raises InvalidInputError: a broken document.
    """
    config = get_field(_manifest(manifest), "config", dict)
    return require_digest(get_field(config, "digest", str)), get_field(config, "size", int)


def layers_size(manifest: bytes) -> int:
    """Returns the bytes of all layers, as they are in a registry.

    :raises InvalidInputError: a broken document.
    """
    layers = get_list(parse_object("image manifest", manifest), "layers", dict)
    return sum(get_field(layer, "size", int) for layer in layers)


def created_of(config: bytes) -> str:
    """Returns when an image says that it was made; empty if it does not.

    :raises InvalidInputError: a broken document.
    """
    created: str = get_field(parse_object("image config", config), "created", str, default="")
    return created


def parse_base(
    manifest: bytes, config: bytes, repositories: tuple[str, ...] = ()
) -> BaseImage:
    """Returns what an image has for those on top of it.

    A history that does not tell of all layers gets entries for the others; one that is absent has none.

    :param repositories: that have its layers.
    :raises UnusableBaseError: it is no image, or one whose layers cannot be copied.
    :raises InvalidInputError: a broken document, or a config that is not that of the manifest.
    """
    document = _manifest(manifest)
    recorded = get_field(document, "config", dict)
    for name, found in (("digest", digest_of(config)), ("size", len(config))):
        if recorded.get(name) != found:
            raise InvalidInputError(f"{name} of the config", found, f"expected {recorded.get(name)}")
    config_document = parse_object("image config", config, MOST_NESTED - 8)
    diff_ids = get_list(get_field(config_document, "rootfs", dict), "diff_ids", str)
    layers = get_list(document, "layers", dict)
    if len(layers) != len(diff_ids):
        raise UnusableBaseError(
            f"its manifest has {len(layers)} layers and its config {len(diff_ids)} diff IDs; it is damaged, so "
            "have it built again"
        )
    recipes = tuple(
        _recipe(layer, diff_id, repositories) for layer, diff_id in zip(layers, diff_ids)
    )
    histories, after = parse_history(config_document)
    if len(histories) > len(layers):
        raise UnusableBaseError(
            f"its history tells of {len(histories)} layers, and it has {len(layers)}; it is damaged, so have it "
            "built again"
        )
    # What follows the last entry that is there was before the layers that it does not tell of.
    missing = recipes[len(histories) :]
    if missing:
        first, *others = missing
        made_up = [(after, _made_up(first)), *(((), _made_up(one)) for one in others)]
        histories, after = [*histories, *made_up], ()
    items = tuple(
        LayerInImage(
            copied_layer(recipe),
            history,
            tuple(sorted(_annotations(layer).items())),
            before,
        )
        for recipe, layer, (before, history) in zip(recipes, layers, histories)
    )
    return BaseImage(items, recipes, after, _config(config_document))


def _manifest(content: bytes) -> dict[str, Any]:
    document = parse_object("image manifest", content)
    media_type = get_field(document, "mediaType", str, default="")
    if media_type in _SCHEMA_1 or get_field(document, "schemaVersion", int, default=2) == 1:
        raise UnusableBaseError(
            "its manifest is of Docker's schema 1, which says too little of layers; push it once more with a tool "
            "of these days (docker 1.10 and later)"
        )
    if parse_index(content) is not None:
        raise UnusableBaseError("it is an index where the manifest of one image is expected")
    config = get_field(document, "config", dict, default={})
    config_type = get_field(config, "mediaType", str, default="")
    known = [format for format in MANIFEST_FORMATS.values() if format.config == config_type]
    if media_type and media_type not in [one.manifest for one in MANIFEST_FORMATS.values()]:
        raise UnusableBaseError(f"its manifest is {media_type!r}, which is none of an image")
    if not known or get_field(document, "artifactType", str, default=""):
        kind = get_field(document, "artifactType", str, default="") or config_type
        raise UnusableBaseError(f"it is no image but an artifact, {kind!r}")
    return document


def _recipe(
    layer: Mapping[str, Any], diff_id: str, repositories: tuple[str, ...]
) -> BlobRecipe:
    media_type = get_field(layer, "mediaType", str)
    digest = get_field(layer, "digest", str)
    if any(word in media_type for word in _FOREIGN) or get_list(layer, "urls", str, default=[]):
        raise UnusableBaseError(
            f"its layer {digest} is a foreign one ({media_type}), which registries need not have; take an image "
            "without such layers"
        )
    if media_type.startswith("application/vnd.in-toto"):
        raise UnusableBaseError("it is no image but an attestation of one; name the digest of the image")
    own = _LAYER_TYPES.get(media_type)
    if own is None:
        raise UnusableBaseError(
            f"its layer {digest} is of the media type {media_type!r}, which nobody here knows; known are "
            f"{', '.join(sorted(_LAYER_TYPES))}"
        )
    recipe = BlobRecipe(digest, get_field(layer, "size", int), diff_id, own, repositories)
    if own == OCI.layers[0][0] and digest != diff_id:
        raise UnusableBaseError(
            f"its layer {digest} is said to be a plain tar, whose diff ID would be the same, and it is {diff_id}; "
            "the image is damaged, so have it built again"
        )
    return recipe


def _annotations(layer: Mapping[str, Any]) -> dict[str, str]:
    annotations = get_field(layer, "annotations", dict, default={})
    return {key: value for key, value in annotations.items() if key and isinstance(value, str)}


def _made_up(recipe: BlobRecipe) -> History:
    return History(created_by=f"layer {recipe.digest} of the base image")


def _config(document: Mapping[str, Any]) -> ImageConfig:
    """Returns the config, with all that nobody here knows."""
    for name in ("os", "architecture"):
        get_field(document, name, str)
    kept = {
        name: value
        for name, value in document.items()
        if name not in ("rootfs", "history") and name not in _OF_THE_BUILD
    }
    execution = get_field(kept, "config", dict, default={})
    # Go writes what is empty as null.
    kept["config"] = {
        name: value
        for name, value in execution.items()
        if name not in _OF_THE_BUILD_IN_CONFIG and value is not None
    }
    return ImageConfig.from_json(canonical_json("image config", kept))
