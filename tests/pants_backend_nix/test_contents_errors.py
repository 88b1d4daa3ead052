"""Every error about files in an image names target, field and value, and says what to do."""

from __future__ import annotations

import pytest
from pants_backend_nix.targets.fields.contents import NixContents, nix_contents

from tests.pants_backend_nix.packager_support import Packager

_FILES = {
    "a.txt": "a",
    "b.txt": "b",
    "sub/c.txt": "c",
    "key.pem": "-----BEGIN PRIVATE KEY-----\nMAEA\n-----END PRIVATE KEY-----\n",
    "damaged.pem": "-----BEGIN CERTIFICATE-----\nMAE\n-----END CERTIFICATE-----\n",
}

_TARGETS = """
file(name="a", source="a.txt")
file(name="b", source="b.txt")
file(name="key", source="key.pem")
file(name="damaged", source="damaged.pem")
files(name="texts", sources=["*.txt", "sub/*.txt"])
files(name="none", sources=["*.none"])
target(name="group", dependencies=[":a"])
nix_package(name="p", store_path="/nix/store/00000000000000000000000000000000-p")
nix_image(name="inner", contents={":a": "/a"})
"""


@pytest.fixture(scope="module")
def errors() -> Packager:
    return Packager(None, _FILES)


def _error(errors: Packager, fields: str, more: str = "") -> str:
    """Packages an image with some fields, which fails, and returns why."""
    return errors.error(f'{_TARGETS}{more}\nnix_image(name="image", {fields})\n')


@pytest.mark.parametrize(
    "call, why",
    [
        ('nix_contents(":a")', "missing a required argument: 'to'"),
        ("nix_contents()", "missing a required argument: 'address'"),
        ('nix_contents(":a", to="/a", user="app")', "unexpected keyword argument 'user'"),
        ('nix_contents(":a", "/a", to="/b")', "multiple values for argument 'to'"),
        ('nix_contents(":a", {"to": "/b"})', "a value that is no string and no list of strings"),
        ('nix_contents(":a", "/a", libraries=[["b"]])', "a value that is no string and no list of strings"),
    ],
)
def test_calls_that_cannot_be(errors: Packager, call: str, why: str) -> None:
    """The call is shown as it was understood, with the arguments that there are."""
    text = _error(errors, f"contents=[{call}]")
    assert "nix_contents(" in text and "in the field `contents` of DIR:image is not valid" in text
    assert why in text and "Its arguments are address, to, owner, mode, strip_prefix" in text


def test_lists_in_entries_are_hashed() -> None:
    """Pants 2.31 hashes what a BUILD file has before any field sees it."""
    call = nix_contents(":a", to="/a", capabilities=["cap_chown"], libraries=[":b"])
    assert isinstance(call, NixContents) and call.libraries == (":b",)
    assert hash(call) == hash(nix_contents(":a", "/a", libraries=(":b",), capabilities=("cap_chown",)))


@pytest.mark.parametrize(
    "value", ["1", '":a"', '[":a"]', '{":a": 1}', "{1: '/a'}", '[(":a", "/a")]', "{':a': ['/a']}"]
)
def test_wrong_types_of_contents(errors: Packager, value: str) -> None:
    text = _error(errors, f"contents={value}")
    assert "The 'contents' field in target DIR:image must be a dictionary of addresses to paths" in text
    assert "or a list of `nix_contents(…)`" in text and "but was" in text


@pytest.mark.parametrize(
    "arguments, words",
    [
        ('to="srv/a"', ["'srv/a'", "Set `to` to an absolute path"]),
        ('to=""', ["''", "Set `to` to an absolute path"]),
        ('to="./"', ["'.'", "Set `to` to an absolute path"]),
        ('to="/srv/../a"', ["'/srv/../a'", "Set `to` to an absolute path"]),
        ('to="/srv//a"', ["'/srv//a'", "Set `to` to an absolute path"]),
        ('to="/srv//"', ["'/srv/'", "Set `to` to an absolute path"]),
        ('to="/nix/x"', ["'/nix/x'", "/nix is for Nix", "not in `/nix`"]),
        ('to="/nix/"', ["'/nix'", "/nix is for Nix"]),
        ('to="/srv/.wh.x"', ["'/srv/.wh.x'", "names that begin with .wh. are reserved"]),
        ("to=1", ["`to` must be a string"]),
        ('to="/a", strip_prefix=1', ["`strip_prefix` must be a string"]),
        ('to="/a", strip_prefix="DIR"', ["`strip_prefix`", "/a is the place of one", "a slash"]),
        ('to="/a", mode="0999"', ["the mode '0999' is no octal number", '"0555"']),
        ('to="/a", mode="17777"', ["the mode '17777' is no octal number"]),
        ('to="/a", mode=644', ["the mode 644 is no octal number in a string"]),
        ('to="/a", owner=1000', ["the owner 1000 is none", '"1000:1000"']),
        ('to="/a", owner=""', ["the owner '' is none", "the name of a user"]),
        ('to="/a", capabilities=["cap_ping"]', ["'cap_ping'", "expected one of cap_chown"]),
        ('to="/a", capabilities="cap_net_raw"', ["'cap_net_raw'", "expected a list of names"]),
        ('to="/a", split="all"', ["`split` is 'all'", '"dependencies"']),
        ('to="/a", split="dependencies"', ["`interpreter` must say what runs it"]),
        ('to="/a", split="dependencies", interpreter=3', ["`interpreter` must say what runs it"]),
        ('to="/", split="dependencies", interpreter="/p"', ["directory of a virtual environment"]),
        (
            'to="/my app", split="dependencies", interpreter="/p"',
            ["'/my app'", "no white space", "Choose another place"],
        ),
        (
            'to="/a\\nb", split="dependencies", interpreter="/p"',
            ["no white space", "Choose another place"],
        ),
        (
            'to="/" + "a" * 112, split="dependencies", interpreter="/p"',
            ["at most 112 bytes", "Choose another place"],
        ),
        ('to="/a", interpreter="/p"', ['`interpreter` is for `split="dependencies"`']),
        ('to="/a", libraries=[":b"]', ['`libraries` is for `split="dependencies"`']),
        ('to="/a", libraries=":b"', ["`libraries` must be a list of addresses"]),
        (
            'to="/a", split="dependencies", interpreter="/p", mode="0755"',
            ["`mode` is for files that go into the image as they are"],
        ),
        (
            'to="/a/", split="dependencies", interpreter="/p", strip_prefix="x"',
            ["`strip_prefix` is for files"],
        ),
        (
            'to="/a", split="dependencies", interpreter="/p", capabilities=["cap_chown"]',
            ["`capabilities` is for files"],
        ),
    ],
)
def test_bad_entries_of_contents(errors: Packager, arguments: str, words: list[str]) -> None:
    text = _error(errors, f'contents=[nix_contents(":a", {arguments})]')
    assert "The entry for ':a' in the field `contents` of DIR:image is not valid" in text
    for word in words:
        assert word in text


def test_what_cannot_be_split(errors: Packager) -> None:
    """Only a `pex_binary` can be laid out; and a name in `interpreter` must be a package of the image."""
    entry = 'nix_contents(":a", to="/a", split="dependencies", interpreter="{}")'
    text = _error(errors, f"contents=[{entry.format('/usr/bin/python3')}]")
    assert "The entry for ':a' in the field `contents` of DIR:image names DIR:a" in text
    assert "`split` lays out a `pex_binary`" in text
    text = _error(errors, f"contents=[{entry.format('{python}/bin/python3')}]")
    assert "in the field `contents`: no package of this target or of its layers is called 'python'" in text


@pytest.mark.parametrize(
    "owner, words",
    [
        ("app", ["'app'", "no user 'app'", "`users` (there are: root, web)", '"1000:1000"']),
        ("web:staff", ["no group 'staff'", "`groups` (there are: root, web)"]),
        ("-1", ["there is no user '-1'"]),
        ("2097152", ["'2097152'", "numbers up to 2097151"]),
        ("7:", ["'7:'"]),
    ],
)
def test_unknown_owners(errors: Packager, owner: str, words: list[str]) -> None:
    text = _error(
        errors,
        f'contents=[nix_contents(":a", to="/a", owner="{owner}")], users=[{{"name": "web", "uid": 7}}]',
    )
    assert "The entry for ':a' in the field `contents` of DIR:image: owner" in text
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    "fields, words",
    [
        pytest.param(
            'contents={":a": "/x", ":b": "/x"}',
            ["/x is brought by two, differently: ':a' in", "and ':b' in"],
            id="two-files",
        ),
        pytest.param(
            'contents=[nix_contents(":a", "/x"), nix_contents(":a", "/x", mode="0755")]',
            ["/x is brought by two, differently: ':a' in"],
            id="two-modes",
        ),
        pytest.param(
            'contents={":a": "/x", ":b": "/x/y"}',
            ["/x is no directory, but /x/y is below it: ':a' in", "and ':b' in"],
            id="file-above-file",
        ),
        pytest.param(
            'contents={":a": "/l/y"}, symlinks={"/l": "x"}',
            ["/l is no directory, but /l/y is below it: the field `symlinks` of", "and ':a' in"],
            id="link-above-file",
        ),
        pytest.param(
            'contents={":a": "/d"}, directories=[{"path": "/d"}]',
            ["/d is a directory of one, and none of the other: the field `directories` of DIR:image and ':a' in"],
            id="directory-and-file",
        ),
        pytest.param(
            'contents={":a": "/etc/passwd"}, users=[{"name": "app", "uid": 7}]',
            ["/etc/passwd is brought by two", "the fields `users` and `groups` and ':a' in"],
            id="accounts",
        ),
        pytest.param(
            'contents={":b": "/a"}, layers=[":below"]',
            ["/a is brought by two", "':a' in the field `contents` of DIR:below and ':b' in"],
            id="layer-below",
        ),
    ],
)
def test_contradictions(errors: Packager, fields: str, words: list[str]) -> None:
    """Two things at one place: the error names the place and both origins."""
    text = _error(errors, fields, 'nix_layer(name="below", contents={":a": "/a"})')
    assert text.startswith("DIR:image: /")
    assert "field `contents` of DIR:image. Take one of them out, or give it another place." in text
    # Of what a lower layer has, one may be meant to replace the other.
    may_shadow = any(word in fields for word in ("symlinks", "directories", "users", "below"))
    assert ("name the place there in the field `shadows`" in text) == may_shadow
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    "fields",
    [
        'directories=[{"path": "/d"}, {"path": "/d", "mode": "0700"}]',
        'directories=[{"path": "/d", "uid": 7}], layers=[":below"]',
    ],
)
def test_two_ways_that_a_directory_is(errors: Packager, fields: str) -> None:
    """No order among targets says who wins."""
    below = 'nix_layer(name="below", directories=[{"path": "/d"}])'
    text = _error(errors, fields, below)
    assert "DIR:image: /d is brought by two, differently: the field `directories` of" in text


@pytest.mark.parametrize(
    "fields, words",
    [
        pytest.param(
            'contents={":texts": "/x"}',
            [
                "The entry for ':texts' in the field `contents` of DIR:image has the one place /x",
                "the target has 3 files. End the place with a slash",
                "* DIR/a.txt * DIR/b.txt * DIR/sub/c.txt",
            ],
            id="several-files",
        ),
        pytest.param(
            'contents=[nix_contents(":texts", to="/x/", strip_prefix="DIR/sub")]',
            [
                "The entry for ':texts' in the field `contents` of DIR:image",
                "`strip_prefix='DIR/sub'`, but DIR/a.txt is not below",
                "Correct or shorten it",
            ],
            id="strip-prefix",
        ),
        pytest.param(
            'contents={":none": "/x/"}',
            ["`contents` of DIR:image names DIR:none, which has no files", "Take it out"],
            id="no-files",
        ),
        pytest.param(
            'contents={":group": "/x/"}',
            ["`contents` of DIR:image names DIR:group, a `target`", "neither packaged", "Name a"],
            id="target",
        ),
        pytest.param(
            'contents={":p": "/x"}',
            ["`contents` of DIR:image names DIR:p, which is a `nix_package`", "goes into `packages`"],
            id="nix-package",
        ),
        pytest.param(
            'packages=[":a"]',
            ["`packages` of DIR:image names DIR:a, which is a `file`", "go into `contents`"],
            id="file-in-packages",
        ),
        pytest.param(
            'copy_to_root=[":inner"]',
            ["`copy_to_root` of DIR:image names DIR:inner, which is a `nix_image`", "`contents`"],
            id="image-in-copy-to-root",
        ),
        pytest.param(
            'contents={":missing": "/x"}',
            ["the field `contents` of DIR:image", "missing"],
            id="missing-target",
        ),
        pytest.param(
            'contents={":image": "/x"}',
            ["`contents` of DIR:image names DIR:image", "Take it out"],
            id="itself",
        ),
    ],
)
def test_targets_that_do_not_fit(errors: Packager, fields: str, words: list[str]) -> None:
    text = _error(errors, fields)
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    "link, prefix",
    [("/etc/hosts", ""), ("../../../x", ""), ("../..", "DIR"), ("../x", "DIR/out")],
)
def test_links_out_of_a_target(errors: Packager, link: str, prefix: str) -> None:
    """In the image they would lead to something else, also where a prefix is taken off."""
    text = _error(
        errors,
        f'contents=[nix_contents(":made", to="/srv/", strip_prefix="{prefix}")]',
        f"""
shell_command(
    name="made",
    command="mkdir out; ln -s {link} out/link",
    tools=["mkdir", "ln"],
    output_directories=["out"],
)
""",
    )
    assert "DIR:made" in text or "':made'" in text
    assert "field `contents` of DIR:image" in text
    assert f"has a symbolic link that leads out of it: DIR/out/link -> {link}." in text
    assert "`symlinks`" in text


@pytest.mark.parametrize(
    "field, entry, words",
    [
        ("directories", '{"mode": "0755"}', ["`path` is missing"]),
        ("directories", '{"path": "/d", "owner": 1}', ["there is no key 'owner'", "`uid`"]),
        ("directories", '{1: "/d"}', ["there is no key 1"]),
        ("directories", '{"path": 1}', ["`path` must be a string"]),
        ("directories", '{"path": "/d", "mode": 755}', ["`mode` must be a string"]),
        ("directories", '{"path": "/d", "mode": "0999"}', ["the mode '0999'", '"1777"']),
        ("directories", '{"path": "/d", "mode": "17777"}', ["the mode '17777'"]),
        ("directories", '{"path": "/d", "uid": "7"}', ["`uid` must be a number"]),
        ("directories", '{"path": "/d", "uid": True}', ["`uid` must be a number"]),
        ("directories", '{"path": "/d", "uid": -1}', ["`uid` must be from 0 to 2097151"]),
        ("directories", '{"path": "/d", "gid": 2097152}', ["`gid` must be from 0 to 2097151"]),
        ("directories", '{"path": "d"}', ["'d'", "Set `path` to an absolute path"]),
        ("directories", '{"path": "/"}', ["'/'", "Set `path` to an absolute path"]),
        ("directories", '{"path": "/nix/d"}', ["'/nix/d'", "/nix is for Nix"]),
        ("users", '{"uid": 7}', ["`name` is missing"]),
        ("users", '{"name": "app"}', ["`uid` is missing"]),
        ("users", '{"name": "App", "uid": 7}', ["`name` must be lower-case letters"]),
        ("users", '{"name": "a:b", "uid": 7}', ["`name` must be lower-case letters"]),
        ("users", '{"name": "app", "uid": 7, "home": "h"}', ["'h'", "Set `home` to an absolute"]),
        ("users", '{"name": "app", "uid": 7, "home": "/h:"}', ["`home` has a colon", "/etc/passwd"]),
        ("users", '{"name": "app", "uid": 7, "shell": "/s\\n"}', ["`shell` has a colon or a line"]),
        ("users", '{"name": "app", "uid": 7, "mode": "0755"}', ["there is no key 'mode'"]),
        ("users", '{"name": "app", "uid": -7}', ["`uid` must be from 0 to 2097151"]),
        ("groups", '{"gid": 7}', ["`name` is missing"]),
        ("groups", '{"name": "staff"}', ["`gid` is missing"]),
        ("groups", '{"name": "staff", "gid": "7"}', ["`gid` must be a number"]),
        ("groups", '{"name": "staff", "uid": 7}', ["there is no key 'uid'"]),
    ],
)
def test_bad_entries(errors: Packager, field: str, entry: str, words: list[str]) -> None:
    """The entry is shown, and the keys that there are."""
    text = _error(errors, f"{field}=[{entry}]")
    assert f"of the field `{field}` of DIR:image is not valid" in text
    assert "The entry {" in text and "An entry has the keys `" in text
    for word in words:
        assert word in text


@pytest.mark.parametrize("field", ["directories", "users", "groups"])
@pytest.mark.parametrize("value", ['"/d"', '["/d"]', '{"path": "/d"}', "1"])
def test_wrong_types_of_entries(errors: Packager, field: str, value: str) -> None:
    text = _error(errors, f"{field}={value}")
    assert f"The '{field}' field in target DIR:image must be a list of dictionaries" in text


@pytest.mark.parametrize(
    "fields, words",
    [
        ('users=[{"name": "a", "uid": 7}, {"name": "b", "uid": 7}]', ["users 7 is not"]),
        ('users=[{"name": "a", "uid": 7}, {"name": "a", "uid": 8}]', ["users 'a' is not"]),
        ('users=[{"name": "a", "uid": 0}]', ["users 0 is not"]),
        ('groups=[{"name": "a", "gid": 7}, {"name": "b", "gid": 7}]', ["groups 7 is not"]),
        ('users=[{"name": "a", "uid": 7}], groups=[{"name": "a", "gid": 8}]', ["groups 'a' is not"]),
        ('users=[{"name": "a", "uid": 8}], layers=[":below"]', ["users 'a' is not"]),
    ],
)
def test_accounts_that_contradict_each_other(
    errors: Packager, fields: str, words: list[str]
) -> None:
    """Also those of a layer and of the image."""
    text = _error(errors, fields, 'nix_layer(name="below", users=[{"name": "a", "uid": 7}])')
    assert text.startswith("DIR:image: ") and "two different" in text
    assert "Correct the fields `users` and `groups`" in text
    for word in words:
        assert word in text


def test_two_users_with_one_home(errors: Packager) -> None:
    """It would be closed to one of them, unless `directories` says how it is."""
    users = 'users=[{"name": "a", "uid": 7, "home": "/h"}, {"name": "b", "uid": 8, "home": "/h"}]'
    text = _error(errors, users)
    assert "DIR:image: /h is brought by two, differently" in text
    assert "the home of the user 'a' and the home of the user 'b'" in text
    errors.descriptor(
        f'nix_image(name="image", {users}, directories=[{{"path": "/h", "mode": "0777"}}])'
    )


@pytest.mark.parametrize(
    "value, words",
    [
        ('{"/l": "{q}/x"}', ["cannot interpolate '{q}/x' in the field `symlinks`", "called 'q'"]),
        ('{"/l": "{"}', ["cannot interpolate '{' in the field `symlinks`", "`{{`"]),
        ('{"l": "x"}', ["The entry 'l' in the field `symlinks` of", "Set its key to an absolute"]),
        ('{"/nix/l": "x"}', ["The entry '/nix/l' in the field `symlinks` of", "/nix is for Nix"]),
        ('{"/l": ""}', ["The entry '/l' in the field `symlinks` of", "Set its value"]),
        ('{"/l": "x\\0"}', ["The entry '/l' in the field `symlinks` of", "Set its value"]),
        ('["/l"]', ["The 'symlinks' field in target", "a dictionary of paths to targets of links"]),
        ('{"/l": 1}', ["The 'symlinks' field in target", "a dictionary of paths to targets of links"]),
    ],
)
def test_bad_symlinks(errors: Packager, value: str, words: list[str]) -> None:
    text = _error(errors, f"symlinks={value}")
    assert "DIR:image" in text
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    "value, words",
    [
        ('[":a"]', ["'DIR/a.txt' is not valid: no certificate is in it (PEM)"]),
        ('[":key"]', ["'DIR/key.pem' is not valid: a private key is in it"]),
        ('[":damaged"]', ["'DIR/damaged.pem' is not valid: a certificate in it is damaged"]),
        ('[":a", ":key"]', ["'DIR/a.txt'"]),
        ('[":group"]', ["names DIR:group, a `target`, which is neither packaged"]),
        ('[":none"]', ["names DIR:none, which has no files"]),
        ('":a"', ["The 'ca_certificates' field in target DIR:image must be"]),
    ],
)
def test_bad_certificates(errors: Packager, value: str, words: list[str]) -> None:
    """The file has its name in the repository."""
    text = _error(errors, f"ca_certificates={value}")
    assert "ca_certificates" in text and "DIR:image" in text
    assert "files/" not in text
    for word in words:
        assert word in text
