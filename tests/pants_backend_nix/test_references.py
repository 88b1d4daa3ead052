"""What images are called: fields, options and placeholders, as with `docker_image`."""

from __future__ import annotations

import pytest

from tests.integration.support.nix import machine_nix
from tests.pants_backend_nix.packager_support import Packager

_REGISTRIES = (
    "{'ours': {'address': 'r.example:5000', 'default': True, 'extra_image_tags': ['{build_args.TAG}']},"
    " 'own': {'address': 'own.example/base', 'repository': 'x/{target_repository}'}}"
)


@pytest.fixture(scope="module")
def packager() -> Packager:
    return Packager(machine_nix(), {})


def references(packager: Packager, fields: str, *options: str) -> list[str]:
    found = packager.descriptor(f'nix_image(name="image", {fields})', options=options)
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
        ('image_tags=["{build_args.V}"]', (), "The placeholder 'V' is unknown"),
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
