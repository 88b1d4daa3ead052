"""What is in an image: packages, layers, what is copied, ignored and interpolated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.support.nix import machine_nix
from tests.pants_backend_nix.packager_support import Packager

_NIX = """
let text = name: attributes: script: derivation (attributes // {
  inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-e" "-c" script ];
}); in rec {
  base = text "base" { } "echo base > $out";
  user = text "user" { inherit base; } "echo $base > $out";
  other = text "other" { inherit base; } "echo other $base > $out";
  tree = text "tree" { inherit base; } "/bin/mkdir -p $out/etc; echo $base > $out/etc/base";
  tree-user = text "tree-user" { inherit tree; } "echo $tree > $out";
  large = text "large" { } "/bin/head -c 1000000 /dev/zero > $out";
  large-user = text "large-user" { inherit base large; } "/bin/head -c 900000 /dev/zero > $out; echo $base $large >> $out";
  many = text "many" { outputs = [ "out" "dev" ]; } "echo out > $out; echo dev > $dev";
  config = text "config" { inherit base user; } ''
    echo "{\\"Entrypoint\\": [\\"$user\\"], \\"Env\\": [\\"A=1\\", \\"B=$base\\"]}" > $out
  '';
}
"""

_OWN = """
let
  make = name: attributes: derivation (attributes // {
    inherit name; system = "x86_64-linux"; builder = "/bin/sh";
    args = [ "-e" "-c" "/bin/head -c 700000 /dev/zero > $out; echo $source $own $large >> $out" ];
  });
in rec {
  own = make "own" { source = ./source.txt; };
  all = make "all" { inherit own; inherit (import ./default.nix) large; };
}
"""

_FLAKE = """
{
  outputs = { self }: {
    packages.x86_64-linux.default = (import ./default.nix).user;
    packages.x86_64-linux.other = (import ./default.nix).other;
  };
}
"""

_PACKAGES = "".join(
    f'nix_package(name="{name}", source="default.nix", attr="{name}")\n'
    for name in ("base", "user", "other", "tree", "tree-user", "large", "large-user", "many", "config")
)


@pytest.fixture(scope="module")
def packager() -> Packager:
    return Packager(machine_nix(), {"default.nix": _NIX, "flake.nix": _FLAKE})


def _image(packager: Packager, text: str, *options: str) -> dict[str, Any]:
    return packager.descriptor(_PACKAGES + text, options=options)


def _layers(descriptor: dict[str, Any]) -> list[list[str]]:
    """Returns the names of the store paths in each layer, `/` before those at the root."""
    return [
        [
            ("/" if entry.get("destination") == "/" else "") + entry["path"][44:]
            for entry in layer["recipe"]["entries"]
        ]
        for layer in descriptor["layers"]
    ]


def _all(descriptor: dict[str, Any]) -> list[str]:
    return sorted(name for layer in _layers(descriptor) for name in layer)


def test_packages_with_all_that_they_reference(packager: Packager) -> None:
    image = _image(packager, 'nix_image(name="image", packages=[":user", ":other"])')
    assert _all(image) == ["base", "other", "user"]


def test_a_flake(packager: Packager) -> None:
    """Attributes are looked for as by `nix build`; what it imports must be declared."""
    image = packager.descriptor(
        """
nix_source(name="imported", source="default.nix")
nix_package(name="default", source="flake.nix", dependencies=[":imported"])
nix_package(name="other", source="flake.nix", attr="other", dependencies=[":imported"])
nix_image(name="image", packages=[":default", ":other"])
"""
    )
    assert _all(image) == ["base", "other", "user"]


def test_a_flake_sees_what_is_declared_only(packager: Packager) -> None:
    text = packager.error(
        """
nix_package(name="default", source="flake.nix")
nix_image(name="image", packages=[":default"])
"""
    )
    assert "DIR:default: evaluating DIR/flake.nix reads DIR/default.nix" in text
    assert "field `dependencies`" in text


def test_small_packages_share_a_layer(packager: Packager) -> None:
    """By default a layer is made only if it is expected to save bytes."""
    image = _image(packager, 'nix_image(name="image", packages=[":user", ":other"])')
    assert [sorted(layer) for layer in _layers(image)] == [["base", "other", "user"]]


def test_max_layers(packager: Packager) -> None:
    """The most popular path has a layer of its own, the rest share the last one."""
    image = _image(
        packager,
        'nix_image(name="image", packages=[":user", ":other"], max_layers=2, layering="popularity")',
    )
    assert _layers(image)[0] == ["base"]
    assert sorted(_layers(image)[1]) == ["other", "user"]


@pytest.mark.parametrize("strategy", ["popularity", "size_first"])
def test_the_option_is_for_who_does_not_say(packager: Packager, strategy: str) -> None:
    """The field of a target wins."""
    option = f"--nix-images-layering={strategy}"
    image = _image(packager, 'nix_image(name="image", packages=[":user", ":other"])', option)
    assert len(_layers(image)) == 3
    field = 'nix_image(name="image", packages=[":user", ":other"], layering="expected_cost")'
    assert len(_layers(_image(packager, field, option))) == 1


def test_layer_groups(packager: Packager) -> None:
    """Patterns say what shares a layer; the first group is at the bottom."""
    image = _image(
        packager,
        """
nix_image(
    name="image",
    packages=[":user", ":other", ":many"],
    layer_groups=[["user", "many*"], ["*-base"]],
)
""",
    )
    assert [sorted(layer) for layer in _layers(image)] == [["many", "user"], ["base"], ["other"]]


def test_previous_layers_are_kept(packager: Packager) -> None:
    """A split that is hardly better is not worth pushing a large layer again."""
    build = 'nix_image(name="image", packages=[":large-user"], max_layers=2, '
    first = _image(packager, build + 'layer_groups=[["base", "large"]])')
    assert [sorted(layer) for layer in _layers(first)] == [["base", "large"], ["large-user"]]
    packager.files["old.image.json"] = json.dumps(first)
    seldom = 'change_rates={"base": 0.01}'
    again = _image(packager, build + f'{seldom}, previous="old.image.json")')
    assert _layers(again) == _layers(first)
    assert _layers(_image(packager, build + f"{seldom})")) != _layers(first)


def test_layers_are_annotated_if_the_option_says_so(packager: Packager) -> None:
    """With the store paths that they have in the store; nothing else of the image changes."""
    build = """
nix_image(
    name="image", packages=[":user"], copy_to_root=[":tree"], nix_database=True, max_layers=4
)
"""
    plain = _image(packager, build)
    image = _image(packager, build, "--nix-images-annotate-layers")
    found, expected = [], []
    for layer, summary in zip(image["manifest"]["layers"], image["layers"]):
        annotations = layer.pop("annotations", None)
        found.append(annotations and annotations["dev.pants-backend-nix.store-paths"].split())
        entries = summary["recipe"].get("entries", [])
        paths = [entry["path"][11:] for entry in entries if "destination" not in entry]
        expected.append(sorted(paths) or None)
    assert found == expected
    names = sorted(path[33:] for paths in found for path in paths or ())
    assert names == ["base", "user"] and found.count(None) >= 2
    assert image["manifest"] == plain["manifest"]
    assert image["digest"] != plain["digest"]
    for key in ("config", "configDigest", "layers"):
        assert image[key] == plain[key]


def test_what_is_made_of_the_repositorys_sources_changes_most(packager: Packager) -> None:
    """A library that reads a source file is kept apart from others, though none is a root."""
    text = """
nix_source(name="file", source="source.txt")
nix_package(name="own", source="own.nix", attr="own", dependencies=[":file", ":nix"])
nix_package(name="all", source="own.nix", attr="all", dependencies=[":file", ":nix"])
nix_source(name="nix", source="default.nix")
nix_image(name="image", packages=[":all"{}], max_layers=2)
"""
    packager.files["source.txt"] = "source"
    packager.files["own.nix"] = _OWN
    image = _image(packager, text.format(', ":own"'))
    assert ["large"] in _layers(image)


def test_a_layer_below_holds_its_paths_alone(packager: Packager) -> None:
    """What the layers below hold is left out, also through several of them."""
    image = _image(
        packager,
        """
nix_layer(name="bottom", packages=[":base"])
nix_layer(name="middle", packages=[":user"], layers=[":bottom"])
nix_image(name="image", packages=[":other", ":user"], layers=[":middle"])
""",
    )
    assert _layers(image) == [["base"], ["user"], ["other"]]


def test_the_same_layer_twice_is_there_once(packager: Packager) -> None:
    image = _image(
        packager,
        """
nix_layer(name="one", packages=[":base"])
nix_layer(name="two", packages=[":base"])
nix_image(name="image", layers=[":one", ":two", ":one"])
""",
    )
    assert _layers(image) == [["base"]]


def test_copied_to_root_and_not_in_the_store(packager: Packager) -> None:
    """What a copied tree references is in the store, the tree itself only at the root."""
    image = _image(packager, 'nix_image(name="image", copy_to_root=[":tree"])')
    assert _layers(image) == [["base"], ["/tree"]]


def test_copied_to_root_and_referenced(packager: Packager) -> None:
    """A path that another one references is in both places."""
    image = _image(
        packager, 'nix_image(name="image", packages=[":tree-user"], copy_to_root=[":tree"])'
    )
    assert _all(image) == ["/tree", "base", "tree", "tree-user"]


def test_ignored_packages_bring_their_references(packager: Packager) -> None:
    image = _image(packager, 'nix_image(name="image", ignore=[":user"])')
    assert _all(image) == ["base"]


def test_config_made_by_nix(packager: Packager) -> None:
    """Its closure comes in, the file stays out; fields replace, variables are merged."""
    image = _image(
        packager, 'nix_image(name="image", config=":config", cmd=["x"], env={"A": "2", "C": "3"})'
    )
    assert _all(image) == ["base", "user"]
    config = image["config"]["config"]
    assert config["Entrypoint"][0].endswith("-user")
    assert config["Cmd"] == ["x"]
    assert [v.split("=")[0] for v in config["Env"]] == ["A", "B", "C"]
    assert config["Env"][0] == "A=2" and config["Env"][1].endswith("-base")


def test_interpolated_packages_become_part_of_the_image(packager: Packager) -> None:
    """A name may be that of a dependency, of a layer's package, or a whole address."""
    image = _image(
        packager,
        """
nix_layer(name="layer", packages=[":user"])
nix_image(
    name="image",
    layers=[":layer"],
    dependencies=[":many"],
    entrypoint=["{many}", "{many^dev}", "{user}/bin", "{{literal}}"],
    labels={"user": "{user}"},
    annotations={"many": "{many}"},
)
""",
    )
    entrypoint = image["config"]["config"]["Entrypoint"]
    assert [word.rpartition("-")[2] for word in entrypoint[:3]] == ["many", "dev", "user/bin"]
    assert entrypoint[3] == "{literal}"
    assert image["manifest"]["annotations"]["many"] == entrypoint[0]
    assert {"many", "user", "base"} <= set(_all(image))


def test_every_interpolated_path_is_in_the_image(packager: Packager) -> None:
    """Also one of an output that the package does not select."""
    image = _image(
        packager,
        'nix_image(name="image", dependencies=[":many"], entrypoint=["{many^dev}"])',
    )
    (path,) = image["config"]["config"]["Entrypoint"]
    assert path in [e["path"] for layer in image["layers"] for e in layer["recipe"]["entries"]]


def test_permissions_reach_the_layers_that_they_can_match(packager: Packager) -> None:
    image = _image(
        packager,
        """
nix_image(
    name="image",
    packages=[":user"],
    layering="popularity",
    permissions=[{"path": "{user}", "mode": "0500", "uid": 7}],
)
""",
    )
    found = {
        layer["recipe"]["entries"][0]["path"][44:]: layer["recipe"].get("permissions")
        for layer in image["layers"]
    }
    assert found["base"] is None
    assert found["user"][0]["mode"] == 0o500 and found["user"][0]["uid"] == 7


def test_capabilities_are_part_of_the_recipe(packager: Packager) -> None:
    """In the spelling that all recipes have, whatever the BUILD file says."""
    image = _image(
        packager,
        """
nix_image(
    name="image",
    packages=[":base"],
    permissions=[{"path": "{base}", "capabilities": ["CAP_SETUID", "net_raw"]}],
)
""",
    )
    (layer,) = image["layers"]
    (permission,) = layer["recipe"]["permissions"]
    assert permission["capabilities"] == ["cap_net_raw", "cap_setuid"]


def test_excludes_are_those_of_the_target(packager: Packager) -> None:
    """Of an image they say nothing of the layers below, nor the other way round."""
    text = """
nix_layer(name="below", packages=[":base"]%s)
nix_image(name="image", packages=[":user"], layers=[":below"]%s)
"""
    plain = _image(packager, text % ("", ""))
    below = _image(packager, text % (', excludes=["x"]', ""))
    image = _image(packager, text % ("", ', excludes=["b/**", "a"]'))
    assert [
        [layer["recipe"].get("excludes") for layer in made["layers"]]
        for made in (plain, below, image)
    ] == [[None, None], [["x"], None], [None, ["a", "b/**"]]]
    assert below["layers"][1] == plain["layers"][1] and image["layers"][0] == plain["layers"][0]


def test_excluded_files_are_in_no_layer(packager: Packager) -> None:
    """A pattern that matches nothing leaves the bytes as they are; another one does not."""
    text = 'nix_image(name="image", copy_to_root=[":tree"], max_layers=1%s)'
    digests = [
        _image(packager, text % excludes)["layers"][0]["digest"]
        for excludes in ("", ', excludes=["nothing"]', ', excludes=["**"]')
    ]
    assert digests[0] == digests[1] != digests[2]


def test_dialect(packager: Packager) -> None:
    """Layers as nix2container writes them are other layers."""
    text = 'nix_image(name="image", packages=[":base"])'
    ours = _image(packager, text)
    theirs = _image(packager, text, "--nix-images-tar-dialect=nix2container")
    assert "dialect" not in ours["layers"][0]["recipe"]
    assert theirs["layers"][0]["recipe"]["dialect"] == "nix2container"
    assert ours["layers"][0]["digest"] != theirs["layers"][0]["digest"]


def test_platform(packager: Packager) -> None:
    """The architecture is that of the packages; a field may say more of it."""
    text = 'nix_image(name="image", packages=[":base"]%s)'
    assert _image(packager, text % "")["platform"] == {"os": "linux", "architecture": "amd64"}
    other = _image(packager, text % ', architecture="amd64", variant="v3"')
    assert other["platform"] == {"os": "linux", "architecture": "amd64", "variant": "v3"}


def test_images_of_a_plan_share_layers(packager: Packager) -> None:
    """What two images have in common is in the same layers, whatever else each of them has."""
    build = """
nix_layer_plan(name="plan", images=[":image", ":other-image"])
nix_image(name="image", layer_plan=":plan", packages=[":large-user", ":other"], max_layers=3)
nix_image(name="other-image", layer_plan=":plan", packages=[":large", ":tree"], max_layers=3)
"""
    image = _layers(_image(packager, build))
    assert ["base", "large"] in [sorted(layer) for layer in image]
    assert sorted(name for layer in image for name in layer) == [
        "base",
        "large",
        "large-user",
        "other",
    ]
