"""What the layers of an image put at the same places: one thing each, directories with one mode and owner."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple, Optional

import pytest
from nixoci.image.descriptor import Descriptor
from nixoci.layer.write import write_layer

from tests.integration.support.nix import machine_nix
from tests.pants_backend_nix.packager_support import Packager

_NIX = """
let make = name: script: derivation {
  inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-e" "-c" script ];
}; in {
  base = make "base" "/bin/mkdir -p $out/tmp $out/home/app $out/etc; echo base > $out/etc/base";
  more = make "more" "/bin/mkdir -p $out/tmp/sub $out/home/app/x; echo more > $out/tmp/sub/more";
  same = make "same" "/bin/mkdir -p $out/etc; echo base > $out/etc/base; echo same > $out/etc/same";
  other = make "other" "/bin/mkdir -p $out/etc; echo other > $out/etc/base";
  link = make "link" "/bin/mkdir -p $out; /bin/ln -s usr/etc $out/etc";
  linked = make "linked" "/bin/mkdir -p $out/etc; /bin/ln -s elsewhere $out/etc/base";
  var = make "var" "/bin/mkdir -p $out/nix/var/log; echo log > $out/nix/var/log/log";
  db = make "db" "/bin/mkdir -p $out/nix/var/nix/db; echo mine > $out/nix/var/nix/db/db.sqlite";
  hides = make "hides" "/bin/mkdir -p $out; /bin/ln -s elsewhere $out/nix";
  plain = make "plain" "echo plain > $out";
  second = make "second" "echo second > $out";
  tool = make "tool" "/bin/mkdir -p $out/bin; echo tool > $out/bin/tool";
}
"""

_NAMES = (
    *("base", "more", "same", "other", "link", "linked", "var", "db", "hides", "plain", "second", "tool"),
)
_PACKAGES = "".join(
    f'nix_package(name="{name}", source="default.nix", attr="{name}")\n' for name in _NAMES
)
_FILES = """
file(name="a", source="a.txt")
file(name="b", source="b.txt")
"""

#: A layer that says what directories are like.
_BELOW = """
nix_layer(
    name="below",
    copy_to_root=[":base"],
    permissions=[
        {"path": "/tmp", "mode": "1777"},
        {"path": "/home/app", "uid": 1000, "gid": 1000, "mode": "0700"},
    ],
)
"""


class Found(NamedTuple):
    """:ivar content: of a file or link; None for a directory."""

    mode: int
    uid: int = 0
    gid: int = 0
    content: Optional[str] = None


@pytest.fixture(scope="module")
def packager() -> Packager:
    return Packager(machine_nix(), {"default.nix": _NIX, "a.txt": "a", "b.txt": "b"})


def _build(fields: str, more: str = "") -> str:
    return f'{_PACKAGES}{_FILES}{more}\nnix_image(name="image", {fields})\n'


def _image(packager: Packager, fields: str, more: str = "", **options: Any) -> dict[str, Any]:
    return packager.descriptor(_build(fields, more), **options)


def _error(packager: Packager, fields: str, more: str = "") -> str:
    return packager.error(_build(fields, more))


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A directory with what the repository has, by digest."""
    directory: Path = tmp_path_factory.mktemp("contents")
    for text in ("a", "b"):
        (directory / hashlib.sha256(text.encode()).hexdigest()).write_text(text)
    return str(directory)


def _tree(descriptor: dict[str, Any], contents: str) -> dict[str, Found]:
    """Returns what an engine has when it has unpacked the layers, bottom first."""
    image = Descriptor.from_json(json.dumps(descriptor).encode())
    tree: dict[str, Found] = {}
    for recipe, item in zip(image.recipes, image.image.layers):
        stream = bytearray()
        write_layer(recipe, item.layer, stream.extend, contents=contents)
        with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
            for member in archive.getmembers():
                name = f"/{member.name.strip('/')}"
                file = archive.extractfile(member) if member.isreg() else None
                content = file.read().decode("latin-1") if file else member.linkname or None
                if content is not None:
                    tree = {p: f for p, f in tree.items() if not p.startswith(f"{name}/")}
                tree[name] = Found(member.mode, member.uid, member.gid, content)
    return tree


@pytest.mark.parametrize(
    "fields, more",
    [
        pytest.param('layers=[":below"], copy_to_root=[":more"]', _BELOW, id="copied-by-the-image"),
        pytest.param(
            'layers=[":above"]',
            f'{_BELOW}nix_layer(name="above", layers=[":below"], copy_to_root=[":more"])',
            id="copied-by-a-layer-above",
        ),
        pytest.param(
            'layers=[":below", ":beside"]',
            f'{_BELOW}nix_layer(name="beside", copy_to_root=[":more"])',
            id="copied-by-a-layer-beside",
        ),
        pytest.param(
            'layers=[":below"], contents={":a": "/tmp/sub/more", ":b": "/home/app/x/b"}',
            _BELOW,
            id="contents",
        ),
        pytest.param(
            'layers=[":below"], symlinks={"/tmp/sub/more": "x"}, directories=[{"path": "/home/app/x"}]',
            _BELOW,
            id="links-and-directories",
        ),
        pytest.param(
            'layers=[":below"], copy_to_root=[":more"], contents={":a": "/tmp/x", ":b": "/home/app/b"}',
            _BELOW,
            id="all",
        ),
    ],
)
def test_directories_are_as_the_layers_below_have_them(
    packager: Packager, contents: str, fields: str, more: str
) -> None:
    """Whoever puts something into them writes them again."""
    tree = _tree(_image(packager, fields, more), contents)
    assert any(path.startswith("/tmp/") for path in tree)
    assert tree["/tmp"] == Found(0o1777)
    assert tree["/home/app"] == Found(0o700, 1000, 1000)
    assert tree["/home"] == Found(0o755)


@pytest.mark.parametrize(
    "fields, expected",
    [
        ('permissions=[{"path": "/tmp", "mode": "0700"}], copy_to_root=[":more"]', Found(0o700)),
        ('directories=[{"path": "/tmp", "uid": 7}], copy_to_root=[":more"]', Found(0o755, 7)),
        # Who says what everybody has anyway has said it.
        ('directories=[{"path": "/tmp"}], contents={":a": "/tmp/a"}', Found(0o755)),
    ],
)
def test_the_uppermost_that_says_what_a_directory_is_like_is_right(
    packager: Packager, contents: str, fields: str, expected: Found
) -> None:
    tree = _tree(_image(packager, f'layers=[":below"], {fields}', _BELOW), contents)
    assert tree["/tmp"] == expected


_STORE = """
nix_layer(
    name="below",
    packages=[":plain"],
    permissions=[{"path": "/nix/store", "mode": "1775", "gid": 30000}, {"path": "/nix", "mode": "0711"}],
)
nix_layer(name="beside", packages=[":tool"])
"""


@pytest.mark.parametrize(
    "fields",
    [
        'layers=[":below"], packages=[":second"]',
        'layers=[":below", ":beside"]',
        'layers=[":below"], packages=[":second"], nix_database=True',
        'layers=[":below", ":beside"], nix_database=True, nix_uid=7, nix_gid=8',
        'layers=[":below"], copy_to_root=[":var"]',
        'layers=[":below"], copy_to_root=[":var"], nix_database=True',
    ],
)
def test_the_directories_of_nix_are_as_the_layers_below_have_them(
    packager: Packager, contents: str, fields: str
) -> None:
    """In store paths, copied trees and databases; all other files of a database are the image's."""
    tree = _tree(_image(packager, fields, _STORE), contents)
    uid = 7 if "nix_uid" in fields else 0
    assert tree["/nix/store"] == Found(0o1775, uid, 30000)
    assert tree["/nix"].mode == 0o711
    if "nix_database" in fields:
        assert tree["/nix/var/nix/db"] == Found(0o755, uid, 8 if uid else 0)


def test_a_layer_that_is_right_is_not_written_again(packager: Packager) -> None:
    """No directory is in a further layer unless another layer has spoiled it."""
    plain = _image(packager, 'layers=[":below"], copy_to_root=[":tool"]', _BELOW)
    assert [sorted(layer["recipe"]) for layer in plain["layers"]] == [
        ["entries", "permissions", "version"],
        ["entries", "version"],
    ]
    spoiled = _image(packager, 'layers=[":below"], copy_to_root=[":more"]', _BELOW)
    assert [
        (entry["path"], entry["mode"]) for entry in spoiled["layers"][-1]["recipe"]["files"]
    ] == [("/home", "0755"), ("/home/app", "0700"), ("/tmp", "1777")]


def test_permissions_apply_to_the_database(packager: Packager, contents: str) -> None:
    """They were ignored there; a layer's own apply to what the layer has."""
    fields = """packages=[":plain"], nix_database=True, permissions=[
        {"path": "/nix/var/nix/db(/.*)?", "uid": 7},
        {"path": "/nix/var/nix/profiles", "mode": "1777"},
    ]"""
    tree = _tree(_image(packager, fields), contents)
    assert tree["/nix/var/nix/db"] == Found(0o755, 7)
    assert tree["/nix/var/nix/db/db.sqlite"][:3] == (0o644, 7, 0)
    assert tree["/nix/var/nix/profiles"] == Found(0o1777)
    assert tree["/nix/var/nix"] == Found(0o755)


@pytest.mark.parametrize(
    "fields, more, path",
    [
        pytest.param(
            'layers=[":below"], copy_to_root=[":other"]', _BELOW, "/etc/base", id="files-that-differ"
        ),
        pytest.param(
            'layers=[":below"], copy_to_root=[":linked"]', _BELOW, "/etc/base", id="link-over-a-file"
        ),
        pytest.param(
            'layers=[":below"], copy_to_root=[":link"]', _BELOW, "/etc", id="link-over-a-directory"
        ),
        pytest.param(
            'layers=[":low"], copy_to_root=[":base"]',
            'nix_layer(name="low", copy_to_root=[":link"])',
            "/etc",
            id="directory-over-a-link",
        ),
        pytest.param(
            'layers=[":below", ":beside"]',
            f'{_BELOW}nix_layer(name="beside", copy_to_root=[":other"])',
            "/etc/base",
            id="layers-beside-each-other",
        ),
        pytest.param(
            'layers=[":below"], contents={":a": "/etc/base"}', _BELOW, "/etc/base", id="contents"
        ),
        pytest.param(
            'layers=[":low"], contents={":a": "/etc/a"}',
            'nix_layer(name="low", copy_to_root=[":link"])',
            "/etc",
            id="contents-below-a-link",
        ),
        pytest.param(
            'layers=[":below"], symlinks={"/etc": "x"}', _BELOW, "/etc", id="symlinks"
        ),
        pytest.param(
            'layers=[":low"], contents={":b": "/x"}',
            'nix_layer(name="low", contents={":a": "/x"})',
            "/x",
            id="contents-of-two-targets",
        ),
        pytest.param(
            'layers=[":low"], symlinks={"/x": "b"}',
            'nix_layer(name="low", contents={":a": "/x/a"})',
            "/x",
            id="link-over-a-directory-of-contents",
        ),
        pytest.param(
            'copy_to_root=[":db"], nix_database=True, packages=[":plain"]',
            "",
            "/nix/var/nix/db/db.sqlite",
            id="database",
        ),
        pytest.param(
            'layers=[":below"], copy_to_root=[":same"], permissions=[{"path": "/etc/base", "mode": "0600"}]',
            _BELOW,
            "/etc/base",
            id="modes-that-differ",
        ),
    ],
)
def test_collisions_over_layers(packager: Packager, fields: str, more: str, path: str) -> None:
    """What an upper layer hides of a lower one is an error that names the place and both of them."""
    error = _error(packager, fields, more)
    assert error.startswith(f"DIR:image: {path} is ")
    assert error.count("the field `") >= 2
    assert "Take one of them out, or give it another place." in error


@pytest.mark.parametrize(
    "fields, more",
    [
        ('layers=[":below"], copy_to_root=[":same"]', _BELOW),
        ('layers=[":below", ":beside"]', f'{_BELOW}nix_layer(name="beside", copy_to_root=[":same"])'),
        ('layers=[":low"], contents={":a": "/x"}', 'nix_layer(name="low", contents={":a": "/x"})'),
        (
            'layers=[":low"], copy_to_root=[":link"]',
            'nix_layer(name="low", copy_to_root=[":link"])',
        ),
    ],
)
def test_what_is_equal_is_no_collision(
    packager: Packager, contents: str, fields: str, more: str
) -> None:
    """As in one `copy_to_root`."""
    assert _tree(_image(packager, fields, more), contents)


@pytest.mark.parametrize(
    "fields, more, path, expected",
    [
        pytest.param(
            'copy_to_root=[":other"], shadows=["/etc/base"]', _BELOW, "/etc/base", "other\n", id="file"
        ),
        pytest.param(
            'copy_to_root=[":linked"], shadows=["/etc/*"]', _BELOW, "/etc/base", "elsewhere", id="link"
        ),
        pytest.param(
            'copy_to_root=[":link"], shadows=["/etc"]', _BELOW, "/etc", "usr/etc", id="directory"
        ),
        pytest.param(
            'contents={":a": "/etc/base"}, shadows=["/**"]', _BELOW, "/etc/base", "a", id="contents"
        ),
        pytest.param(
            'symlinks={"/etc/base": "x"}, shadows=["/etc/base"]', _BELOW, "/etc/base", "x", id="symlinks"
        ),
        pytest.param(
            'users=[{"name": "u", "uid": 7}], contents={":a": "/etc/passwd"}, shadows=["/etc/passwd"]',
            _BELOW,
            "/etc/passwd",
            "a",
            id="own-accounts",
        ),
        pytest.param(
            'contents={":b": "/x"}, shadows=["/x"]',
            'nix_layer(name="below", contents={":a": "/x/a"})',
            "/x",
            "b",
            id="directory-of-contents",
        ),
        pytest.param(
            'symlinks={"/x/y": "b"}, shadows=["/x"]',
            'nix_layer(name="below", symlinks={"/x": "a"})',
            "/x/y",
            "b",
            id="link-in-the-same-layer",
        ),
        pytest.param(
            'symlinks={"/x": "b"}, shadows=["/x"]',
            'nix_layer(name="below", symlinks={"/x/y": "a"})',
            "/x",
            "b",
            id="directory-in-the-same-layer",
        ),
    ],
)
def test_shadows(
    packager: Packager,
    contents: str,
    caplog: pytest.LogCaptureFixture,
    fields: str,
    more: str,
    path: str,
    expected: str,
) -> None:
    """What a target says that it replaces, it may replace; with nothing that is left over of it."""
    tree = _tree(_image(packager, f'layers=[":below"], {fields}', more), contents)
    assert tree[path].content == expected.replace("\\n", "\n")
    assert not any(other.startswith(f"{path}/") for other in tree)
    assert "shadows" not in caplog.text


@pytest.mark.parametrize(
    "fields, more",
    [
        # What is below, not what is above.
        ('layers=[":below"], copy_to_root=[":base"]', 'nix_layer(name="below", copy_to_root=[":other"], shadows=["/**"])'),
        ('layers=[":below"], copy_to_root=[":other"], shadows=["/etc/bas"]', _BELOW),
        ('layers=[":below"], copy_to_root=[":other"], shadows=["/etc"]', _BELOW),
        # Nobody says which of two is above the other.
        ('contents={":a": "/x", ":b": "/x"}, shadows=["/x"]', ""),
        # The database is of the image.
        ('copy_to_root=[":db"], nix_database=True, packages=[":plain"], shadows=["/**"]', ""),
    ],
)
def test_shadows_that_do_not_allow_it(packager: Packager, fields: str, more: str) -> None:
    assert "is brought by two, differently" in _error(packager, fields, more)


def test_an_error_says_how_to_replace(packager: Packager) -> None:
    error = _error(packager, 'layers=[":below"], copy_to_root=[":other"]', _BELOW)
    assert (
        "the field `copy_to_root` of DIR:below and the field `copy_to_root` of DIR:image. Take one of them out, or "
        "give it another place. If the second one is meant to replace it, name the place there in the field `shadows`."
    ) in error


def test_shadows_of_nothing(packager: Packager, caplog: pytest.LogCaptureFixture) -> None:
    _image(packager, 'copy_to_root=[":base"], shadows=["/etc/nothing"]')
    assert "in the field `shadows`, '/etc/nothing' replaces nothing of the layers below" in caplog.text


@pytest.mark.parametrize("pattern", ["etc/passwd", "", "/etc/", "/../etc", "/a**"])
def test_patterns_of_shadows(packager: Packager, pattern: str) -> None:
    with pytest.raises(Exception, match="field `shadows` of .* has a pattern that matches nothing"):
        _image(packager, f'shadows=["{pattern}"]')


@pytest.mark.parametrize("beside", ["", 'packages=[":plain"], '])
def test_the_store_is_not_hidden(packager: Packager, beside: str) -> None:
    """Whichever layer it is in."""
    error = _error(packager, f'{beside}copy_to_root=[":hides"], max_layers=5')
    assert "-hides/nix is no directory, and copied to the root it would hide the Nix store" in error


@pytest.mark.parametrize(
    "below, beside",
    [
        ('{"path": "{tool}/bin/tool", "mode": "4755"}', ""),
        ('{"path": "{tool}/bin/tool", "mode": "4755"}', '{"path": "{tool}/bin/tool", "mode": "0755"}'),
        ("", '{"path": ".*/bin/tool", "uid": 7}'),
    ],
)
def test_a_store_path_in_two_layers(
    packager: Packager, contents: str, below: str, beside: str
) -> None:
    """Is one thing as well: what the lower one says of it would be undone."""
    more = "".join(
        f'nix_layer(name="{name}", packages=[":tool", ":{other}"], permissions=[{said}])\n'
        for name, other, said in (("below", "plain", below), ("beside", "second", beside))
    )
    error = _error(packager, 'layers=[":below", ":beside"]', more)
    assert "-tool is in the layers of DIR:below and of DIR:beside, whose fields `permissions` differ" in error
    assert "Name DIR:below in the field `layers` of DIR:beside" in error
    agreed = more.replace("permissions=[]", f"permissions=[{below or beside}]").replace("0755", "4755")
    assert _tree(_image(packager, 'layers=[":below", ":beside"]', agreed), contents)
