"""The lockfiles and pants.toml agree with each other."""

from __future__ import annotations

import re

import pytest
from nixoci.compression.formats import FORMATS

from tests.launcher.conftest import ROOT

LOCKS = sorted((ROOT / "3rdparty" / "python").glob("*.lock"))


def pinned(name: str) -> dict[str, str]:
    """Returns version by project of a lockfile."""
    text = (ROOT / "3rdparty" / "python" / name).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+) \\$", text, re.MULTILINE))


def test_one_version_of_pants() -> None:
    """Our launcher, the official one and the tests run the same Pants."""
    (version,) = re.findall(
        r'^pants_version = "(.*)"$', (ROOT / "pants.toml").read_text(), re.MULTILINE
    )
    default = pinned("default.lock")
    assert {
        version,
        pinned("pants.lock")["pantsbuild-pants"],
        default["pantsbuild-pants"],
        default["pantsbuild-pants-testutil"],
    } == {version}


def test_one_version_of_pex() -> None:
    """The PEX file that the launcher makes is of the Pex that Pants requires."""
    assert pinned("pex.lock")["pex"] == pinned("pants.lock")["pex"]


def test_tests_run_on_what_they_import() -> None:
    """What the test runner shares with the code's resolve has the same version there."""
    default = pinned("default.lock")
    for project, version in pinned("test-runner.lock").items():
        assert default[project] == version


def test_one_version_of_each_compressor() -> None:
    """Pants runs what the code wants, and the tests run the same."""
    for known in FORMATS.values():
        project, version = known.compressor.split()[:2]
        for lock in ("pants.lock", "default.lock", "tests.lock"):
            assert pinned(lock)[project] == version


def test_one_version_of_the_reader_of_elf_files() -> None:
    """Pants runs what the tests run."""
    assert pinned("pants.lock")["pyelftools"] == pinned("default.lock")["pyelftools"]


def test_one_version_of_the_parser_of_nix_files() -> None:
    """Pants runs what the tests run."""
    project = "tree-sitter-language-pack"
    assert pinned("pants.lock")[project] == pinned("default.lock")[project]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_locks_hold_hashes_and_no_addresses(lock: str) -> None:
    """Every pinned project has a hash, and nothing says where it was downloaded from."""
    text = (ROOT / "3rdparty" / "python" / lock).read_text()
    assert "://" not in text
    assert "--index" not in text and "--find-links" not in text
    blocks = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert blocks
    for block in blocks:
        assert re.match(r"[a-z0-9-]+==\S+ (; [^\n]+ )?\\\n    --hash=sha256:[0-9a-f]{64}", block), block
