"""Tests of `nixoci.store.hashes`."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.errors import InvalidInputError
from nixoci.store.hashes import parse_sha256, to_nix_base32, to_sri

DIGESTS = st.binary(min_size=32, max_size=32)
SAMPLE = hashlib.sha256(b"sample").digest()
BASE64 = to_sri(SAMPLE)[7:]
BASE32 = to_nix_base32(SAMPLE)


@given(DIGESTS)
def test_every_notation_gives_the_same_bytes(raw: bytes) -> None:
    """SRI, base-32, hex, prefixed base-64 and both objects are read back to what was written."""
    base64, base32 = to_sri(raw)[7:], to_nix_base32(raw)
    notations = [
        f"sha256-{base64}",
        f"sha256:{base64}",
        f"sha256:{base32}",
        f"sha256:{raw.hex()}",
        {"algorithm": "sha256", "hash": base64},
        {"algorithm": "sha256", "hash": f"sha256-{base64}"},
        {"algorithm": "sha256", "format": "base16", "hash": raw.hex()},
    ]
    assert [raw] * len(notations) == [parse_sha256(notation) for notation in notations]


@given(st.lists(DIGESTS, min_size=2, max_size=2, unique=True))
def test_different_hashes_are_written_differently(both: list[bytes]) -> None:
    """No two digests have one text, in base-32 (52 digits) and in SRI."""
    one, other = both
    assert to_nix_base32(one) != to_nix_base32(other) and to_sri(one) != to_sri(other)
    assert 52 == len(to_nix_base32(one))


def test_nix_writes_the_same() -> None:
    """`nix hash` turns hex into the same base-32 and the same SRI."""
    digests = [bytes(32), b"\xff" * 32, bytes(range(32)), bytes([1, *[0] * 31])]
    digests += [hashlib.sha256(bytes([number])).digest() for number in range(60)]
    hexadecimal = [raw.hex() for raw in digests]
    assert [to_nix_base32(raw) for raw in digests] == _nix_hash("to-base32", hexadecimal)
    assert [to_sri(raw) for raw in digests] == _nix_hash("to-sri", hexadecimal)


def test_nix_reads_the_same() -> None:
    """`nix hash to-base16` reads both notations as the bytes that they were made of."""
    digests = [hashlib.sha256(bytes([number])).digest() for number in range(60)]
    expected = [raw.hex() for raw in digests]
    assert expected == _nix_hash("to-base16", [to_nix_base32(raw) for raw in digests])
    assert expected == _nix_hash("to-base16", [to_sri(raw)[7:] for raw in digests])


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha256",
        "sha256:",
        "sha256-",
        BASE64,
        BASE32,
        SAMPLE.hex(),
        f"sha512:{BASE32}",
        f"SHA256:{BASE32}",
        f" sha256:{BASE32}",
        f"sha256:{BASE32[:-1]}",
        f"sha256:{BASE32}0",
        f"sha256:{BASE32[:-1]}\n",
        f"sha256:{'e' + BASE32[1:]}",
        f"sha256:{BASE32.upper()}",
        # The first of 52 digits has one bit only: 52 * 5 is 260.
        f"sha256:{'z' * 52}",
        f"sha256:2{BASE32[1:]}",
        f"sha256:{SAMPLE.hex()[:-1]}g",
        f"sha256:{SAMPLE.hex()[:-2]}",
        f"sha256:{SAMPLE.hex()[:-6]}      ",
        f"sha256:{SAMPLE.hex()[:-4]} {SAMPLE.hex()[-4:-1]}",
        f"sha256:{'١' * 64}",
        f"sha256-{BASE64[:-1]}",
        f"sha256-{BASE64[:-2]}==",
        f"sha256-{BASE64}\n",
        f"sha256- {BASE64}",
        f"sha256-{BASE64[:-4]}",
        f"sha256-{BASE64[:10]}\n{BASE64[10:]}",
        f"sha256-{'é' * 44}",
        f"sha256-{SAMPLE.hex()}",
        f"sha256-{BASE32}",
        None,
        7,
        True,
        [],
        SAMPLE,
        {},
        {"hash": BASE64},
        {"algorithm": "sha256"},
        {"algorithm": "sha256", "hash": None},
        {"algorithm": "sha256", "hash": {"algorithm": "sha256", "hash": BASE64}},
        {"algorithm": "sha512", "hash": BASE64},
        {"algorithm": "sha256", "hash": f"sha512-{BASE64}"},
    ],
)
def test_malformed_hashes_are_refused(value: object) -> None:
    """Other algorithms, lengths, alphabets and types are errors that show the value."""
    with pytest.raises(InvalidInputError) as caught:
        parse_sha256(value)
    assert "hash" == caught.value.what


@given(
    st.sampled_from(["sha256:", "sha256-"]),
    st.text(st.sampled_from("0123456789abcdfgzé=+/- \n"), min_size=43, max_size=65),
)
def test_what_is_not_refused_has_32_bytes(prefix: str, digits: str) -> None:
    """Any text is an error or gives exactly 32 bytes."""
    try:
        raw = parse_sha256(prefix + digits)
    except InvalidInputError:
        return
    assert 32 == len(raw)


def _nix_hash(command: str, values: list[str]) -> list[str]:
    features = ["--extra-experimental-features", "nix-command"]
    result = subprocess.run(
        ["nix", *features, "hash", command, "--type", "sha256", *values],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return result.stdout.decode().split()
