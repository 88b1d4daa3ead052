"""Tests of `nixoci.recipe.certificates`."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path

import pytest
from nixoci.errors import InvalidInputError
from nixoci.recipe.certificates import BUNDLE, LINKS, bundle_certificates, certificate_files

from tests.integration.support.process import run
from tests.integration.support.tools import tool


def block(der: bytes, kind: str = "CERTIFICATE", width: int = 64) -> bytes:
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[start : start + width] for start in range(0, len(text), width))
    return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n".encode()


ONE, TWO = b"\x30" + b"1" * 100, b"\x30" + b"2" * 10


def test_certificates_are_there_once_in_order() -> None:
    """Names between them, line ends and widths of lines make no difference."""
    first = b"# a name\n" + block(TWO) + b"more\n" + block(ONE, width=10)
    second = block(ONE).replace(b"\n", b"\r\n") + block(TWO, "TRUSTED CERTIFICATE")
    assert bundle_certificates([("a", first), ("b", second)]) == block(TWO) + block(ONE)


def test_bundle_is_one_to_openssl(tmp_path: Path) -> None:
    """A certificate of openssl comes through as it is, and is loaded again."""
    certificate = tmp_path / "certificate.pem"
    subject = ("-nodes", "-days", "2", "-subj", "/CN=team", "-keyout", tmp_path / "key")
    run([tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", *subject, "-out", certificate])
    bundle = bundle_certificates([("team", certificate.read_bytes())])
    assert bundle == certificate.read_bytes()
    context = ssl.create_default_context(cadata=bundle.decode())
    assert len(context.get_ca_certs()) == 1


@pytest.mark.parametrize(
    "content, why",
    [
        (b"", "no certificate is in it"),
        (ONE, "no certificate is in it"),
        (block(ONE)[:-30], "no certificate is in it"),
        (block(b"1"), "is damaged"),
        (block(ONE).replace(b"MT", b"M!", 1), "is damaged"),
        (block(ONE, "PRIVATE KEY"), "a private key is in it"),
        (block(ONE) + block(ONE, "EC PRIVATE KEY"), "a private key is in it"),
        (block(ONE, "CERTIFICATE REQUEST"), "a CERTIFICATE REQUEST is in it"),
    ],
)
def test_files_that_are_refused(content: bytes, why: str) -> None:
    """The error names the file and shows nothing of it."""
    with pytest.raises(InvalidInputError, match=why) as caught:
        bundle_certificates([("certs/team.pem", content)])
    assert "certs/team.pem" in str(caught.value) and "MTEx" not in str(caught.value)


def test_other_names_lead_to_the_bundle() -> None:
    """Links are relative to where they are, or absolute."""
    (bundle, *links) = certificate_files("0" * 64, 1)
    assert bundle.path == BUNDLE
    assert {link.path for link in links} == set(LINKS)
    for link in links:
        place = Path(link.path).parent / (link.target or "")
        assert str(place) == BUNDLE


@pytest.mark.parametrize(
    "content",
    (
        b"-----BEGIN A-----" * 400_000,
        b"-----BEGIN CERTIFICATE-----\n" * 200_000 + b"-----END CERTIFICATE",
        b"-----BEGIN " * 400_000,
        b"-----BEGIN A" + b"A" * 4_000_000,
    ),
    ids=range(4),
)
def test_beginnings_without_an_end(content: bytes) -> None:
    """Not all that follows is looked at once more for each of them."""
    with pytest.raises(InvalidInputError, match="no certificate is in it"):
        bundle_certificates([("x", content)])
