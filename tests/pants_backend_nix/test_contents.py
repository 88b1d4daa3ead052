"""What Pants builds and what the repository has, in layers of files. No Nix takes part in it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.pants_backend_nix.packager_support import Packager

_FILES = {
    "a.txt": "a",
    "b.txt": "b",
    "sub/c.txt": "c",
    "tool.sh": "#!/bin/sh\n",
}

_TARGETS = """
file(name="a", source="a.txt")
file(name="b", source="b.txt")
file(name="c", source="sub/c.txt")
file(name="tool", source="tool.sh")
files(name="texts", sources=["*.txt", "sub/*.txt"])
files(name="all", sources=["a.txt", "tool.sh"])
archive(name="archive", files=[":a"], format="tar", output_path="out/all.tar")
"""

_USERS = 'users=[{"name": "app", "uid": 1000, "gid": 50}, {"name": "web", "uid": 1001}]'


@pytest.fixture(scope="module")
def packager() -> Packager:
    return Packager(None, _FILES)


def _fact(entry: dict[str, Any]) -> str:
    if "target" in entry:
        return f"-> {entry['target']}"
    kind = "" if "sha256" in entry or "text" in entry else "directory "
    owner = entry.get("owner")
    return f"{kind}{entry['mode']}" + (f" {owner['uid']}:{owner['gid']}" if owner else "")


def _layers(packager: Packager, image: dict[str, Any]) -> list[dict[str, str]]:
    """Returns mode and owner (unless root) of what is in each layer, by path; `DIR` is the directory."""
    return [
        {
            entry["path"].replace(packager.directory, "DIR"): _fact(entry)
            for entry in layer["recipe"]["files"]
        }
        for layer in image["layers"]
    ]


def _leaves(layers: list[dict[str, str]]) -> list[list[str]]:
    """Returns the paths of each layer that are no directories."""
    return [
        [path for path, fact in layer.items() if not fact.startswith("directory")]
        for layer in layers
    ]


def _packaged(packager: Packager, fields: str, more: str = "") -> list[dict[str, str]]:
    """Packages an image with some fields and returns its layers."""
    build = f'{_TARGETS}{more}\nnix_image(name="image", {fields})\n'
    return _layers(packager, packager.descriptor(build))


@pytest.mark.parametrize(
    "contents, expected",
    [
        pytest.param('{":a": "/x/y"}', {"/x/y": "0444"}, id="one-file"),
        pytest.param('{":a": "/y"}', {"/y": "0444"}, id="at-the-root"),
        pytest.param('{":a": "/x/"}', {"/x/DIR/a.txt": "0444"}, id="directory"),
        pytest.param('{":a": "/"}', {"/DIR/a.txt": "0444"}, id="root-directory"),
        pytest.param(
            '{":texts": "/x/"}',
            {"/x/DIR/a.txt": "0444", "/x/DIR/b.txt": "0444", "/x/DIR/sub/c.txt": "0444"},
            id="files",
        ),
        pytest.param(
            '[nix_contents(":texts", to="/x/", strip_prefix="DIR")]',
            {"/x/a.txt": "0444", "/x/b.txt": "0444", "/x/sub/c.txt": "0444"},
            id="strip-prefix",
        ),
        pytest.param(
            '[nix_contents(":c", "/x/", strip_prefix="/DIR/sub/")]', {"/x/c.txt": "0444"}, id="slashes"
        ),
        pytest.param(
            '[nix_contents(":all", to="/", strip_prefix="DIR")]',
            {"/a.txt": "0444", "/tool.sh": "0555"},
            id="executable",
        ),
        pytest.param(
            '[nix_contents(":all", to="/", strip_prefix="DIR", mode="640")]',
            {"/a.txt": "0640", "/tool.sh": "0640"},
            id="mode",
        ),
        pytest.param('{":archive": "/all.tar"}', {"/all.tar": "0444"}, id="archive"),
        pytest.param('{":archive": "/x/"}', {"/x/out/all.tar": "0444"}, id="output-path"),
        pytest.param('{"DIR:a": "/x"}', {"/x": "0444"}, id="whole-address"),
    ],
)
def test_places_and_modes(packager: Packager, contents: str, expected: dict[str, str]) -> None:
    """A place is that of one file, or with a slash the directory of all; what is above is 0755 root."""
    (layer,) = _packaged(packager, f"contents={contents}")
    directories = {path: fact for path, fact in layer.items() if path not in expected}
    assert {path: layer[path] for path in layer if path in expected} == expected
    assert set(directories.values()) <= {"directory 0755"}
    assert all(any(path.startswith(f"{d}/") for path in expected) for d in directories)


@pytest.mark.parametrize(
    "owner, expected",
    [
        ("7", "7:7"),
        ("7:8", "7:8"),
        ("1000", "1000:50"),
        ("app", "1000:50"),
        ("web", "1001:1001"),
        ("app:web", "1000:1001"),
        ("app:9", "1000:9"),
        ("3:staff", "3:60"),
        ("0", None),
    ],
)
def test_owners(packager: Packager, owner: str, expected: str) -> None:
    """By number or name; a user without a group has the user's own. Directories above stay root's."""
    layers = _packaged(
        packager,
        f'{_USERS}, groups=[{{"name": "staff", "gid": 60}}], '
        f'contents=[nix_contents(":a", to="/x/y", owner="{owner}")]',
    )
    assert layers[-1] == {"/x": "directory 0755", "/x/y": f"0444 {expected}" if expected else "0444"}


def test_a_recipe_names_contents_by_their_hash(packager: Packager) -> None:
    image = packager.descriptor(_TARGETS + 'nix_image(name="image", contents={":b": "/b"})')
    (layer,) = image["layers"]
    sha256 = hashlib.sha256(b"b").hexdigest()
    assert layer["recipe"]["files"] == [
        {"path": "/b", "mode": "0444", "sha256": sha256, "size": 1}
    ]


def test_capabilities(packager: Packager) -> None:
    """In the spelling that all recipes have."""
    image = packager.descriptor(
        _TARGETS
        + 'nix_image(name="image", contents=[nix_contents(":tool", "/t", capabilities=["NET_RAW"])])'
    )
    (file,) = image["layers"][0]["recipe"]["files"]
    assert file["capabilities"] == ["cap_net_raw"]


def test_what_pants_builds_is_above_what_is_copied(packager: Packager) -> None:
    """Otherwise those of a dictionary go by place; accounts, directories and links are at the bottom."""
    layers = _packaged(
        packager,
        'contents={":archive": "/all.tar", ":b": "/b", ":a": "/a"}, symlinks={"/l": "a"}, '
        "max_layers=9",
    )
    assert _leaves(layers) == [["/l"], ["/a"], ["/b"], ["/all.tar"]]


@pytest.mark.parametrize(
    "max_layers, system, expected",
    [
        (1, "", [["/a", "/b", "/c"]]),
        (2, "", [["/a", "/b", "/c"]]),
        (3, "", [["/a", "/b"], ["/c"]]),
        (4, "", [["/a"], ["/b"], ["/c"]]),
        (2, 'symlinks={"/l": "a"}', [["/l"], ["/a", "/b", "/c"]]),
        (3, 'symlinks={"/l": "a"}', [["/l"], ["/a", "/b", "/c"]]),
        (4, 'symlinks={"/l": "a"}', [["/l"], ["/a", "/b"], ["/c"]]),
    ],
)
def test_max_layers(
    packager: Packager, max_layers: int, system: str, expected: list[list[str]]
) -> None:
    """One is left for store paths; the lowest entries share one if there is no room for each."""
    layers = _packaged(
        packager,
        f'contents={{":a": "/a", ":b": "/b", ":c": "/c"}}, max_layers={max_layers}, {system}',
    )
    assert _leaves(layers) == expected


def test_no_target_name_is_in_an_image(packager: Packager) -> None:
    """Renaming targets, or another way to write an entry, makes the same image."""
    digests = {
        packager.descriptor(build)["digest"]
        for build in (
            'file(name="a", source="a.txt")\nnix_image(name="image", contents={":a": "/x"})',
            'file(name="z", source="a.txt")\nnix_image(name="image", contents={":z": "/x"})',
            'files(name="z", sources=["a.txt"])\n'
            'nix_image(name="image", contents=[nix_contents(":z", to="/x", owner="0:0")])',
        )
    }
    assert len(digests) == 1


def test_a_layer_is_the_same_in_all_images(packager: Packager) -> None:
    """It is below what the image itself has, and other contents of the image leave its digest alone."""
    build = (
        _TARGETS
        + 'nix_layer(name="below", contents={":c": "/c"})\n'
        + 'nix_image(name="image", layers=[":below"], contents={":%s": "/x"})'
    )
    one, two = (packager.descriptor(build % name) for name in ("a", "b"))
    assert _leaves(_layers(packager, one)) == [["/c"], ["/x"]]
    assert one["layers"][0]["digest"] == two["layers"][0]["digest"]
    assert one["layers"][1]["digest"] != two["layers"][1]["digest"]


def test_what_is_in_a_lower_layer_is_not_there_again(packager: Packager) -> None:
    """The same file twice at one place is no contradiction, and makes no layer."""
    build = _TARGETS + 'nix_layer(name="below", contents={":a": "/x"})\nnix_image(name="image", %s)'
    image = packager.descriptor(
        build % 'layers=[":below"], contents={":a": "/x", ":b": "/y"}, max_layers=5'
    )
    assert _leaves(_layers(packager, image)) == [["/x"], ["/y"]]


def test_an_image_in_an_image(packager: Packager) -> None:
    """What `package` makes of a `nix_image` can be contents as well: its descriptor."""
    layers = _packaged(
        packager,
        'contents={":inner": "/images/"}',
        'nix_image(name="inner", contents={":a": "/a"})',
    )
    assert _leaves(layers) == [["/images/DIR/inner.image.json"]]


def test_relocated_files(packager: Packager) -> None:
    """They have the paths that they are moved to."""
    layers = _packaged(
        packager,
        'contents={":moved": "/srv/"}',
        'relocated_files(name="moved", files_targets=[":texts"], src="DIR", dest="new")',
    )
    assert _leaves(layers) == [["/srv/new/a.txt", "/srv/new/b.txt", "/srv/new/sub/c.txt"]]


def test_output_of_a_command(packager: Packager) -> None:
    """With executables, links and empty directories as the command left them."""
    layers = _packaged(
        packager,
        'contents=[nix_contents(":made", to="/", strip_prefix="DIR/out")]',
        """
shell_command(
    name="made",
    command="mkdir -p out/bin out/empty; echo 1 > out/bin/x; chmod +x out/bin/x; "
    "echo 2 > out/y; ln -s ../y out/bin/z",
    tools=["mkdir", "chmod", "ln"],
    output_directories=["out"],
)
""",
    )
    assert layers == [
        {
            "/bin": "directory 0755",
            "/bin/x": "0555",
            "/bin/z": "-> ../y",
            "/empty": "directory 0755",
            "/y": "0444",
        }
    ]


def test_directories_have_their_facts_in_every_layer(packager: Packager) -> None:
    """Who writes a directory twice writes it the same: otherwise the upper layer would change it."""
    layers = _packaged(
        packager,
        'directories=[{"path": "/var/tmp", "mode": "1777"}, {"path": "/data", "uid": 7, "gid": 8}], '
        'users=[{"name": "app", "uid": 1000, "home": "/home/app"}], max_layers=9, '
        'contents={":a": "/var/tmp/a", ":b": "/home/app/x/b", ":c": "/data/c"}',
    )
    system, c, b, a = layers
    assert system["/var/tmp"] == "directory 1777" and system["/data"] == "directory 0755 7:8"
    assert system["/var"] == "directory 0755"
    assert system["/home/app"] == "directory 0700 1000:1000"
    assert a == {"/var": "directory 0755", "/var/tmp": "directory 1777", "/var/tmp/a": "0444"}
    assert b == {
        "/home": "directory 0755",
        "/home/app": "directory 0700 1000:1000",
        "/home/app/x": "directory 0755",
        "/home/app/x/b": "0444",
    }
    assert c == {"/data": "directory 0755 7:8", "/data/c": "0444"}


def test_directories_of_a_layer_below_hold_in_the_image(packager: Packager) -> None:
    image = packager.descriptor(
        _TARGETS
        + """
nix_layer(name="below", directories=[{"path": "/tmp", "mode": "1777"}])
nix_image(name="image", layers=[":below"], contents={":a": "/tmp/a"})
"""
    )
    assert [layer["/tmp"] for layer in _layers(packager, image)] == ["directory 1777"] * 2


def test_the_field_directories_wins_over_homes(packager: Packager) -> None:
    (layer,) = _packaged(
        packager,
        'users=[{"name": "app", "uid": 1000, "home": "/app"}], '
        'directories=[{"path": "/app", "mode": "0755", "uid": 1000}]',
    )
    assert layer["/app"] == "directory 0755 1000:0"


def _texts(image: dict[str, Any]) -> dict[str, str]:
    """Returns the files that are made of fields, by path."""
    return {
        entry["path"]: entry["text"]
        for layer in image["layers"]
        for entry in layer["recipe"]["files"]
        if "text" in entry
    }


def test_accounts_of_all_layers_are_in_one_file(packager: Packager) -> None:
    """Those of the layers and of the image, root, and a group for each user that has none; each once."""
    image = packager.descriptor(
        """
nix_layer(name="one", users=[{"name": "app", "uid": 1000}], groups=[{"name": "staff", "gid": 50}])
nix_layer(name="two", users=[{"name": "app", "uid": 1000}, {"name": "web", "uid": 7, "gid": 50}])
nix_image(
    name="image",
    layers=[":one", ":two"],
    users=[{"name": "db", "uid": 8, "gid": 9, "home": "/db", "shell": "/bin/sh"}],
)
"""
    )
    texts = _texts(image)
    assert texts["/etc/passwd"].splitlines() == [
        "root:x:0:0:root:/root:/bin/sh",
        "app:x:1000:1000:app:/:/sbin/nologin",
        "web:x:7:50:web:/:/sbin/nologin",
        "db:x:8:9:db:/db:/bin/sh",
    ]
    groups = {line.split(":")[0]: line.split(":")[2] for line in texts["/etc/group"].splitlines()}
    assert groups == {"root": "0", "staff": "50", "app": "1000", "db": "9"}
    (layer,) = _layers(packager, image)
    assert layer["/etc/shadow"] == "0600" and layer["/db"] == "directory 0700 8:9"


def test_a_home_may_be_the_root(packager: Packager) -> None:
    """Which is what it is by default."""
    digests = [
        packager.descriptor(f'nix_image(name="image", users=[{{"name": "a", "uid": 1{home}}}])')[
            "digest"
        ]
        for home in ("", ', "home": "/"')
    ]
    assert digests[0] == digests[1]


def test_owner_that_a_layer_below_or_above_declares(packager: Packager) -> None:
    """Names are those of the whole image."""
    image = packager.descriptor(
        _TARGETS
        + """
nix_layer(name="below", contents=[nix_contents(":a", to="/a", owner="app")])
nix_image(name="image", layers=[":below"], users=[{"name": "app", "uid": 1000}])
"""
    )
    assert _layers(packager, image)[-1] == {"/a": "0444 1000:1000"}


def test_contents_are_dependencies(packager: Packager) -> None:
    """So are authorities: Pants knows what an image changes with."""
    found = packager.dependencies(
        _TARGETS
        + 'nix_image(name="image", ca_certificates=[":c"], '
        + 'contents=[nix_contents(":a", to="/a"), nix_contents(":archive", to="/b")])'
    )
    assert found == {":a", ":archive", ":c"}
    assert packager.dependencies(_TARGETS + 'nix_layer(name="image", contents={":b": "/b"})') == {":b"}


def _certificate(number: int) -> str:
    # An ASN.1 sequence of one byte: what is in a certificate, nobody looks at.
    return f"-----BEGIN CERTIFICATE-----\nMAE{'ABC'[number]}\n-----END CERTIFICATE-----\n"


def test_authorities_of_all_layers_are_in_one_bundle(packager: Packager) -> None:
    """Also where targets of two directories have one relative address. The links lead to the bundle."""
    packager.files.update(
        {
            "ca.pem": f"# Comment\n{_certificate(0)}",
            "below/ca.pem": _certificate(1) + _certificate(0),
            "below/BUILD": 'file(name="ca", source="ca.pem")\n'
            'nix_layer(name="layer", ca_certificates=[":ca"])\n',
        }
    )
    image = packager.descriptor(
        """
file(name="ca", source="ca.pem")
nix_image(name="image", ca_certificates=[":ca"], layers=["DIR/below:layer"])
"""
    )
    (layer,) = image["layers"]
    by_path = {entry["path"]: entry for entry in layer["recipe"]["files"]}
    bundle = by_path["/etc/ssl/certs/ca-certificates.crt"]
    expected = (_certificate(1) + _certificate(0)).encode()
    assert bundle["sha256"] == hashlib.sha256(expected).hexdigest()
    assert bundle["mode"] == "0444" and bundle["size"] == len(expected)
    assert {path for path, entry in by_path.items() if "target" in entry} == {
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/cert.pem",
        "/etc/ssl/certs/ca-bundle.crt",
    }


def test_history_is_that_of_the_target(packager: Packager) -> None:
    """The fields of the target that brings a layer say how it came to be, as for store paths."""
    descriptor = packager.descriptor(
        _TARGETS
        + 'nix_layer(name="below", contents={":a": "/a"}, author="below")\n'
        'nix_image(name="image", layers=[":below"], contents={":b": "/b"}, author="me", '
        'created_by="us", comment="why")\n'
    )
    histories = [layer["history"] for layer in descriptor["layers"]]
    assert [history.get("author") for history in histories] == ["below", "me"]
    assert [history["created_by"] for history in histories] == ["nixoci /a", "us"]
    assert [history.get("comment") for history in histories] == [None, "why"]
