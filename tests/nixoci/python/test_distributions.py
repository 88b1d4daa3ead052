"""Tests of `nixoci.python.distributions`: whose files are which, and what is others in an image."""

from __future__ import annotations

import hashlib
import os
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Mapping

import pytest
from nixoci.errors import InvalidInputError, NixOciError
from nixoci.python.distributions import (
    Distribution,
    Installed,
    data_directories,
    normalize_distributions,
)
from nixoci.python.environment import Environment

_ENVIRONMENT = Environment("/app", "3.11", "/nix/store/x/bin/python3")
_SHEBANG = b"#!/app/bin/python3 -sE\n"


def _normalize(tmp_path: Path, files: Mapping[str, bytes]) -> tuple[Installed, dict[str, bytes]]:
    """Returns what is installed, and the files that are others in an image."""
    tree, changed = tmp_path / "tree", tmp_path / "changed"
    for path, content in files.items():
        location = tree / path
        location.parent.mkdir(parents=True, exist_ok=True)
        location.write_bytes(content)
    installed = normalize_distributions(str(tree), _ENVIRONMENT, str(changed))
    found = {str(p.relative_to(changed)): p.read_bytes() for p in changed.rglob("*") if p.is_file()}
    return installed, found


def test_files_belong_to_their_distribution(tmp_path: Path) -> None:
    """By RECORD; what two have is with the first, and what is nowhere is not made up."""
    record = b"shared.py,,\none/a.py,,\nnot/there.py,,\none-1.0.dist-info/RECORD,,\n"
    installed, _ = _normalize(
        tmp_path,
        {
            "one/a.py": b"",
            "shared.py": b"",
            "one-1.0.dist-info/METADATA": b"Name: One\nVersion: 1.0\n\n",
            "one-1.0.dist-info/RECORD": record,
            "two-2.dist-info/METADATA": b"Name: two\nVersion: 2\n\n",
            "two-2.dist-info/RECORD": b"shared.py,,\ntwo-2.dist-info/RECORD,,\n",
            "nobody.py": b"",
        },
    )
    assert installed.distributions == (
        Distribution(
            "One",
            "1.0",
            ("one-1.0.dist-info/METADATA", "one-1.0.dist-info/RECORD", "one/a.py", "shared.py"),
        ),
        Distribution("two", "2", ("two-2.dist-info/METADATA", "two-2.dist-info/RECORD")),
    )
    assert Installed.from_json(installed.to_json()) == installed


def test_traces_are_left_out(tmp_path: Path) -> None:
    """Bytecode of others, where a wheel was, and their lines in RECORD."""
    record = (
        b"a/__init__.py,sha256=x,1\n"
        b"a/__pycache__/__init__.cpython-39.pyc,,\n"
        b"a-1.dist-info/direct_url.json,sha256=y,2\n"
        b"a-1.dist-info/RECORD,,\n"
    )
    installed, changed = _normalize(
        tmp_path,
        {
            "a/__init__.py": b"",
            "a/__pycache__/__init__.cpython-39.pyc": b"code",
            "a/pycache.pyc": b"data",
            "a-1.dist-info/METADATA": b"Name: a\nVersion: 1\n\n",
            "a-1.dist-info/direct_url.json": b'{"url": "file:///here"}',
            "a-1.dist-info/RECORD": record,
        },
    )
    assert installed.left_out == (
        "a-1.dist-info/direct_url.json",
        "a/__pycache__/__init__.cpython-39.pyc",
    )
    assert changed == {
        "a-1.dist-info/RECORD": b"a-1.dist-info/RECORD,,\na/__init__.py,sha256=x,1\n"
    }


@pytest.mark.parametrize(
    "beginning",
    [
        b"#!python\n",
        b"#!/tmp/sandbox/venv/bin/python3.11 -sE\n",
        b"#! /usr/bin/python\n",
        b"#!/home/a user/venv/bin/python\n",
        b"#!/usr/bin/env -S python3 -u\n",
        b"#!/usr/bin/env pypy3\n",
        b"#!python\r\n",
        b"#!pythonw\n",
        b"#!/bin/sh\n'''exec' /long/path/to/python3 \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_scripts_start_the_python_of_the_environment(tmp_path: Path, beginning: bytes) -> None:
    """In each form that installers write; RECORD has the new hash and place."""
    installed, changed = _normalize(
        tmp_path,
        {
            "bin/tool": beginning + b"print()\n",
            "bin/shell": b"#!/bin/sh\necho python\n",
            "bin/program": b"\x7fELF python\n",
            "a-1.dist-info/METADATA": b"Name: a\nVersion: 1\n\n",
            "a-1.dist-info/RECORD": b"bin/tool,sha256=old,3\na-1.dist-info/RECORD,,\n",
        },
    )
    assert installed.scripts == {"tool": True, "shell": False, "program": False}
    assert installed.data == ("bin",)
    content = _SHEBANG + b"print()\n"
    assert changed["bin/tool"] == content
    digest = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    assert changed["a-1.dist-info/RECORD"] == (
        b"../../../bin/tool,sha256=%b,%d\na-1.dist-info/RECORD,,\n" % (digest, len(content))
    )
    assert set(changed) == {"bin/tool", "a-1.dist-info/RECORD"}


def test_a_package_may_have_the_name_of_a_directory_of_data(tmp_path: Path) -> None:
    files = {"share/__init__.py": b"", "etc/app.conf": b"", "bin/__init__.py": b"", "bin/x": b"#!python\n"}
    installed, changed = _normalize(tmp_path, files)
    assert (installed.data, installed.scripts, changed) == (("etc",), {}, {})
    assert _ENVIRONMENT.relative_place("etc/app.conf", installed.data) == "etc/app.conf"
    place = _ENVIRONMENT.relative_place("share/__init__.py", installed.data)
    assert place == "lib/python3.11/site-packages/share/__init__.py"


def test_headers_have_the_version_of_the_environment() -> None:
    """pex names their directory by the Python that it runs on."""
    for version in ("3.9", "3.13"):
        place = _ENVIRONMENT.relative_place(f"include/site/python{version}/a/a.h", ["include"])
        assert place == "include/site/python3.11/a/a.h"
    assert _ENVIRONMENT.relative_place("include/b.h", ["include"]) == "include/b.h"


def test_names_at_the_top_decide() -> None:
    assert data_directories(["bin", "a", "share"], ["a/bin/__init__.py", "bin/x/__init__.py"]) == (
        "bin",
        "share",
    )


@pytest.mark.parametrize(
    "beginning",
    [
        b"#!/opt/python-tools/bin/node\n",
        b"#!/opt/python/bin/perl -w\n",
        b"#!/bin/sh\n# python\n",
        b"#!/bin/bash # no python\n",
        b"#!python",
        b"#!/" + 9000 * b"x" + b"/python\n",
        b"",
    ],
)
def test_other_programs_stay_as_they_are(tmp_path: Path, beginning: bytes) -> None:
    """Whatever the directory is called that theirs is in."""
    installed, changed = _normalize(tmp_path, {"bin/tool": beginning, "bin/directory/x": b"#!python\n"})
    assert (installed.scripts, changed) == ({"tool": False}, {})


def test_links_in_a_tree(tmp_path: Path) -> None:
    """Files and directories alike are those of who names them; a link in `bin` is no text to be changed."""
    tree = tmp_path / "tree"
    for path in ("a", "bin"):
        (tree / path).mkdir(parents=True)
    (tree / "a" / "file.py").symlink_to("nowhere.py")
    (tree / "a" / "directory").symlink_to("../bin")
    (tree / "bin" / "tool").symlink_to("nothing")
    record = b"a/directory,,\na/file.py,,\nbin/tool,,\n"
    installed, changed = _normalize(
        tmp_path,
        {"a-1.dist-info/METADATA": b"Name: a\nVersion: 1\n\n", "a-1.dist-info/RECORD": record},
    )
    (one,) = installed.distributions
    assert {"a/directory", "a/file.py", "bin/tool"} < set(one.files)
    assert installed.scripts == {"tool": False}
    assert changed["a-1.dist-info/RECORD"] == b"../../../bin/tool,,\na/directory,,\na/file.py,,\n"


def test_record_names_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file once, in three columns, however it is written, and wherever the step runs."""
    record = (
        b"../../../../../../../etc/passwd,,\n/etc/passwd,,\n,,\nnot/there.py,,\n"
        b"x/../a.py,sha256=x,1,2,3\r\na.py,sha256=y,1\na-1.dist-info/RECORD\n"
    )
    metadata = {"a-1.dist-info/METADATA": b"Name: a\nVersion: 1\n\n"}
    found = []
    for place in ("/", "/usr/lib"):
        monkeypatch.chdir(place)
        files = {"a.py": b"", "a-1.dist-info/RECORD": record, **metadata}
        found.append(_normalize(tmp_path / place.replace("/", "_"), files)[1])
    expected = {"a-1.dist-info/RECORD": b"a-1.dist-info/RECORD,,\na.py,sha256=y,1\n"}
    assert found == [expected, expected]


@pytest.mark.parametrize("record", [b"a.py,\0,\n", b"a.py,,\rb.py,,\r", b"a.py,,\r\nb.py,,\r\n"])
def test_a_record_of_another_system(tmp_path: Path, record: bytes) -> None:
    """Ends of lines and null bytes are no reason to lose the other files."""
    files = {"a.py": b"", "b.py": b"", "a-1.dist-info/METADATA": b"", "a-1.dist-info/RECORD": record}
    (one,) = _normalize(tmp_path, files)[0].distributions
    assert "a.py" in one.files


@pytest.mark.parametrize(
    ("metadata", "name", "version"),
    [
        (b"Name: Some.Name\nVersion: 1!2+x\n\n", "Some.Name", "1!2+x"),
        (b"name:a\n b\nVersion:\n\n", "a b", "1.0"),
        (b"Name: \xff\nVersion: 2\n\n", "\ufffd", "2"),
        (b"\0\xff", "a_b", "1.0"),
        (b"\n\nName: in-the-text\n", "a_b", "1.0"),
    ],
)
def test_metadata_of_all_kinds(tmp_path: Path, metadata: bytes, name: str, version: str) -> None:
    """What it does not say, the directory says; a name is one line of text."""
    installed, _ = _normalize(tmp_path, {"a_b-1.0.dist-info/METADATA": metadata})
    (one,) = installed.distributions
    assert (one.name, one.version) == (name, version)
    assert Installed.from_json(installed.to_json()) == installed


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Here a link that leads to itself."""
    (tmp_path / "tree" / "a-1.dist-info").mkdir(parents=True)
    (tmp_path / "tree" / "a-1.dist-info" / "METADATA").symlink_to("METADATA")
    with pytest.raises(NixOciError, match="Cannot read or write .*/a-1.dist-info/METADATA: Too many"):
        _normalize(tmp_path, {})


@pytest.mark.parametrize(
    "record",
    [
        b"../../outside.py,,\n/etc/passwd,,\n",
        b'"unclosed,,\n',
        b"\xff\xfe,,\n",
        b"a.py\n\n,\n",
        b"",
    ],
)
def test_a_record_that_lies_is_harmless(tmp_path: Path, record: bytes) -> None:
    """Files that it names and that are not in the tree are nobody's, and nothing is written elsewhere."""
    (tmp_path / "outside.py").write_text("outside")
    installed, changed = _normalize(
        tmp_path,
        {"a.py": b"", "a-1.dist-info/METADATA": b"", "a-1.dist-info/RECORD": record},
    )
    (one,) = installed.distributions
    assert (one.name, one.version) == ("a", "1")
    assert set(one.files) <= {"a.py", "a-1.dist-info/METADATA", "a-1.dist-info/RECORD"}
    assert set(changed) == {"a-1.dist-info/RECORD"}
    assert (tmp_path / "outside.py").read_text() == "outside"


def test_a_directory_without_metadata_is_no_distribution(tmp_path: Path) -> None:
    installed, _ = _normalize(tmp_path, {"a-1.dist-info/RECORD": b"", "a.py": b""})
    assert installed.distributions == ()


def test_the_same_wherever_the_tree_is(tmp_path: Path) -> None:
    files = {
        "bin/tool": b"#!python\n",
        "a-1.dist-info/METADATA": b"Name: a\nVersion: 1\n\n",
        "a-1.dist-info/RECORD": b"bin/tool,,\n",
    }
    first = _normalize(tmp_path / "one", files)
    mask = os.umask(0o077)
    try:
        second = _normalize(tmp_path / "another", dict(reversed(list(files.items()))))
    finally:
        os.umask(mask)
    assert first == second


@pytest.mark.parametrize("text", [b"{}", b"[]", b'{"distributions": 1}', b"no JSON"])
def test_another_document_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidInputError):
        Installed.from_json(text)
