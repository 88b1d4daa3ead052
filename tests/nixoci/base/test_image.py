"""Images of other tools are read as they are, or it is said why not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Callable

import pytest
from nixoci.base.errors import UnusableBaseError
from nixoci.base.image import parse_base
from nixoci.base.inherit import inherit
from nixoci.errors import InvalidInputError, NixOciError
from nixoci.image.config import ImageConfig
from nixoci.image.descriptor import Descriptor, descriptor_json
from nixoci.image.image import History, LayerInImage, assemble
from nixoci.image.manifest_format import DOCKER, OCI, ManifestFormat
from nixoci.image.uncompressed import uncompressed
from nixoci.layer.layer import Layer
from nixoci.recipe.blob import BlobRecipe
from nixoci.recipe.database import DatabaseRecipe

from tests.nixoci.base.base_support import (
    CONFIG,
    DOCKER_TAR,
    OCI_CONFIG,
    OCI_MANIFEST,
    OCI_TAR,
    documents,
    image,
    named,
)

REPOSITORY = "registry.example/base"


def test_a_docker_image_is_read_as_layers_of_oci() -> None:
    base = parse_base(*documents(*image()), (REPOSITORY,))
    assert base.recipes == (
        BlobRecipe(named("blob 0"), 10, named("tar 0"), f"{OCI_TAR}+gzip", (REPOSITORY,)),
        BlobRecipe(named("tar 1"), 11, named("tar 1"), OCI_TAR, (REPOSITORY,)),
    )
    assert [item.history.created_by for item in base.layers] == ["ADD one", "RUN two"]
    assert [len(item.before) for item in base.layers] == [0, 1] and len(base.after) == 1
    assert base.config.env == ("PATH=/usr/bin:/bin", "LANG=C") and base.config.cmd == ("sh",)
    # Unknown fields stay, but for those about its own build.
    assert dict(base.config.other) == {"Shell": '["/bin/bash","-c"]', "StopTimeout": "3"}
    assert base.config.other_top_level == ()


@pytest.mark.parametrize("format", (OCI, DOCKER), ids=("oci", "docker"))
def test_an_image_on_top_of_it_and_its_descriptor(format: ManifestFormat) -> None:
    """The history of the base is whole, its blobs are as they were, and a descriptor says where they are."""
    base = parse_base(*documents(*image()), (REPOSITORY,))
    own = Layer(named("own"), 3, named("own"))
    made = assemble(
        inherit(base.config, ImageConfig(architecture="amd64", os="linux")),
        [*base.layers, LayerInImage(own, History("own"), before=base.after)],
        format=format,
    )
    history = json.loads(made.config)["history"]
    assert history == [*CONFIG["history"], {"created": "1970-01-01T00:00:01Z", "created_by": "own"}]
    data = descriptor_json(made, [*base.recipes, DatabaseRecipe({})])
    read = Descriptor.from_json(data)
    assert read.image == made and read.recipes[:2] == base.recipes
    assert read.image.layers[0].layer.copied and not read.image.layers[2].layer.copied
    # What is copied stays compressed for engines and archives, whose image ID is that of the tars.
    assert [item.layer.size for item in uncompressed(read.image).layers] == [10, 11, 3]
    assert uncompressed(read.image).config_digest == made.config_digest


@pytest.mark.parametrize("change", ({"size": 9}, {"digest": named("x")}, {"mediaType": OCI_TAR}))
def test_a_descriptor_whose_recipe_is_another_layer_is_refused(change: dict[str, Any]) -> None:
    base = parse_base(*documents(*image()))
    made = assemble(base.config, base.layers)
    document = json.loads(descriptor_json(made, base.recipes))
    document["layers"][0]["recipe"]["blob"].update(change)
    with pytest.raises(InvalidInputError):
        Descriptor.from_json(json.dumps(document).encode())


def test_history_that_is_missing_or_too_short_is_made_up() -> None:
    base = parse_base(*documents(*image(history=None)))
    assert [item.history.created_by for item in base.layers] == [
        f"layer {named('blob 0')} of the base image",
        f"layer {named('tar 1')} of the base image",
    ]
    base = parse_base(*documents(*image(history=CONFIG["history"][:2])))
    assert [item.history.created_by for item in base.layers] == [
        "ADD one",
        f"layer {named('tar 1')} of the base image",
    ]
    assert [one.created_by for one in base.layers[1].before] == ["ENV LANG=C"] and not base.after


def test_manifests_without_media_type_and_with_layers_of_the_other_format() -> None:
    """OCI's may go without; some tools mix the two."""
    manifest, config = image(
        manifest_type=OCI_MANIFEST,
        config_type=OCI_CONFIG,
        layer_types=(f"{DOCKER_TAR}.zstd", f"{OCI_TAR}+zstd"),
    )
    del manifest["mediaType"]
    manifest["layers"][0]["annotations"] = {"toc": "x", "": "y", "z": 1}
    base = parse_base(*documents(manifest, config))
    assert {recipe.media_type for recipe in base.recipes} == {f"{OCI_TAR}+zstd"}
    assert base.layers[0].annotations == (("toc", "x"),)


def _set(*path: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """Returns a function that sets what the path (the last item is the value) names in manifest or config."""
    which, *keys, last, value = path

    def change(manifest: dict[str, Any], config: dict[str, Any]) -> None:
        target: Any = manifest if which == "manifest" else config
        for key in keys:
            target = target[key]
        target[last] = value

    return change


@pytest.mark.parametrize(
    "change, says",
    (
        (_set("manifest", "config", "digest", named("x")), "digest of the config"),
        (_set("manifest", "config", "size", 1), "size of the config"),
        (_set("manifest", "schemaVersion", 1), "schema 1"),
        (
            _set("manifest", "mediaType", "application/vnd.docker.distribution.manifest.v1+prettyjws"),
            "schema 1",
        ),
        (_set("manifest", "mediaType", "application/x"), "none of an image"),
        (_set("manifest", "mediaType", "application/vnd.oci.image.index.v1+json"), "manifests"),
        (_set("manifest", "artifactType", "application/vnd.cncf.helm"), "an artifact"),
        (_set("manifest", "config", "mediaType", "application/vnd.oci.empty.v1+json"), "an artifact"),
        (_set("manifest", "config", None), "an artifact"),
        (_set("manifest", "layers", 0, "urls", ["https://x.example/y"]), "foreign"),
        (
            _set("manifest", "layers", 0, "mediaType", f"{DOCKER_TAR}.gzip".replace("diff", "foreign.diff")),
            "foreign",
        ),
        (
            _set(
                *("manifest", "layers", 0, "mediaType"),
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            ),
            "foreign",
        ),
        (_set("manifest", "layers", 0, "mediaType", "application/vnd.in-toto+json"), "attestation"),
        (_set("manifest", "layers", 0, "mediaType", f"{OCI_TAR}+xz"), "nobody here knows"),
        (_set("manifest", "layers", 1, "digest", named("x")), "plain tar"),
        (_set("manifest", "layers", 1, "digest", "sha512:00"), "64 hex digits"),
        (_set("manifest", "layers", 1, "size", -1), "negative"),
        (_set("manifest", "layers", []), "0 layers and its config 2"),
        (_set("manifest", "layers", "x"), "expected list"),
        (_set("config", "rootfs", "diff_ids", [named("tar 0")]), "2 layers and its config 1"),
        (_set("config", "rootfs", None), "rootfs"),
        (_set("config", "history", [{}, {}, {}]), "tells of 3 layers"),
        (_set("config", "history", [{"created": "yesterday"}]), "RFC 3339"),
        (_set("config", "history", 0, "empty_layer", "yes"), "expected bool"),
        (_set("config", "os", None), "field os"),
        (_set("config", "architecture", "aarch64"), "arm64 here"),
        (_set("config", "config", "Env", ["A"]), "NAME=value"),
        (_set("config", "config", "Env", "A=b"), "expected list"),
    ),
)
def test_what_cannot_be_a_base(
    change: Callable[[dict[str, Any], dict[str, Any]], None], says: str
) -> None:
    manifest, config = image()
    change(manifest, config)
    with pytest.raises(NixOciError) as caught:
        parse_base(*documents(manifest, config))
    assert isinstance(caught.value, (UnusableBaseError, InvalidInputError))
    assert says in str(caught.value)


def test_a_config_that_is_null_is_one_that_says_nothing() -> None:
    base = parse_base(*documents(*image(config=None)))
    assert replace(base.config, created=None) == ImageConfig(architecture="amd64", os="linux")
