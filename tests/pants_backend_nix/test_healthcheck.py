"""The fields `healthcheck` and `manifest_format`: what they make, what they refuse, what is said."""

from __future__ import annotations

from typing import Any

import pytest
from pants.engine.addresses import Address
from pants.engine.target import InvalidFieldException, InvalidFieldTypeException

from pants_backend_nix.targets.fields.config import NixHealthcheckField
from tests.integration.support.nix import machine_nix
from tests.pants_backend_nix.packager_support import Packager

_NIX = """
let text = name: script: derivation {
  inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-e" "-c" script ];
}; in {
  base = text "base" "echo base > $out";
  curl = text "curl" "echo curl > $out";
  config = text "config" ''
    echo '{"Healthcheck": {"Test": ["CMD", "/bin/check"], "Interval": 5000000000, "Retries": 7}}' > $out
  '';
  wrong = text "wrong" ''
    echo '{"Healthcheck": {"Test": ["/bin/check"]}}' > $out
  '';
}
"""

_PACKAGES = "".join(
    f'nix_package(name="{name}", source="default.nix", attr="{name}")\n'
    for name in ("base", "curl", "config", "wrong")
)

_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture(scope="module")
def packager() -> Packager:
    return Packager(machine_nix(), {"default.nix": _NIX})


def _image(packager: Packager, fields: str, *options: str) -> dict[str, Any]:
    build = f'{_PACKAGES}nix_image(name="image", packages=[":base"], {fields})'
    return packager.descriptor(build, options=options)


def _error(packager: Packager, fields: str, *options: str) -> str:
    build = f'{_PACKAGES}nix_image(name="image", packages=[":base"], {fields})'
    return packager.error(build, options=options)


def _healthcheck(packager: Packager, fields: str) -> Any:
    return _image(packager, fields)["config"]["config"].get("Healthcheck")


def test_a_program_with_times(packager: Packager) -> None:
    """As Docker writes it; the package that is named becomes part of the image."""
    image = _image(
        packager,
        """
        dependencies=[":curl"],
        healthcheck={
            "test": ["{curl}/bin/curl", "-f", "{{x}}"],
            "interval": "1m30s", "timeout": "500ms", "start_period": "10s", "start_interval": "1s",
            "retries": 3,
        },
        """,
    )
    healthcheck = image["config"]["config"]["Healthcheck"]
    program = healthcheck["Test"][1]
    assert program.startswith("/nix/store/") and program.endswith("-curl/bin/curl")
    assert healthcheck == {
        "Test": ["CMD", program, "-f", "{x}"],
        "Interval": 90 * 10**9,
        "Timeout": 5 * 10**8,
        "StartPeriod": 10**10,
        "StartInterval": 10**9,
        "Retries": 3,
    }
    entries = [entry["path"] for layer in image["layers"] for entry in layer["recipe"]["entries"]]
    assert program[: -len("/bin/curl")] in entries


def test_a_command_of_the_shell(packager: Packager) -> None:
    fields = 'dependencies=[":curl"], healthcheck={"test": "{curl} -f http://localhost || exit 1"}'
    kind, command = _healthcheck(packager, fields)["Test"]
    assert kind == "CMD-SHELL" and command.endswith("-curl -f http://localhost || exit 1")


def test_the_config_of_a_package_has_one(packager: Packager) -> None:
    """It is taken, replaced as a whole, or switched off."""
    config = 'config=":config"'
    assert _healthcheck(packager, config) == {
        "Test": ["CMD", "/bin/check"],
        "Interval": 5 * 10**9,
        "Retries": 7,
    }
    assert _healthcheck(packager, config + ', healthcheck={"test": ["/bin/other"]}') == {
        "Test": ["CMD", "/bin/other"]
    }
    assert _healthcheck(packager, config + ', healthcheck={"test": "NONE"}') == {"Test": ["NONE"]}


def test_the_config_of_a_package_is_checked(packager: Packager) -> None:
    text = _error(packager, 'config=":wrong"')
    assert "The field `config` of DIR:image" in text and 'expected "CMD" and a program' in text


@pytest.mark.parametrize(
    "value, message",
    [
        ({"test": ["CMD", "/bin/curl"]}, 'leave the "CMD" out'),
        ({"test": []}, 'expected "CMD" and a program'),
        ({"test": ""}, '"CMD-SHELL" and one command'),
        ({"test": ["a", 1]}, "expected a string"),
        ({"test": None}, "expected a list, a string"),
        ({"interval": "1s"}, "`test` is missing"),
        ({}, "`test` is missing"),
        ({"test": "NONE", "retries": 1}, "there is no check"),
        ({"test": ["a"], "interval": "30"}, "healthcheck interval '30'"),
        ({"test": ["a"], "timeout": 30}, "expected a duration such as 30s, 1m30s or 500ms, in a string"),
        ({"test": ["a"], "start_period": "10us"}, "healthcheck start_period 10000 is not valid: expected 0"),
        ({"test": ["a"], "start_interval": "-1s"}, "healthcheck start_interval '-1s'"),
        ({"test": ["a"], "retries": -1}, "healthcheck retries -1"),
        ({"test": ["a"], "retries": "3"}, "healthcheck retries '3'"),
        ({"test": ["a"], "start-period": "1s"}, "there is no key 'start-period'"),
    ],
)
def test_values_that_are_refused(value: Any, message: str) -> None:
    """Where they are written, by target and field."""
    with pytest.raises(InvalidFieldException) as caught:
        NixHealthcheckField(value, Address("app", target_name="image"))
    assert "The field `healthcheck` of app:image is not valid: " in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", ["curl", ["curl"], {1: "x"}, 3])
def test_values_of_other_types(value: Any) -> None:
    with pytest.raises(InvalidFieldTypeException) as caught:
        NixHealthcheckField(value, Address("app", target_name="image"))
    assert "healthcheck" in str(caught.value) and "a dictionary" in str(caught.value)


def test_unknown_packages_are_named(packager: Packager) -> None:
    text = _error(packager, 'healthcheck={"test": ["{nothing}/bin/x"]}')
    assert "DIR:image: cannot interpolate '{nothing}/bin/x' in the field `healthcheck`" in text


_CHECK = 'healthcheck={"test": ["/bin/check"]}'


@pytest.mark.parametrize(
    "fields, warned",
    [
        (_CHECK, True),
        ('config=":config"', True),
        (_CHECK + ', compression="zstd"', True),
        (_CHECK + ', manifest_format="docker"', False),
        (_CHECK + ', output_format="docker-archive"', False),
        ('config=":config", healthcheck={"test": "NONE"}', False),
        ("", False),
    ],
)
def test_what_podman_drops_is_said_once(
    packager: Packager, fields: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With the target, the field and the way out; where the image keeps it nothing is said."""
    _image(packager, fields)
    texts = [record.getMessage() for record in caplog.records if "healthcheck" in record.getMessage()]
    assert len(texts) == warned
    for text in texts:
        assert text.startswith(f"{packager.directory}:image has a healthcheck")
        assert '`manifest_format="docker"`' in text


def test_manifests_of_docker(packager: Packager) -> None:
    """By field or option; the field wins. Layers and config are those of the OCI image."""
    oci = _image(packager, "")
    field = _image(packager, 'manifest_format="docker"')
    option = _image(packager, "", "--nix-images-manifest-format=docker")
    other = _image(packager, 'manifest_format="oci"', "--nix-images-manifest-format=docker")
    assert (field, other) == (option, oci)
    assert field["mediaType"] == field["manifest"]["mediaType"] == _DOCKER_MANIFEST
    assert field["configDigest"] == oci["configDigest"] and field["digest"] != oci["digest"]
    assert [layer["digest"] for layer in field["layers"]] == [layer["digest"] for layer in oci["layers"]]
    plain = "application/vnd.docker.image.rootfs.diff.tar"
    assert [layer["mediaType"] for layer in field["manifest"]["layers"]] == [plain]
    packed = _image(packager, 'manifest_format="docker", compression="gzip"')
    assert [layer["mediaType"] for layer in packed["layers"]] == [f"{plain}.gzip"]


def test_they_have_no_annotations_of_layers(packager: Packager) -> None:
    """The option is for all images; those that can have none go without."""
    option = "--nix-images-annotate-layers"
    assert "annotations" in _image(packager, "", option)["manifest"]["layers"][0]
    assert _image(packager, 'manifest_format="docker"', option) == _image(
        packager, 'manifest_format="docker"'
    )


@pytest.mark.parametrize(
    "fields, options, messages",
    [
        (
            'manifest_format="docker", annotations={"a": "b"}',
            (),
            ('the field `annotations` and `manifest_format="docker"`', "Make them `labels`"),
        ),
        (
            'annotations={"a": "b"}',
            ("--nix-images-manifest-format=docker",),
            ("the field `annotations` and the option `[nix-images].manifest_format` (docker)",),
        ),
        (
            'manifest_format="docker", output_format="oci-layout"',
            (),
            ('`output_format="oci-layout"` and `manifest_format="docker"`', "`docker-archive`"),
        ),
        (
            'output_format="oci-archive"',
            ("--nix-images-manifest-format=docker",),
            ('`output_format="oci-archive"` and the option', '`manifest_format="oci"`'),
        ),
        (
            'manifest_format="docker", compression="zstd"',
            (),
            ('`compression="zstd"`', 'Set `compression` to "gzip" or "none"'),
        ),
        (
            'manifest_format="docker"',
            ("--nix-images-compression=zstd",),
            ('`compression="zstd"`, by field or option, and `manifest_format="docker"`',),
        ),
    ],
)
def test_what_contradicts_the_format(
    packager: Packager, fields: str, options: tuple[str, ...], messages: tuple[str, ...]
) -> None:
    """Both are named, and the way out."""
    text = _error(packager, fields, *options)
    assert text.startswith("DIR:image has ")
    for message in messages:
        assert message in text
