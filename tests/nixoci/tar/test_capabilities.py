"""File capabilities in the tar: the value, where it stands, and what programs make of it."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.recipe.capabilities import CAPABILITIES
from nixoci.recipe.layer import DIALECTS, LayerRecipe, Owner, Permission
from nixoci.tar.capabilities import CAPABILITY_KEYWORD, capability_value
from nixoci.tar.dialect import DIALECTS as WRITERS
from nixoci.tar.header import REGULAR, USTAR_SIZE_LIMIT, owner_fields, pax_record

from tests.integration.support.tools import tool
from tests.nixoci.tar.tar_support import (
    File,
    Link,
    Node,
    recipe_of,
    store_path,
    tar_bytes,
    write_store,
)

PATH = store_path("tool")
TREE: Node = {
    b"bin": {
        b"ping": File(b"#!", 0o555),
        b"link": Link(b"ping"),
        b"ping-dir": {b"x": File()},
        b"p" * 150: File(b"long", 0o555),
    }
}


def test_known_values() -> None:
    """What `getfattr -e hex -n security.capability` shows after `setcap … +ep`."""
    assert capability_value(["cap_net_raw"]).hex() == "01000002" "00200000" + "00000000" * 3
    assert capability_value(["NET_RAW", "cap_net_raw"]) == capability_value(["cap_net_raw"])
    assert capability_value(["cap_bpf"]).hex() == "01000002" + "00000000" * 2 + "80000000" "00000000"


@given(st.sets(st.sampled_from(sorted(CAPABILITIES))))
def test_a_value_has_the_bits_of_its_names(names: set[str]) -> None:
    """In the permitted words, lower half first; the inheritable ones are empty."""
    value = capability_value(names)
    magic, low, none, high, nothing = struct.unpack("<5I", value)
    permitted = low | high << 32
    assert {name for name, number in CAPABILITIES.items() if permitted >> number & 1} == names
    assert (magic, none, nothing, len(value)) == (0x02000001, 0, 0, 20)


def test_an_unknown_name_has_no_value() -> None:
    with pytest.raises(InvalidInputError, match="'cap_ping' is not valid: expected one of"):
        capability_value(["cap_ping"])


def capabilities_in(stream: bytes) -> dict[str, str]:
    """Returns the capabilities of the entries that have some, as hexadecimal digits."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        for member in archive.getmembers():
            value = member.pax_headers.get(CAPABILITY_KEYWORD.decode())
            if value is not None:
                assert member.isfile()
                name = os.path.basename(member.name)
                found[name] = value.encode("utf-8", "surrogateescape").hex()
    return found


@pytest.mark.parametrize("dialect", DIALECTS)
def test_regular_files_have_them_and_nothing_else(tmp_path: Path, dialect: str) -> None:
    """Whatever else the expression matches; also beside other pax records and other changes."""
    write_store(str(tmp_path), {PATH: TREE})
    permissions = (Permission(f"{PATH}(/.*)?", uid=7, capabilities=("cap_net_raw",)),)
    recipe = replace(recipe_of(PATH, dialect=dialect), permissions=permissions)
    value = capability_value(["cap_net_raw"]).hex()
    assert capabilities_in(tar_bytes(recipe, str(tmp_path))) == {
        name: value for name in ("ping", "x", "p" * 150)
    }
    without = replace(recipe, permissions=(Permission(f"{PATH}(/.*)?", uid=7),))
    assert capabilities_in(tar_bytes(without, str(tmp_path))) == {}


def test_the_last_permission_that_sets_some_wins(tmp_path: Path) -> None:
    """They replace those of an earlier one; a permission without any leaves them."""
    write_store(str(tmp_path), {PATH: TREE})
    permissions = (
        Permission(".*", capabilities=("cap_net_raw",)),
        Permission(".*/ping", capabilities=("cap_bpf",)),
        Permission(".*", mode=0o755),
    )
    recipe = LayerRecipe(recipe_of(PATH).entries, permissions)
    found = capabilities_in(tar_bytes(recipe, str(tmp_path)))
    assert found["ping"] == capability_value(["cap_bpf"]).hex()
    assert found["x"] == capability_value(["cap_net_raw"]).hex()


def test_records_have_their_order() -> None:
    """In the dialect `oci` after all others; in Go's, that of the keywords."""
    attributes = ((CAPABILITY_KEYWORD, capability_value(["cap_kill"])),)
    own = pax_record(*attributes[0])
    name = b"/" + b"n" * 200
    rest = pax_record(b"path", name) + pax_record(b"size", b"%d" % USTAR_SIZE_LIMIT)
    for dialect, records in (("oci", rest + own), ("nix2container", own + rest)):
        header = WRITERS[dialect].encode_header(
            name, REGULAR, 0o555, USTAR_SIZE_LIMIT, b"", owner_fields(Owner()), attributes=attributes
        )
        assert header[512 : 512 + len(records)] == records
        assert len(header) == 512 + 512 + 512


def test_headers_are_those_of_go() -> None:
    """The digest is that of what Go 1.26's `archive/tar` wrote for the same names and sizes."""
    attributes = ((CAPABILITY_KEYWORD, bytes.fromhex("0100000200200000000000000a00000000000000")),)
    names = [
        b"/a",
        b"/n" * 50,
        b"/n" * 51,
        b"/" + b"d" * 90 + b"/" + b"f" * 90,
        "/é/x".encode(),
        b"/" + "é".encode() * 127,
    ]
    encode = WRITERS["nix2container"].encode_header
    headers = b"".join(
        encode(name, REGULAR, 0o555, size, b"", owner_fields(Owner()), attributes=attributes)
        for name in names
        for size in (0, 5, 8 << 30, 9 << 30)
    )
    assert hashlib.sha256(headers).hexdigest() == (
        "f8798ddd48db4ec47507a7abe9f15b3b78b2e91f3fd1b1a543078b4c8a39e0e3"
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_gnu_tar_gives_them_to_the_files(tmp_path: Path, dialect: str) -> None:
    """The kernel takes the value. It takes it from root alone, as all tests of containers need root."""
    write_store(str(tmp_path), {PATH: TREE})
    permissions = (Permission(".*/ping", capabilities=("cap_net_raw", "cap_bpf")),)
    recipe = replace(recipe_of(PATH, dialect=dialect), permissions=permissions)
    target = tmp_path / "extracted"
    target.mkdir()
    subprocess.run(
        [tool("tar"), "--extract", "--xattrs", "--xattrs-include=*", f"--directory={target}"],
        input=tar_bytes(recipe, str(tmp_path)),
        check=True,
        stderr=subprocess.PIPE,
    )
    ping = f"{target}{PATH}/bin/ping"
    value = os.getxattr(ping, "security.capability")
    assert value == capability_value(["cap_net_raw", "cap_bpf"])
    assert os.listxattr(f"{target}{PATH}/bin/{'p' * 150}") == []
