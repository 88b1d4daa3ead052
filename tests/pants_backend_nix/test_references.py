"""What images are called: fields, options and placeholders, as with `docker_image`."""

from __future__ import annotations

from typing import Mapping

import pytest
from pants.engine.addresses import Address
from pants.engine.target import InvalidFieldException
from pants.util.value_interpolation import InterpolationError

from pants_backend_nix.targets.fields.publish import NixExtraBuildArgsField
from pants_backend_nix.targets.placeholders import Placeholder, slug
from tests.integration.support.nix import machine_nix
from tests.pants_backend_nix.packager_support import Packager

_REGISTRIES = (
    "{'ours': {'address': 'r.example:5000', 'default': True, 'extra_image_tags': ['{build_args.TAG}']},"
    " 'own': {'address': 'own.example/base', 'repository': 'x/{target_repository}'}}"
)


@pytest.fixture(scope="module")
def packager() -> Packager:
    return Packager(machine_nix(), {})


def references(
    packager: Packager, fields: str, *options: str, environment: Mapping[str, str] = {}
) -> list[str]:
    found = packager.descriptor(
        f'nix_image(name="image", {fields})', options=options, environment=environment
    )
    return [name.replace(f"case{packager.number}", "DIR") for name in found["references"]]


@pytest.mark.parametrize(
    "fields, options, expected",
    [
        ("", (), ["image:latest"]),
        ('repository="acme/API", image_tags=["1", "2", "1"]', (), ["acme/api:1", "acme/api:2"]),
        ('repository="{directory}/{name}"', (), ["DIR/image:latest"]),
        ("", ("--nix-images-default-repository=all/{directory}/{name}",), ["all/DIR/image:latest"]),
        (
            'image_tags=["{build_args.A}-{build_args.B}"]',
            ("--nix-images-build-args=A=1 B=2",),
            ["image:1-2"],
        ),
        ('registries=["r.example"]', (), ["r.example/image:latest"]),
        (
            "",
            (f"--nix-images-registries={_REGISTRIES}", "--nix-images-build-args=TAG=main"),
            ["r.example:5000/image:latest", "r.example:5000/image:main"],
        ),
        (
            'registries=["@own"], repository="api"',
            (f"--nix-images-registries={_REGISTRIES}",),
            ["own.example/base/x/api:latest"],
        ),
        (
            'registries=["@ours", "@docker", "other.example"]',
            (
                "--docker-registries={'docker': {'address': 'd.example', 'extra_image_tags': ['d']},"
                " 'ours': {'address': 'hidden.example'}}",
                "--nix-images-registries={'ours': {'address': 'r.example'}}",
            ),
            [
                "r.example/image:latest",
                "d.example/image:latest",
                "d.example/image:d",
                "other.example/image:latest",
            ],
        ),
    ],
)
def test_names(
    packager: Packager, fields: str, options: tuple[str, ...], expected: list[str]
) -> None:
    """The names that `docker_image` would have, and no image is another one for its names."""
    assert expected == references(packager, fields, *options)


def test_the_hash_is_that_of_the_image(packager: Packager) -> None:
    """`{pants.hash}` is the same exactly if the image is."""
    digests = []
    for fields in ("", 'repository="other"', 'cmd=["x"]'):
        found = packager.descriptor(
            f'nix_image(name="image", image_tags=["{{pants.hash}}"], {fields})'
        )
        assert found["references"][0].partition(":")[2] == found["digest"].partition(":")[2]
        digests.append(found["digest"])
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    "fields, options, message",
    [
        ('registries=["@x"]', (), "no registry has the alias '@x'. Add it to the option"),
        ('image_tags=["{version}"]', (), "The placeholder 'version' is unknown"),
        ('image_tags=["{build_args.V}"]', (), "The build arg 'V' is undefined"),
        ('image_tags=["{"]', (), "Correct the field `repository` or `image_tags`"),
        ('image_tags=["{}"]', (), "`image_tags` field of the `nix_image` target"),
        ("image_tags=[]", (), "has no tags. Give it some in the field `image_tags`"),
        ('repository="a b"', (), "Correct the field `repository` or `image_tags`"),
        ("", ("--nix-images-registries={'a': {}}",), "'a' of `[nix-images].registries` needs an"),
        (
            "",
            ("--nix-images-registries={'a': {'address': 'x', 'cafile': ''}}",),
            "has the unknown key 'cafile'. There are address,",
        ),
        (
            "",
            ("--nix-images-registries={'a': {'address': 'x', 'skip_push': 'no'}}",),
            "The key `skip_push` of the registry 'a'",
        ),
        (
            "",
            ("--nix-images-registries={'a': {'address': 'x', 'plain_http': True, 'ca_file': 'y'}}",),
            "plain_http has no use for settings of TLS",
        ),
    ],
)
def test_errors(packager: Packager, fields: str, options: tuple[str, ...], message: str) -> None:
    """They name the target or the option, and the way out."""
    error = packager.error(f'nix_image(name="image", {fields})', options=options)
    assert message in error
    assert "DIR:image" in error or "[nix-images].registries" in error


def test_short_hashes(packager: Packager) -> None:
    """`{pants.hash:12}` is the first 12 characters, in all that is a name."""
    registries = {"a": {"address": "r.example", "default": True, "extra_image_tags": ["{pants.hash:8}"]}}
    found = packager.descriptor(
        'nix_image(name="image", repository="x/{pants.hash:4}", image_tags=["{pants.hash:12}", "v{pants.hash:.7}"])',
        options=(f"--nix-images-registries={registries}",),
    )
    digest = found["digest"].partition(":")[2]
    assert found["references"] == [
        f"r.example/x/{digest[:4]}:{tag}" for tag in (digest[:12], f"v{digest[:7]}", digest[:8])
    ]


@pytest.mark.parametrize(
    "fields, options, expected",
    [
        ('image_tags=["{build_args.BRANCH:slug}"]', "BRANCH", ["image:feature-abc-1"]),
        ('image_tags=["{build_args.BRANCH:slug:9}-x"]', "BRANCH", ["image:feature-a-x"]),
        ('image_tags=["{build_args.BRANCH:slug:8}-x"]', "BRANCH", ["image:feature-x"]),
        ('image_tags=["{build_args.V:3}"]', "V=1.2.3", ["image:1.2"]),
        ('repository="{build_args.BRANCH:slug}/{name:2}"', "BRANCH", ["feature-abc-1/im:latest"]),
    ],
)
def test_formats(packager: Packager, fields: str, options: str, expected: list[str]) -> None:
    """Values are shortened, and branches have slugs."""
    assert expected == references(
        packager,
        fields,
        f"--nix-images-build-args={options}",
        environment={"BRANCH": "feature/ABC_1"},
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        ("main", "main"),
        ("feature/ABC_1", "feature-abc-1"),
        ("release/1.2", "release-1-2"),
        ("-.x.-", "x"),
        ("a//b", "a--b"),
        ("Ünï", "n"),
        ("日本", ""),
        ("x" * 200, "x" * 128),
        ("x" * 127 + "/y", "x" * 127),
    ],
)
def test_slugs(text: str, expected: str) -> None:
    """Each is a valid tag, and what GitLab makes of it but for the length."""
    assert slug(text) == expected


def test_conversions_keep_formats() -> None:
    """`!s` changes nothing, as in `str.format`."""
    assert "{0!s:4}{0!s}{0:slug}".format(Placeholder("A/bcd")) == "A/bcA/bcda-bcd"


@pytest.mark.parametrize("spec", ["foo", "0", "129", ">12", "slug:", "slug:0", "slug:x", "12:slug", "s"])
def test_unknown_formats(spec: str) -> None:
    with pytest.raises(InterpolationError, match="A placeholder has no format '"):
        format(Placeholder("text"), spec)


@pytest.mark.parametrize(
    "fields, environment, expected",
    [
        ('extra_build_args=["A=own"]', {}, "own-option"),
        ('extra_build_args=["A"]', {"A": "environment"}, "environment-option"),
        # A bare name has a default: in the field, or in the option.
        ('extra_build_args=["A=own", "A"]', {}, "own-option"),
        ('extra_build_args=["A=own", "A"]', {"A": "environment"}, "environment-option"),
        ('extra_build_args=["B"]', {"A": "a"}, "a-option"),
        ('extra_build_args=["B", "B=last"]', {"A": "a", "B": "b"}, "a-last"),
        ('extra_build_args=["A=x=y"]', {}, "x-y-option"),
        ('extra_build_args=["A=" + env("BRANCH", "main")]', {}, "main-option"),
    ],
)
def test_build_args_of_an_image(
    packager: Packager, fields: str, environment: Mapping[str, str], expected: str
) -> None:
    """As in `docker_image` they come after those of the option, and the last value counts."""
    tags = 'image_tags=["{build_args.A:slug}-{build_args.B}"]'
    assert [f"image:{expected}"] == references(
        packager,
        f"{tags}, {fields}",
        "--nix-images-build-args=B=option A",
        environment=environment,
    )


_UNSET = "takes it from the environment, where the variable {0} is not set. Set it, or give a default"


@pytest.mark.parametrize(
    "fields, options, messages",
    [
        (
            'image_tags=["{build_args.V}"]',
            ("--nix-images-build-args=V",),
            ["`image_tags` field", "the option `[nix-images].build_args` " + _UNSET.format("V")],
        ),
        (
            'image_tags=["1"], repository="{build_args.V:slug}", extra_build_args=["V"]',
            (),
            ["`repository` field", "`extra_build_args` of DIR:image " + _UNSET.format("V")],
        ),
        (
            'extra_build_args=["OTHER=1"]',
            (f"--nix-images-registries={_REGISTRIES}", "--nix-images-build-args=TAG"),
            ["extra_image_tags of r.example:5000", "has no value", '`["TAG=value", "TAG"]`'],
        ),
        (
            'extra_build_args=["V"]',
            ("--nix-images-default-repository={build_args.V}/{name}",),
            ["DIR:image: Invalid value for the `[nix-images].default_repository`", "V is not set"],
        ),
        (
            'image_tags=["{build_args.W}"], extra_build_args=["V"]',
            (),
            ["The build arg 'W' is undefined. Defined build args are: V.", "`extra_build_args`"],
        ),
        (
            'image_tags=["{build_args.V:upper}"], extra_build_args=["V=1"]',
            (),
            ["`image_tags` field", "has no format 'upper'. There are `:12`"],
        ),
        (
            "",
            ("--nix-images-default-repository={name:x}",),
            ["DIR:image", "default_repository` configuration option", "has no format 'x'"],
        ),
        (
            'image_tags=["{build_args.V:slug}"], extra_build_args=["V=…"]',
            (),
            ["'…' has nothing that the format 'slug' keeps"],
        ),
        ('image_tags=["{pants.hash:64}"]', (), ["changes nothing: the hash is 64 letters"]),
        ('image_tags=["{pants.hash:slug}"]', (), ["changes nothing", "such as `:12`"]),
        (
            'registries=["@own"]',
            (
                "--nix-images-registries={'own': {'address': 'o.example', 'repository': '{target_repository:slug}'}}",
            ),
            ["repository of o.example", "The format 'slug' is for values", "`{directory:slug}`"],
        ),
        (
            'image_tags=["{build_args.V}"], extra_build_args=["V=feature/x"]',
            (),
            ["tag 'feature/x' is not valid", "`{build_args.NAME:slug}`"],
        ),
        (
            "",
            ("--nix-images-build-args=1X=2",),
            ["'1X=2' of the option `[nix-images].build_args` is not valid: the name '1X'"],
        ),
    ],
)
def test_errors_of_placeholders(
    packager: Packager, fields: str, options: tuple[str, ...], messages: list[str]
) -> None:
    """They name the target, the field or option, and the way out."""
    error = packager.error(f'nix_image(name="image", {fields})', options=options)
    assert [message for message in messages if message not in error] == [], error


def test_what_no_name_uses_needs_no_value(packager: Packager) -> None:
    """The option is for all images."""
    assert references(packager, "", "--nix-images-build-args=V") == ["image:latest"]


@pytest.mark.parametrize("entry", ["", "=x", "1X=2", "A-B", "A B=1", "keys", "get=1", "BRANCH*"])
def test_invalid_names_of_build_args(entry: str) -> None:
    with pytest.raises(InvalidFieldException) as caught:
        NixExtraBuildArgsField(["GOOD", entry], Address("app", target_name="image"))
    assert f"The entry {entry!r} of the field `extra_build_args` of app:image" in str(caught.value)


@pytest.mark.parametrize(
    "fields, idle",
    [
        ('extra_build_args=["A=1"]', "A"),
        ('extra_build_args=["A=1", "B", "C=2"], image_tags=["{build_args.A}"]', "B, C"),
        ('extra_build_args=["A=1", "A"], image_tags=["latest"]', "A"),
        ('extra_build_args=["A=1"], repository="x{build_args.A}"', ""),
        # A value can have a placeholder itself.
        ('extra_build_args=["A={build_args.B}", "B=1"], image_tags=["{build_args.A}"]', ""),
    ],
)
def test_build_args_without_effect(
    packager: Packager, caplog: pytest.LogCaptureFixture, fields: str, idle: str
) -> None:
    """What does nothing is warned of; other images may use what the option says."""
    references(packager, fields, "--nix-images-build-args=FOR_OTHERS=1")
    words = "DIR:image: these entries of `extra_build_args` have no effect"
    text = caplog.text.replace(packager.directory, "DIR")
    assert (words in text) == bool(idle)
    assert idle in text and "FOR_OTHERS" not in text
    assert not idle or text.rstrip().endswith(f"}}`: {idle}")


@pytest.mark.parametrize(
    "field, messages",
    [
        (
            'labels={"l": "{build_args.REV}"}',
            ["in the field `labels`: build args are for names of images", '`env("REV")`'],
        ),
        ('env={"E": "x-{build_args.REV:slug}"}', ["in the field `env`", '`env("REV")`']),
        ('annotations={"a": "{build_args[REV]}"}', ["in the field `annotations`", '`env("REV")`']),
        ('entrypoint=["/{build_args.REV}"]', ["in the field `entrypoint`", '`env("REV")`']),
        (
            'permissions=[{"path": "/{build_args.REV}", "uid": 1}]',
            ["in the field `permissions`", '`env("REV")`'],
        ),
        # In fields and keys that have no placeholders, too.
        ('author="{build_args.REV}"', ["in the field `author`", '`env("REV")`']),
        ('volumes=["/{build_args.REV}"]', ["in the field `volumes`", '`env("REV")`']),
        ('env={"{build_args.REV}": "1"}', ["in the field `env`", '`env("REV")`']),
        ('labels={"l": "{build_args}"}', ["in the field `labels`", '`env("NAME")`']),
        ('labels={"l": "{pants.hash:12}"}', ["in the field `labels`: the hash is for names"]),
        ('cmd=["{name}"]', ["in the field `cmd`: 'name' is for the field `repository`"]),
        ('env={"E": "{directory}"}', ["in the field `env`: 'directory' is for the field"]),
    ],
)
def test_placeholders_of_names_elsewhere(
    packager: Packager, field: str, messages: list[str]
) -> None:
    """It is said where they belong, and what there is instead."""
    error = packager.error(
        f'nix_image(name="image", {field})', options=("--nix-images-build-args=REV=1",)
    )
    assert "DIR:image: cannot interpolate" in error
    assert [message for message in messages if message not in error] == [], error


def test_other_braces_are_left_alone_where_nothing_is_interpolated(packager: Packager) -> None:
    assert packager.descriptor('nix_image(name="image", author="{a} {2} {", volumes=["/{x}"])')


def test_labels_take_the_environment(packager: Packager) -> None:
    """The way out that the error names."""
    digests = {
        packager.descriptor(
            'nix_image(name="image", labels={"l": "revision-" + env("REV", "default")})',
            environment=environment,
        )["digest"]
        for environment in ({}, {"REV": "1"}, {"REV": "2"})
    }
    assert len(digests) == 3
