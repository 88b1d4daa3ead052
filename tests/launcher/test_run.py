"""How `./pants` hands over to Pants."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.support.tools import tool
from tests.launcher.conftest import Repository, make_repository

ODD_ARGUMENTS = ["two words", "", "*", "$HOME", "`id`", "a\nb", "'\"", "--flag=x", "\\", "é"]


def echoed(arguments: list[str]) -> str:
    return "".join(f"<{argument}>" for argument in arguments)


def test_arguments_and_exit_code_pass_through(repository: Repository) -> None:
    """What Pants runs gets every argument as it was typed, and its exit code comes back."""
    result = repository.run(["./pants", "run", "//:echo", "--", *ODD_ARGUMENTS])
    assert result.stdout == echoed(ODD_ARGUMENTS), result.stderr
    assert result.returncode == 7


def test_the_version_reaches_build_files(repository: Repository) -> None:
    """That of the checkout, which the wheel has; here it is none of Git."""
    result = repository.run(["./pants", "peek", "//:echo"])
    version = (repository.root / "src" / "python" / "VERSION").read_text().strip()
    assert f'"description": "{version}.dev0"' in result.stdout, result.stderr


def test_exit_code_of_pants_passes_through(repository: Repository) -> None:
    """A request that Pants refuses is a failure of the launcher."""
    result = repository.run(["./pants", "list", "//:no-such-target"])
    assert result.returncode == 1
    assert "no-such-target" in result.stderr


def test_works_from_a_subdirectory(repository: Repository) -> None:
    """The launcher may be called by a relative path from below the root."""
    directory = repository.root / "some" / "directory"
    result = repository.run(["../../pants", "list", "//:echo"], cwd=directory)
    assert (result.returncode, result.stdout) == (0, "//:echo\n"), result.stderr


@pytest.mark.parametrize("relative", [False, True])
def test_works_through_symbolic_links(
    repository: Repository, tmp_path: Path, relative: bool
) -> None:
    """A chain of symbolic links, absolute or relative, leads to the launcher's own files."""
    launcher = repository.root / "pants"
    first = tmp_path / "first"
    first.symlink_to(os.path.relpath(launcher, tmp_path) if relative else launcher)
    second = tmp_path / "second"
    second.symlink_to("first" if relative else first)

    result = repository.run([second, "list", "//:echo"], cwd=repository.root / "some/directory")

    assert (result.returncode, result.stdout) == (0, "//:echo\n"), result.stderr


def test_works_through_a_link_in_the_current_directory(repository: Repository) -> None:
    """A link that is called without any directory in its name works too."""
    (repository.root / "link").symlink_to("pants")
    result = repository.run(["sh", "link", "list", "::"])
    assert (result.returncode, result.stdout) == (0, "//:echo\n"), result.stderr


def test_root_with_odd_name(repository: Repository, tmp_path: Path) -> None:
    """Spaces, quotes and braces in the paths of the checkout do not matter."""
    odd = make_repository(
        tmp_path / "it's {a} $place", repository.cache, repository.python_directory
    )
    result = odd.run(["./pants", "--no-pantsd", "list", "::"])
    assert (result.returncode, result.stdout) == (0, "//:echo\n"), result.stderr


def test_sentence_without_nix(repository: Repository, tmp_path: Path) -> None:
    """Without Nix, and no right to install it, a sentence says how to and the run goes on."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("cat", "id", "sh", "sha256sum"):
        (programs / name).symlink_to(tool(name))
    (tmp_path / "home").mkdir()
    environment = repository.environment(
        PATH=f"{repository.python_directory}:{programs}", HOME=str(tmp_path / "home")
    )

    result = repository.run(
        [
            *(tool("bwrap"), "--unshare-user", "--uid", "1000", "--gid", "1000"),
            *("--dev-bind", "/", "/", "--tmpfs", "/nix", "--"),
            *("./pants", "--no-pantsd", "--version"),
        ],
        environment=environment,
    )

    assert (result.returncode, result.stdout) == (0, "2.17.1\n"), result.stderr
    assert "Nix was not found" in result.stderr
    assert "apt-get install nix-bin" in result.stderr


def test_sentence_without_home(repository: Repository) -> None:
    """Without a place for its cache the launcher says what to set."""
    environment = repository.environment()
    del environment["XDG_CACHE_HOME"], environment["HOME"]
    result = repository.run(["./pants", "--version"], environment=environment)
    assert result.returncode == 1
    assert "XDG_CACHE_HOME or HOME" in result.stderr


def test_sentence_without_python(repository: Repository, tmp_path: Path) -> None:
    """Without a Python 3.9 anywhere the launcher says where it looked and how to install one."""
    (tmp_path / "empty").mkdir()
    environment = {"PATH": str(tmp_path / "empty"), "HOME": str(tmp_path / "empty")}
    result = repository.run(["./pants", "--version"], environment=environment)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "needs CPython 3.9 and found none in PATH, under pyenv or under uv" in result.stderr
    assert "`uv python install 3.9`" in result.stderr
