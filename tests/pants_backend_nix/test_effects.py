"""What fields say in vain is an error where it can only be a mistake, and a warning otherwise."""

from __future__ import annotations

import pytest

from tests.integration.support.nix import machine_nix
from tests.pants_backend_nix.packager_support import Packager

_NIX = """
let make = name: attributes: script: derivation (attributes // {
  inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-e" "-c" script ];
}); in rec {
  base = make "base" { } "echo base > $out";
  user = make "user" { inherit base; } "echo $base > $out";
  alone = make "alone" { } "echo alone > $out";
  tool = make "tool" { } "/bin/mkdir -p $out/bin; echo > $out/bin/tool; /bin/ln -s tool $out/bin/link";
  etc = make "etc" { } "/bin/mkdir -p $out/etc; echo > $out/etc/shadow";
  config = make "config" { } "echo '{}' > $out";
}
"""

_TARGETS = "".join(
    f'nix_package(name="{name}", source="default.nix", attr="{name}")\n'
    for name in ("base", "user", "alone", "tool", "etc", "config")
) + """
file(name="file", source="a.txt")
"""

_LAYERS = """
nix_layer(name="below", packages=[":tool"], copy_to_root=[":etc"])
nix_layer(name="user-below", packages=[":user"])
"""


@pytest.fixture(scope="module")
def packager() -> Packager:
    return Packager(machine_nix(), {"default.nix": _NIX, "a.txt": "a"})


def _build(fields: str) -> str:
    return f'{_TARGETS}{_LAYERS}nix_image(name="image", {fields})\n'


@pytest.mark.parametrize(
    "fields, words",
    [
        pytest.param(
            'packages=[":tool"], permissions=[{"path": "/etc/shadow", "mode": "0600"}]',
            ["nothing that the target itself brings has such a path"],
            id="nowhere",
        ),
        pytest.param(
            'packages=[":tool"], permissions=[{"path": "bin/tool", "mode": "0755"}]',
            ["It must match a whole path in the image"],
            id="relative",
        ),
        pytest.param(
            'packages=[":tool"], permissions=[{"path": "{tool}/bin/link", "mode": "0755"}]',
            ["symbolic links have no modes"],
            id="mode-of-a-link",
        ),
        pytest.param(
            'packages=[":tool"], permissions=[{"path": "{tool}/bin", "capabilities": ["cap_kill"]}]',
            ["only regular files have capabilities"],
            id="capabilities-of-a-directory",
        ),
        pytest.param(
            'packages=[":tool"], permissions=[{"path": "{tool}/bin/.*", "mode": "0755"}, {"path": "/x", "uid": 1}]',
            ["for '/x'"],
            id="one-of-two",
        ),
        pytest.param(
            'layers=[":below"], permissions=[{"path": "/etc/shadow", "mode": "0600"}]',
            ["is in the layers of DIR:below. Move the entry to the field `permissions` there"],
            id="copied-below",
        ),
        pytest.param(
            'layers=[":below"], packages=[":user"], permissions=[{"path": ".*-tool/bin/.*", "mode": "0755"}]',
            ["is in the layers of DIR:below."],
            id="package-below",
        ),
        pytest.param(
            'contents={":file": "/app/file"}, permissions=[{"path": "/app/.*", "mode": "0600"}]',
            ["/app/file is no file of a package", "in the entry of `contents`"],
            id="contents",
        ),
        pytest.param(
            'directories=[{"path": "/tmp"}], permissions=[{"path": "/tmp", "mode": "1777"}]',
            ["/tmp is no file of a package", "or in `directories`"],
            id="directories",
        ),
        pytest.param(
            'packages=[":tool"], excludes=["bin/tool"], permissions=[{"path": "{tool}/bin/tool", "uid": 1}]',
            ["changes nothing"],
            id="excluded",
        ),
        pytest.param(
            'packages=[":tool"], permissions=[{"path": "/nix/var/nix/db/.*", "uid": 1}]',
            ["changes nothing"],
            id="no-database",
        ),
    ],
)
def test_permissions_that_change_nothing(packager: Packager, fields: str, words: list[str]) -> None:
    error = packager.error(_build(fields))
    assert error.startswith("The field `permissions` of DIR:image has an entry for ")
    for word in words:
        assert word in error


@pytest.mark.parametrize(
    "fields",
    [
        'packages=[":tool"], permissions=[{"path": "{tool}/bin/link", "uid": 7}]',
        'packages=[":tool"], permissions=[{"path": "{tool}/bin/.*", "capabilities": ["cap_kill"]}]',
        'packages=[":tool"], permissions=[{"path": "/nix/store", "mode": "1775"}]',
        'packages=[":tool"], nix_database=True, permissions=[{"path": "/nix/var/nix/db", "uid": 1}]',
        'copy_to_root=[":etc"], permissions=[{"path": "/etc/.*", "mode": "0600"}, {"path": "/etc", "mode": "0700"}]',
    ],
)
def test_permissions_that_change_something(packager: Packager, fields: str) -> None:
    assert packager.descriptor(_build(fields))


@pytest.mark.parametrize(
    "fields, words",
    [
        ('packages=[":base"], ignore=[":base"]', "`packages`, so that it gets into the image"),
        ('copy_to_root=[":etc"], ignore=[":etc"]', "`copy_to_root`, so that it gets into the image"),
        (
            'packages=[":base"], copy_to_root=[":etc"], ignore=[":etc", ":base"]',
            "and keeps /nix/store/",
        ),
        ('packages=[":config"], config=":config"', "by its field `config`, which names DIR:config"),
        ('entrypoint=["{base}"], packages=[":user"], ignore=[":base"]', "names DIR:base in a string"),
    ],
)
def test_packages_that_are_wanted_and_kept_out(packager: Packager, fields: str, words: str) -> None:
    error = packager.error(_build(fields))
    assert error.startswith("DIR:image names DIR:")
    assert words in error and "Take it out of one of them." in error


@pytest.mark.parametrize(
    "fields, words",
    [
        ('packages=[":tool"], ignore=[":alone"]', "`ignore` names DIR:alone, which nothing here references"),
        (
            'packages=[":tool"], layers=[":user-below"], ignore=[":user"]',
            "`ignore` names DIR:user, which a layer below holds",
        ),
        # All that it references is here without it.
        ('packages=[":base"], ignore=[":user"]', "`ignore` names DIR:user, which nothing here references"),
        ('packages=[":tool"], dependencies=[":file"]', "`dependencies` names DIR:file, of which nothing"),
        ('packages=[":tool"], dependencies=[":alone"]', "`dependencies` names DIR:alone, of which nothing"),
    ],
)
def test_fields_without_effect(
    packager: Packager, caplog: pytest.LogCaptureFixture, fields: str, words: str
) -> None:
    assert packager.descriptor(_build(fields))
    text = " ".join(caplog.text.split()).replace(packager.directory, "DIR")
    assert f"These have no effect: * DIR:image: {words}" in text


@pytest.mark.parametrize(
    "fields",
    [
        # It brings what it references.
        'packages=[":tool"], ignore=[":user"]',
        # Nothing here references it any more, and it is there without the field.
        'config=":config"',
        'entrypoint=["{tool}/bin/tool"], dependencies=[":tool"]',
        'contents={":file": "/x"}, dependencies=[":file"]',
        'packages=[":tool"], dependencies=[":tool", "!:user"]',
    ],
)
def test_fields_with_effect(
    packager: Packager, caplog: pytest.LogCaptureFixture, fields: str
) -> None:
    assert packager.descriptor(_build(fields))
    assert "no effect" not in caplog.text
