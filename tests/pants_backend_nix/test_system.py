"""For which system an image is: what packages, parametrized targets and fields say, and where they disagree."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.support.nix import machine_nix
from tests.pants_backend_nix.packager_support import Packager

#: Without nixpkgs there is no other machine to build for: `host` says as nixpkgs does where outputs run, and
#: all is built here.
_NIX = """
{ system ? "x86_64-linux" }:
let
  make = name: host: derivation {
    inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "/bin/mkdir $out; echo > $out/${name}" ];
  } // { stdenv.hostPlatform.system = host; };
  text = content: derivation {
    name = "config"; system = "x86_64-linux"; builder = "/bin/sh"; inherit content;
    args = [ "-c" "echo \\"$content\\" > $out" ];
  } // { stdenv.hostPlatform.system = system; };
in rec {
  for-system = make "for-${system}" system;
  native = make "native" "x86_64-linux";
  cross = make "cross" "aarch64-linux";
  old = make "old" "i686-linux";
  arm = make "arm" "armv7l-linux";
  darwin = make "darwin" "aarch64-darwin";
  certificates = derivation {
    name = "certificates-${system}"; system = "x86_64-linux"; builder = "/bin/sh";
    args = [ "-c" "printf '%%s\\n' '-----BEGIN CERTIFICATE-----' MAEA '-----END CERTIFICATE-----' > $out" ];
  } // { stdenv.hostPlatform.system = system; };
  wasm = make "wasm" "wasm32-wasi";
  fetched = derivation {
    name = "fetched"; system = "builtin"; builder = "builtin:fetchurl"; url = "file:///etc/hostname";
    outputHashMode = "flat"; outputHashAlgo = "sha256"; outputHash = "sha256-%s=";
  };
  config-arm = text ''{"architecture": "arm64"}'';
  config-v8 = text ''{"config": {"Env": ["A=1"]}, "variant": "v8"}'';
}
""" % ("A" * 43)

_NAMES = (
    "native", "cross", "old", "arm", "darwin", "wasm", "fetched", "config-arm", "config-v8"
)  # fmt: skip

_BUILD = "".join(f'nix_package(name="{n}", source="default.nix", attr="{n}")\n' for n in _NAMES) + (
    """
nix_package(
    name="app",
    source="default.nix",
    attr="for-system",
    system=parametrize("x86_64-linux", "aarch64-linux"),
)
nix_package(
    name="named",
    source="default.nix",
    attr="for-system",
    system=parametrize(pc="x86_64-linux", phone="aarch64-linux"),
)
nix_package(
    name="two",
    source="default.nix",
    attr=parametrize(own="native", other="old"),
)
"""
)


@pytest.fixture(scope="module")
def packager() -> Packager:
    return Packager(machine_nix(), {"default.nix": _NIX, "ca.pem": "none", "tool": "#!/bin/sh\n"})


def _image(packager: Packager, fields: str, more: str = "", **parameters: str) -> dict[str, Any]:
    build = f'{_BUILD}{more}\nnix_image(name="image", {fields})\n'
    return packager.descriptor(build, parameters=parameters)


def _error(packager: Packager, fields: str, more: str = "", **parameters: str) -> str:
    build = f'{_BUILD}{more}\nnix_image(name="image", {fields})\n'
    return packager.error(build, parameters=parameters)


def _paths(image: dict[str, Any]) -> list[str]:
    return sorted(
        entry["path"][44:]
        for layer in image["layers"]
        for entry in layer["recipe"].get("entries", ())
    )


@pytest.mark.parametrize(
    "fields, platform",
    [
        ('packages=[":native"]', "amd64"),
        ('packages=[":cross"]', "arm64"),
        ('copy_to_root=[":cross"]', "arm64"),
        ('packages=[":old"]', "386"),
        ('packages=[":old", ":native"]', "amd64"),
        ('packages=[":arm", ":cross"]', "arm64"),
        ('packages=[":old"], architecture="amd64"', "amd64"),
        ('packages=[":old"], system="x86_64-linux"', "amd64"),
        ('packages=[":cross"], architecture="arm64", os="linux", variant="v8"', "arm64"),
        ('packages=[":arm"], variant="v7"', "arm"),
        ('packages=[":wasm"], architecture="wasm", os="wasip1"', "wasm"),
        ('architecture="arm64", variant="v8"', "arm64"),
        ('architecture="riscv64", variant="rva22u64"', "riscv64"),
        ('system="aarch64-linux"', "arm64"),
        ('config=":config-arm", architecture="amd64"', "amd64"),
    ],
)
def test_the_platform(packager: Packager, fields: str, platform: str) -> None:
    """It is that of the packages, also of those that are cross-compiled; without packages, what fields say."""
    assert _image(packager, fields)["platform"]["architecture"] == platform


@pytest.mark.parametrize(
    "fields, expected",
    [
        (
            'packages=[":native"], architecture="arm64"',
            "The field `architecture` of DIR:image is 'arm64', but its package DIR:native is for "
            "x86_64-linux, which is 'amd64'. Leave `architecture` out",
        ),
        ('packages=[":cross"], architecture="amd64"', "its package DIR:cross is for aarch64-linux"),
        ('copy_to_root=[":native"], architecture="arm64"', "its package DIR:native is for x86"),
        ('ignore=[":native"], architecture="arm64"', "its package DIR:native is for x86"),
        ('packages=[":native", ":old"], architecture="386"', "its package DIR:native is for x86"),
        (
            'dependencies=[":native"], entrypoint=["{native}"], architecture="arm64"',
            "its package DIR:native is for x86_64-linux",
        ),
        ('layers=[":layer"], architecture="arm64"', "its package DIR:native is for x86_64-linux"),
        (
            'packages=[":darwin"], os="linux"',
            "The field `os` of DIR:image is 'linux', but its package DIR:darwin is for aarch64-darwin, "
            "which is 'darwin'",
        ),
        (
            'config=":config-arm", packages=[":native"]',
            "In the file of the field `config` (:config-arm) of DIR:image, `architecture` is 'arm64', but",
        ),
        (
            'config=":config-v8", packages=[":native"]',
            "(:config-v8) of DIR:image, `variant` is 'v8', which is a variant of arm and arm64, but the "
            "image is for amd64",
        ),
        (
            'packages=[":native"], variant="v8"',
            "The field `variant` of DIR:image is 'v8', which is a variant of arm and arm64, but the image "
            "is for amd64. Leave it out, or set `architecture`",
        ),
        ('architecture="arm64", variant="v3"', "which is a variant of amd64, but the image is for arm64"),
        ('architecture="riscv64", variant="v7"', "which is a variant of arm, but"),
        ('packages=[":arm"], variant="v6"', "its package DIR:arm is for armv7l-linux, which needs 'v7'"),
        (
            'packages=[":native", ":cross"]',
            "DIR:image has packages for aarch64-linux and x86_64-linux: DIR:cross is for aarch64-linux, "
            "DIR:native is for x86_64-linux. Give the packages the same `system`",
        ),
        ('packages=[":cross"], layers=[":layer"]', "has packages for aarch64-linux and x86_64-linux"),
        (
            'packages=[":native"], system="aarch64-linux"',
            "The field `system` of DIR:image is 'aarch64-linux', but its package DIR:native is for "
            "x86_64-linux. Correct `system`",
        ),
        ('layers=[":layer"], system="aarch64-linux"', "The field `system` of DIR:image is"),
        ('layers=[":other-layer"]', "The field `system` of DIR:other-layer is 'aarch64-linux'"),
        ('system="aarch64-linux", architecture="amd64"', "but the field `system` is 'aarch64-linux'"),
        ('packages=[":wasm"]', "has packages for 'wasm32', for which images have another name"),
    ],
)
def test_contradictions(packager: Packager, fields: str, expected: str) -> None:
    """What fields say must be what the packages are for."""
    layers = """
nix_layer(name="layer", packages=[":native"])
nix_layer(name="other-layer", system="aarch64-linux", packages=[":native"])
"""
    assert expected in _error(packager, fields, layers)


def test_packages_without_a_system(packager: Packager) -> None:
    """What Nix itself fetches is for any; of a store path nothing is known. The field stands."""
    path = "/nix/store/" + "a" * 32 + "-x"
    more = f'nix_package(name="path", store_path="{path}")'
    text = _error(packager, 'packages=[":path"], architecture="s390x"', more)
    assert f"{path} (field `store_path`) is not in the Nix store" in text
    text = _error(packager, 'packages=[":fetched"], architecture="s390x"')
    assert "Nix could not build DIR/default.nix" in text
    text = _error(packager, 'packages=[":fetched", ":cross"], architecture="amd64"')
    assert "its package DIR:cross is for aarch64-linux" in text


_LAYERS = """
nix_layer(name="layer", system="aarch64-linux", packages=[":app"])
nix_layer(
    name="layers", system=parametrize("x86_64-linux", "aarch64-linux"), packages=[":app"]
)
"""


@pytest.mark.parametrize(
    "fields",
    [
        'packages=[":app"], system="aarch64-linux"',
        'packages=[":named"], system="aarch64-linux"',
        'packages=["DIR:app"], system="aarch64-linux"',
        'packages=[":app@system=aarch64-linux"]',
        'packages=[":named@system=phone"], system="aarch64-linux"',
        'packages=[":app@system=aarch64-linux", ":app"], system="aarch64-linux"',
        'copy_to_root=[":app"], system="aarch64-linux"',
        'layers=[":layer"]',
        'layers=[":layer"], system="aarch64-linux", packages=[":app"]',
        'layers=[":layers"], system="aarch64-linux"',
        'layers=[":layers@system=aarch64-linux"]',
        'dependencies=[":app"], entrypoint=["{app}"], system="aarch64-linux"',
        'dependencies=[":app@system=aarch64-linux"], entrypoint=["{app}"]',
        'packages=[":app"], entrypoint=["{app}"], system="aarch64-linux"',
        'packages=[":app"], entrypoint=["{DIR:app}"], system="aarch64-linux"',
        'packages=[":app"], entrypoint=["{app@system=aarch64-linux}"], system="aarch64-linux"',
        'packages=[":app"], symlinks={"/app": "{app}"}, system="aarch64-linux"',
    ],
)
def test_a_system_chooses(packager: Packager, fields: str) -> None:
    """Among the variants of packages and of layers; a whole address names one in any case."""
    image = _image(packager, fields, _LAYERS)
    assert image["platform"]["architecture"] == "arm64"
    assert set(_paths(image)) <= {"for-aarch64-linux"}


def test_a_system_chooses_the_config(packager: Packager) -> None:
    more = """
nix_package(
    name="config",
    source="default.nix",
    attr="config-arm",
    system=parametrize("x86_64-linux", "aarch64-linux"),
)
"""
    image = _image(packager, 'config=":config", system="aarch64-linux"', more)
    assert image["platform"]["architecture"] == "arm64"
    assert "The field `config` of DIR:image names ':config', which is" in _error(
        packager, 'config=":config"', more
    )


_PARTS = """
nix_package(
    name="certificates",
    source="default.nix",
    attr="certificates",
    system=parametrize("x86_64-linux", "aarch64-linux"),
)
file(name="plain", source="tool", description=parametrize(one="1", other="2"))
"""


def test_a_system_chooses_certificates(packager: Packager) -> None:
    image = _image(packager, 'ca_certificates=[":certificates"], system="aarch64-linux"', _PARTS)
    assert image["platform"]["architecture"] == "arm64"
    text = _error(packager, 'ca_certificates=[":certificates"]', _PARTS)
    assert "The field `ca_certificates` of DIR:image names ':certificates', which is" in text
    assert "* DIR:certificates@system=aarch64-linux * DIR:certificates@system=x86_64-linux" in text


def test_contents_are_named_by_whole_addresses(packager: Packager) -> None:
    """What has no `system` is not chosen by it."""
    _image(packager, 'contents={":plain@description=one": "/tool"}', _PARTS)
    text = _error(packager, 'contents={":plain": "/tool"}, system="aarch64-linux"', _PARTS)
    assert (
        "The field `contents` of DIR:image names ':plain', which is parametrized. Name one of these: * "
        "DIR:plain@description=one * DIR:plain@description=other" in text
    )


def test_an_image_for_each_system(packager: Packager) -> None:
    """A parametrized image has the packages and layers for its own system."""
    fields = (
        'system=parametrize("x86_64-linux", "aarch64-linux"), packages=[":named"], layers=[":layers"], '
        'entrypoint=["{named}"]'
    )
    for system, architecture in (("x86_64-linux", "amd64"), ("aarch64-linux", "arm64")):
        image = _image(packager, fields, _LAYERS, system=system)
        assert image["platform"]["architecture"] == architecture
        assert _paths(image) == [f"for-{system}"]


@pytest.mark.parametrize("field", ["packages", "copy_to_root", "ignore"])
def test_no_choice(packager: Packager, field: str) -> None:
    """The error has all the variants, and how one of them is chosen."""
    text = _error(packager, f'{field}=[":app"]')
    assert f"The field `{field}` of DIR:image names ':app', which is parametrized. Name one of these" in text
    assert "or choose by the field `system` of DIR:image: aarch64-linux, x86_64-linux:" in text
    assert "* DIR:app@system=aarch64-linux * DIR:app@system=x86_64-linux" in text


@pytest.mark.parametrize(
    "fields, expected",
    [
        (
            'packages=[":app"], system="riscv64-linux"',
            "and none of its variants is for the `system` 'riscv64-linux'",
        ),
        (
            'packages=[":two"]',
            "The field `packages` of DIR:image names ':two', which is parametrized. Name one of these: ",
        ),
        ('packages=[":two"], system="x86_64-linux"', "names ':two', which is parametrized. Name one of these: "),
        ('layers=[":layers"]', "The field `layers` of DIR:image names ':layers', which is parametrized"),
        ('layers=[":vague"]', "The field `packages` of DIR:vague names ':app', which is parametrized"),
        (
            'layers=[":vague"], system="aarch64-linux"',
            "or choose by the field `system` of DIR:vague: aarch64-linux, x86_64-linux",
        ),
        (
            'packages=[":app@system=x86_64-linux"], system="aarch64-linux"',
            "but its package DIR:app@system=x86_64-linux is for x86_64-linux",
        ),
        (
            'packages=[":app@system=x86_64-linux", ":app@system=aarch64-linux"]',
            "DIR:image has packages for aarch64-linux and x86_64-linux",
        ),
    ],
)
def test_no_one_choice(packager: Packager, fields: str, expected: str) -> None:
    vague = 'nix_layer(name="vague", packages=[":app"])'
    assert expected in _error(packager, fields, _LAYERS + vague)


def test_a_plan_for_each_system(packager: Packager) -> None:
    """Images and their plan are chosen by the system as well."""
    systems = 'system=parametrize("x86_64-linux", "aarch64-linux")'
    plan = f'nix_layer_plan(name="plan", images=[":image", ":second"], {systems})\n'
    second = f'nix_image(name="second", layer_plan=":plan", packages=[":app"], {systems})\n'
    fields = f'layer_plan=":plan", packages=[":app"], {systems}'
    image = _image(packager, fields, plan + second, system="aarch64-linux")
    assert _paths(image) == ["for-aarch64-linux"]
    vague = plan.replace(f", {systems}", "")
    text = _error(packager, fields, vague + second, system="aarch64-linux")
    assert "The field `images` of DIR:plan names ':image', which is parametrized" in text
    vague = 'layer_plan=":plan", packages=[":native"]'
    text = _error(packager, vague, plan + second)
    assert "The field `layer_plan` of DIR:image names ':plan', which is parametrized" in text


@pytest.mark.parametrize(
    "fields, expected",
    [
        ('packages=[":app"]', {":app@system=x86_64-linux", ":app@system=aarch64-linux"}),
        ('packages=[":app"], system="aarch64-linux"', {":app@system=aarch64-linux"}),
        ('packages=[":app@system=x86_64-linux"]', {":app@system=x86_64-linux"}),
        (
            'ignore=[":app"], config=":app"',
            {":app@system=x86_64-linux", ":app@system=aarch64-linux"},
        ),
        (
            'packages=[":app"], system="riscv64-linux"',
            {":app@system=x86_64-linux", ":app@system=aarch64-linux"},
        ),
        (
            'contents={":app": "/app"}, ca_certificates=[":two"]',
            {
                ":app@system=x86_64-linux",
                ":app@system=aarch64-linux",
                ":two@attr=own",
                ":two@attr=other",
            },
        ),
        (
            'layers=[":layers"]',
            {":layers@system=x86_64-linux", ":layers@system=aarch64-linux"},
        ),
    ],
)
def test_dependencies(packager: Packager, fields: str, expected: set[str]) -> None:
    """Where it cannot be told which one is meant, all are dependencies: other goals need none of them."""
    build = f'{_BUILD}{_LAYERS}\nnix_image(name="image", {fields})\n'
    assert packager.dependencies(build) == expected


def test_dependencies_of_a_plan(packager: Packager) -> None:
    """A plan does not depend on itself, under whatever address."""
    systems = 'system=parametrize("x86_64-linux", "aarch64-linux")'
    build = f"""{_BUILD}
nix_image(name="image", layer_plan=":plan", packages=[":app"])
nix_layer_plan(name="plan", images=[":image"], {systems})
"""
    both = {":app@system=x86_64-linux", ":app@system=aarch64-linux"}
    assert packager.dependencies(build, "plan", {"system": "x86_64-linux"}) == both
    plans = {":plan@system=x86_64-linux", ":plan@system=aarch64-linux"}
    assert packager.dependencies(build) == {*both, *plans}
