"""What `build-support/version` says of a checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.support.tools import tool
from tests.launcher.conftest import ROOT


class Checkout:
    """A checkout with nothing in it but the script and what it reads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("build-support/version", "src/python/VERSION"):
            (root / name).parent.mkdir(parents=True)
            shutil.copy(ROOT / name, root / name)
        self.next = (root / "src/python/VERSION").read_text().strip()

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        return subprocess.check_output([tool("git"), *identity, *arguments], cwd=self.root, text=True)

    def commit(self) -> str:
        """Commits all that is there, and returns the first digits of the commit."""
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "a change")
        return self.git("rev-parse", "HEAD")[:12]

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "build-support/version"],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def version(self, **environment: str) -> str:
        result = self.run(**environment)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout.strip()


@pytest.fixture()
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "check out")


def test_commits_are_counted_from_the_newest_tag(checkout: Checkout) -> None:
    """The digits are as many in every repository; local changes and releases are said."""
    first = checkout.commit()
    assert checkout.version() == f"{checkout.next}.dev1+g{first}"
    checkout.git("tag", "v0.0.1")
    assert checkout.version() == f"{checkout.next}.dev0+g{first}"
    # Neither a version nor one of ours.
    checkout.git("tag", "vendored")
    second = checkout.commit()
    assert checkout.version() == f"{checkout.next}.dev1+g{second}"
    # Git's own setting, and its variables for hooks, change nothing.
    checkout.git("config", "core.abbrev", "20")
    assert checkout.version(GIT_DIR="/nowhere") == f"{checkout.next}.dev1+g{second}"
    (checkout.root / "new").write_text("not Git's")
    assert checkout.version() == f"{checkout.next}.dev1+g{second}"
    with (checkout.root / "build-support/version").open("a") as file:
        file.write("# Changed.\n")
    assert checkout.version() == f"{checkout.next}.dev1+g{second}.dirty"
    checkout.git("tag", f"v{checkout.next}")
    assert checkout.version() == f"{checkout.next}+g{second}.dirty"
    checkout.git("checkout", "--quiet", "build-support/version")
    assert checkout.version() == checkout.next


def test_after_a_release_the_next_one_has_a_number(checkout: Checkout) -> None:
    """Or else its wheels would be older than the release."""
    checkout.commit()
    checkout.git("tag", f"v{checkout.next}")
    checkout.commit()
    result = checkout.run()
    assert (result.returncode, result.stdout) == (1, "")
    assert f"v{checkout.next} is released, and src/python/VERSION still says" in result.stderr


def test_without_git(checkout: Checkout, tmp_path: Path) -> None:
    """Neither a repository above nor one that cannot be read is asked."""
    subprocess.check_call([tool("git"), "init", "--quiet", tmp_path])
    assert checkout.version() == f"{checkout.next}.dev0"
    (checkout.root / ".git").write_text("gitdir: /nowhere\n")
    assert checkout.version() == f"{checkout.next}.dev0"
    checkout.git("-C", str(tmp_path), "status")
    shutil.rmtree(tmp_path / ".git")
    (checkout.root / ".git").unlink()
    checkout.commit()
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "sh").symlink_to(tool("sh"))
    assert checkout.version(PATH=str(programs)) == f"{checkout.next}.dev0"


def test_the_version_of_the_sources() -> None:
    """It is one that Python's tools sort: three numbers."""
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", (ROOT / "src/python/VERSION").read_text())
