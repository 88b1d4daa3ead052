"""Errors in fields of images, layers and plans: they name the target, the field, and what to do."""

from __future__ import annotations

import pytest

from tests.integration.support.nix import machine_nix
from tests.pants_backend_nix.errors_support import SOURCES, image_of
from tests.pants_backend_nix.packager_support import Packager


@pytest.fixture(scope="module")
def errors() -> Packager:
    return Packager(machine_nix(), SOURCES)


def test_unknown_name_in_interpolation(errors: Packager) -> None:
    text = errors.error(image_of('source="default.nix", attr="good"', 'entrypoint=["{q}/bin/x"]'))
    assert "DIR:image: cannot interpolate '{q}/bin/x' in the field `entrypoint`" in text
    assert "Known names: * p" in text


def test_single_brace(errors: Packager) -> None:
    text = errors.error(image_of('source="default.nix", attr="good"', 'env={"A": "{"}'))
    assert "DIR:image: cannot interpolate '{' in the field `env`" in text and "`{{`" in text


def test_bad_permission_regex(errors: Packager) -> None:
    text = errors.error(
        image_of('source="default.nix", attr="good"', 'permissions=[{"path": "(", "mode": "0"}]')
    )
    assert "`permissions` of DIR:image is not valid" in text
    assert "missing ), unterminated subpattern" in text


@pytest.mark.parametrize(
    "path,why",
    (
        ("/nix(?=/)(/[a-z]+)*", "beside '(?'"),
        (r"(/.*)*\\b", "beside"),
        ("(.{0,255}){9}", "over 2000 characters"),
    ),
)
def test_permission_that_may_take_long(errors: Packager, path: str, why: str) -> None:
    text = errors.error(
        image_of('source="default.nix", attr="good"', f'permissions=[{{"path": "{path}", "mode": "0555"}}]')
    )
    assert "`permissions` of DIR:image is not valid" in text and why in text


def test_bad_permission_mode(errors: Packager) -> None:
    text = errors.error(
        image_of('source="default.nix", attr="good"', 'permissions=[{"path": "/", "mode": "9"}]')
    )
    assert "`permissions` of DIR:image is not valid" in text
    assert "the mode '9' is no octal number" in text


@pytest.mark.parametrize(
    "pattern, why",
    [
        ("", "it is empty"),
        ("/share/man", "it must be relative"),
        ("share/../man", "`.` and `..` match nothing"),
        ("share/**.1", "`**` stands for whole directories"),
    ],
)
def test_bad_excludes(errors: Packager, pattern: str, why: str) -> None:
    text = errors.error(image_of('source="default.nix", attr="good"', f'excludes=["a", "{pattern}"]'))
    assert "The field `excludes` of DIR:image has a pattern that matches nothing" in text
    assert f"{pattern!r} is not valid: {why}" in text and "`ignore`" in text


@pytest.mark.parametrize(
    "value, words",
    [
        ('"cap_net_raw"', "`capabilities` must be a list of at least one name"),
        ("[]", "`capabilities` must be a list of at least one name"),
        ("[1]", "capability 1 is not valid: expected one of cap_chown, "),
        ('["cap_ping"]', "capability 'cap_ping' is not valid: expected one of cap_chown, "),
    ],
)
def test_bad_capabilities(errors: Packager, value: str, words: str) -> None:
    permissions = f'permissions=[{{"path": "/a", "capabilities": {value}}}]'
    text = errors.error(image_of('source="default.nix", attr="good"', permissions))
    assert "`permissions` of DIR:image is not valid" in text
    assert words in text
    assert "`capabilities`: list of names of Linux capabilities" in text


@pytest.mark.parametrize("number", (0, -1, 126))
def test_bad_max_layers(errors: Packager, number: int) -> None:
    text = errors.error(image_of('source="default.nix", attr="good"', f"max_layers={number}"))
    assert f"The field `max_layers` of DIR:image is {number}" in text and "from 1 to 125" in text


def test_layer_that_is_no_layer(errors: Packager) -> None:
    text = errors.error(image_of('source="default.nix", attr="good"', 'layers=[":p"]'))
    assert "The field `layers` of DIR:image names DIR:p, which is a `nix_package`" in text


def test_layers_below_themselves(errors: Packager) -> None:
    text = errors.error(
        """
        nix_layer(name="a", layers=[":b"])
        nix_layer(name="b", layers=[":a"])
        nix_image(name="image", layers=[":a"])
        """
    )
    assert "DIR:a is below itself by the fields `layers` and `base`" in text
    assert "* DIR:a * DIR:b * DIR:a" in text


def test_config_that_is_no_config(errors: Packager) -> None:
    text = errors.error(
        image_of('source="default.nix", attr="bad-config"').replace('packages=[":p"]', 'config=":p"')
    )
    assert "The field `config` of DIR:image" in text and "is no image config" in text


def test_bad_image_tag(errors: Packager) -> None:
    text = errors.error(image_of('source="default.nix", attr="good"', 'image_tags=["a b"]'))
    assert "DIR:image:" in text and "`image_tags`" in text


def test_packages_for_two_systems(errors: Packager) -> None:
    text = errors.error(
        """
        nix_package(name="a", source="default.nix", attr="good")
        nix_package(name="b", source="default.nix", attr="arm")
        nix_image(name="image", packages=[":a", ":b"])
        """
    )
    assert "DIR:image has packages for aarch64-linux and x86_64-linux" in text


@pytest.mark.parametrize(
    "fields, more, owner",
    [
        ('layers=[":base"]', "", "image"),
        ('layers=[":layer"]', 'nix_layer(name="layer", layers=[":base"])', "layer"),
        ('layers=[":low", ":base"]', 'nix_layer(name="low")', "image"),
        (
            'layer_plan=":plan", layers=[":base"]',
            'nix_layer_plan(name="plan", images=[":image"])',
            "image",
        ),
        (
            'layer_plan=":plan"',
            'nix_layer_plan(name="plan", images=[":image", ":second"])\n'
            'nix_image(name="second", layer_plan=":plan", layers=[":base"])',
            "second",
        ),
    ],
)
def test_an_image_among_layers(errors: Packager, fields: str, more: str, owner: str) -> None:
    """Its config would be lost, so it is refused, wherever below the image it is named."""
    text = errors.error(
        'nix_package(name="p", source="default.nix", attr="good")\n'
        'nix_image(name="base", packages=[":p"], env={"A": "1"})\n'
        f'{more}\nnix_image(name="image", {fields})\n'
    )
    assert f"The field `layers` of DIR:{owner} names DIR:base, which is a `nix_image`" in text
    assert "its config would be lost. Name it in the field `base`, or a `nix_layer`" in text


def test_bad_change_rates_of_the_option(errors: Packager) -> None:
    text = errors.error(
        image_of('source="default.nix", attr="good"'),
        options=("--nix-images-change-rates={'a': -1}",),
    )
    assert "The option `[nix-images].change_rates` gives 'a' the rate -1" in text


_PLAN = 'nix_layer_plan(name="plan", images=[":image"])\n'


@pytest.mark.parametrize(
    "fields, plan, expected",
    [
        ('layer_groups=[["no-such-*"]]', "", "it matches no store path"),
        ('layer_groups=["a"]', "", "The 'layer_groups' field in target DIR:image must be a list of"),
        (
            'layer_groups=[["*"]], layering="popularity"',
            "",
            "DIR:image has the field `layer_groups` and `layering='popularity'`",
        ),
        ('change_rates={"a": -1}', "", "`change_rates` of DIR:image gives 'a' the rate -1"),
        ('change_rates={"a": "b"}', "", "it must be a number"),
        ('previous="default.json"', "", "`previous` of DIR:image names DIR/default.json, which is no"),
        ('layer_plan=":p"', "", "names DIR:p, which is a `nix_package`. Name a `nix_layer_plan`"),
        (
            'layer_plan=":plan"',
            'nix_layer_plan(name="plan", images=[":p"])\n',
            "The field `images` of DIR:plan names DIR:p, which is a `nix_package`",
        ),
        (
            'layer_plan=":plan"',
            'nix_layer_plan(name="plan", images=[])\n',
            "Add 'DIR:image' there",
        ),
        (
            'layer_plan=":plan", layering="popularity"',
            _PLAN,
            "DIR:image has the fields `layer_plan` and `layering`",
        ),
        (
            'layer_plan=":plan"',
            'nix_layer_plan(name="plan", images=[":image", ":second"])\n'
            'nix_image(name="second", packages=[":p"])\n',
            "names DIR:second, whose field `layer_plan` does not name the plan",
        ),
    ],
)
def test_bad_layering(errors: Packager, fields: str, plan: str, expected: str) -> None:
    errors.files["default.json"] = "{}"
    text = errors.error(image_of('source="default.nix", attr="good"', fields) + plan)
    assert expected in text
    assert "DIR:image" in text or "DIR:plan" in text
