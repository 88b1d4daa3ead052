"""Tests of `nixoci.store.nix`, with the Nix of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nixoci.store.closure import InvalidPathError
from nixoci.store.nix import Nix, NixFailedError, NixNotFoundError, NixTooOldError
from nixoci.store.path import StorePath

from tests.nixoci.store.closure_support import store_path
from tests.nixoci.store.nix_support import delete, environment, nix, program, unique_word


def _add(home: Path, text: str) -> StorePath:
    """Adds a file to the store and returns its path."""
    file = home / "added"
    file.write_text(text)
    return StorePath.parse(nix(home).run(("nix-store", "--add", str(file))).decode().strip())


@pytest.mark.parametrize("environ", [{}, {"PATH": ""}, {"PATH": "/nowhere:/etc"}])
def test_no_nix(environ: dict[str, str]) -> None:
    """The error says where Nix was looked for, and how to get it."""
    with pytest.raises(NixNotFoundError, match="Install Nix") as caught:
        Nix.find(environ)
    assert environ.get("PATH", "") == caught.value.search_path
    assert (environ.get("PATH") or "an empty PATH") in str(caught.value)


def test_a_file_that_is_no_program_is_not_nix(tmp_path: Path) -> None:
    """What cannot be executed is passed over, as a shell does."""
    (tmp_path / "nix").write_text("text")
    with pytest.raises(NixNotFoundError):
        Nix.find({"PATH": str(tmp_path)})


def test_the_first_nix_on_the_path_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its directory is absolute, so that it is found from everywhere."""
    for name in ("one", "two"):
        program(tmp_path / name, "nix", "echo 'nix (Nix) 99.1'")
    monkeypatch.chdir(tmp_path)
    found = Nix.find({"PATH": "nowhere:two:one"})
    assert str(tmp_path / "two") == found.directory
    monkeypatch.chdir("/")
    assert "99.1" == found.version()


def test_the_machine_has_a_nix_that_is_new_enough(tmp_path: Path) -> None:
    """The version is what follows the name of the program."""
    output = nix(tmp_path).run(("nix", "--version")).decode().split()
    assert output[-1] == nix(tmp_path).version()


@pytest.mark.parametrize(
    "line, version",
    [
        ("nix (Nix) 2.8.0", "2.8.0"),
        ("nix (Nix) 2.34.8", "2.34.8"),
        ("nix (Nix) 2.18.1pre20230101_abcdef0", "2.18.1pre20230101_abcdef0"),
        ("nix (Nix) 3.0", "3.0"),
        ("nix (Lix, like Nix) 2.91.0", "2.91.0"),
        ("nix (Determinate Nix 3.11.2) 2.31.1", "2.31.1"),
    ],
)
def test_versions_of_all_nixes_are_read(tmp_path: Path, line: str, version: str) -> None:
    """What Nix and its relatives print has the version of Nix at its end."""
    program(tmp_path, "nix", f"echo '{line}'")
    assert version == Nix.find({"PATH": str(tmp_path)}).version()


@pytest.mark.parametrize("version", ["2.3.16", "2.7.0", "1.11.16", "0.9", "unknown", ""])
def test_a_nix_that_is_too_old_is_refused(tmp_path: Path, version: str) -> None:
    """The error names the program, its version and the one that is needed."""
    program(tmp_path, "nix", f"echo 'nix (Nix) {version}'")
    with pytest.raises(NixTooOldError, match="at least 2.8 is needed") as caught:
        Nix.find({"PATH": str(tmp_path)}).version()
    assert f"{tmp_path}/nix" == caught.value.program
    assert version in caught.value.version


def test_a_failing_command_is_shown(tmp_path: Path) -> None:
    """The error has exit status and message, and no more of the command than says which it is."""
    with pytest.raises(NixFailedError, match="`nix eval` failed") as caught:
        nix(tmp_path).command("eval", "--expr", 'throw "why it failed"')
    assert 1 == caught.value.status and "why it failed" in caught.value.message
    assert "eval" == caught.value.command[1]


def test_a_program_that_is_gone(tmp_path: Path) -> None:
    """The error says where it was."""
    for name, directory in (("nix", "/nowhere"), ("nix-store", str(program(tmp_path, "nix", "")))):
        with pytest.raises(NixNotFoundError) as caught:
            Nix(directory, {}).run((name, "--version"))
        assert directory == caught.value.search_path


def test_only_the_given_environment_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process has in its environment does not reach Nix."""
    monkeypatch.setenv("NIXOCI_TEST", "leaked")
    program(tmp_path, "nix", 'echo "$NIXOCI_TEST,$OTHER"')
    found = Nix(str(tmp_path), {"OTHER": "given"})
    assert b",given\n" == found.run(("nix",))


def test_a_command_runs_where_it_is_told(tmp_path: Path) -> None:
    """Else it runs where this process does."""
    program(tmp_path, "nix", "pwd -P")
    found = Nix(str(tmp_path), {})
    assert f"{tmp_path.resolve()}\n".encode() == found.run(("nix",), directory=str(tmp_path))
    assert f"{os.getcwd()}\n".encode() == found.run(("nix",))


def test_validity(tmp_path: Path) -> None:
    """Valid paths are told from others, and the others are named, sorted, each once."""
    valid = _add(tmp_path, "text")
    missing = [store_path(f"never-{unique_word()}") for _ in range(3)]
    asked = [missing[0], valid, *missing, valid]
    found = nix(tmp_path)
    assert tuple(sorted(missing)) == found.invalid(asked)
    assert () == found.invalid([valid]) == found.invalid([])
    found.require_valid([valid])
    with pytest.raises(InvalidPathError) as caught:
        found.require_valid(asked)
    assert tuple(sorted(missing)) == caught.value.paths


def test_validity_of_more_paths_than_a_command_line_holds(tmp_path: Path) -> None:
    """Thousands of paths are asked for in several commands."""
    paths = [store_path(f"never-{number}-{'x' * 180}") for number in range(5000)]
    assert tuple(sorted(paths)) == nix(tmp_path).invalid([*paths, _add(tmp_path, "text")])


def test_closure(tmp_path: Path) -> None:
    """The graph is what `nix-store` says of the roots and of all that they reference."""
    found = nix(tmp_path)
    word = unique_word()
    expression = (
        f'let leaf = builtins.toFile "leaf" "{word}"; in '
        f'builtins.toFile "root" "${{leaf}} {word}"'
    )
    output = found.run(("nix-instantiate", "--eval", "--read-write-mode", "--expr", expression))
    root = StorePath.parse(output.decode().strip().strip('"'))
    graph = found.closure([root, root])
    requisites = found.run(("nix-store", "--query", "--requisites", root)).decode().split()
    assert sorted(requisites) == list(graph) and 2 == len(graph)
    for path, info in graph.items():
        query = ("nix-store", "--query", "--references", path)
        assert sorted(found.run(query).decode().split()) == list(info.references)
        size = found.run(("nix-store", "--query", "--size", path)).decode()
        assert int(size) == info.nar_size
        assert info.ca is not None and info.ca.startswith("text:sha256:")


def test_closure_of_a_path_that_is_not_valid(tmp_path: Path) -> None:
    """Nothing is built, fetched or left out: the error names the path."""
    missing = store_path(f"never-{unique_word()}")
    with pytest.raises(InvalidPathError) as caught:
        nix(tmp_path).closure([_add(tmp_path, "text"), missing])
    assert (missing,) == caught.value.paths


def test_closure_of_nothing(tmp_path: Path) -> None:
    """No roots, no paths."""
    assert 0 == len(nix(tmp_path).closure([]))


@pytest.mark.parametrize(
    "remote, root",
    [
        (None, ""),
        ("", ""),
        ("auto", ""),
        ("daemon", ""),
        ("unix:///run/nix", ""),
        ("local", ""),
        ("local?state=/x", ""),
        ("/chroot", "/chroot"),
        ("/chroot/", "/chroot"),
        ("local?root=/chroot", "/chroot"),
        ("local?root=/chroot/&state=/x", "/chroot"),
        ("local?state=/x&root=/a%20b", "/a b"),
        ("local?root=/a+b", "/a+b"),
        ("local?root=/", ""),
    ],
)
def test_store_root(remote: Any, root: str) -> None:
    """Where the files of a store path are, for every store whose files are on this machine."""
    environ = {} if remote is None else {"NIX_REMOTE": remote}
    assert root == Nix("/bin", environ).store_root


@pytest.mark.parametrize("name", ["plain", "a+b", "a b%"])
@pytest.mark.parametrize("form", ["{}", "local?root={}"])
def test_store_root_is_that_of_nix(tmp_path: Path, name: str, form: str) -> None:
    """What Nix adds to a chroot store is found below the root of the store."""
    root = tmp_path / name
    quoted = str(root).replace("%", "%25").replace(" ", "%20") if "?" in form else str(root)
    if "?" not in form and "%" in name:
        return
    found = Nix.find({**environment(tmp_path), "NIX_REMOTE": form.format(quoted)})
    (tmp_path / "file").write_text("text")
    path = found.run(("nix-store", "--add", str(tmp_path / "file"))).decode().strip()
    assert "text" == Path(found.store_root + path).read_text()
    assert str(root) == found.store_root
    assert [path] == list(found.closure([StorePath.parse(path)]))


@pytest.mark.parametrize("ask", [Nix.nar_hashes, Nix.registered, Nix.closure])
def test_what_becomes_valid_while_it_is_asked_about(ask: Any, tmp_path: Path) -> None:
    """Others build at the same time: between two questions as well."""
    plain = nix(tmp_path)
    path, there = _add(tmp_path, unique_word()), _add(tmp_path, "there")
    (tmp_path / "added").write_text(Path(path).read_text())
    delete(plain, path)
    for name in ("nix", "nix-store"):
        program(
            tmp_path / "bin",
            name,
            f"""case $1 in
--query | path-info)
    {plain.directory}/{name} "$@"
    status=$?
    [ -e {tmp_path}/built ] || {plain.directory}/nix-store --add {tmp_path}/added > {tmp_path}/built
    exit $status ;;
esac
exec {plain.directory}/{name} "$@" """,
        )
    racing = replace(plain, directory=str(tmp_path / "bin"), known_store=plain.store)
    found = ask(racing, [path, there])
    assert (tmp_path / "built").read_text().strip() == path
    assert len(found) == 2


def test_another_failure_stays_one(tmp_path: Path) -> None:
    """It is tried once more, and no more."""
    plain = nix(tmp_path)
    path = _add(tmp_path, unique_word())
    for name in ("nix", "nix-store"):
        program(
            tmp_path / "bin",
            name,
            f"""case $1 in
--query | path-info) echo {name} >> {tmp_path}/asked; echo "error: on fire" >&2; exit 1 ;;
esac
exec {plain.directory}/{name} "$@" """,
        )
    broken = replace(plain, directory=str(tmp_path / "bin"), known_store=plain.store)
    for ask in (broken.registered, broken.closure):
        with pytest.raises(NixFailedError, match="on fire"):
            ask([path])
    assert (tmp_path / "asked").read_text().split() == ["nix-store"] * 2 + ["nix"] * 2


def test_hashes_while_something_else_is_done(tmp_path: Path) -> None:
    """Nix is at work while the body is, and what is not valid is named as before."""
    plain = nix(tmp_path)
    paths = [_add(tmp_path, unique_word()), _add(tmp_path, "there")]
    begun = tmp_path / "begun"
    program(
        tmp_path / "bin",
        "nix-store",
        f"""touch {begun}
exec {plain.directory}/nix-store "$@" """,
    )
    noted = replace(plain, directory=str(tmp_path / "bin"), known_store=plain.store)
    with noted.nar_hashes_meanwhile(paths) as hashes:
        while not begun.exists():
            time.sleep(0.01)
        assert hashes() == plain.nar_hashes(paths)
    lost = store_path("lost")
    with pytest.raises(InvalidPathError) as caught, plain.nar_hashes_meanwhile([*paths, lost]) as hashes:
        hashes()
    assert caught.value.paths == (lost,)
    with plain.nar_hashes_meanwhile([]) as hashes:
        assert hashes() == ()


def test_nobody_wants_the_hashes_any_more(tmp_path: Path) -> None:
    """Then nothing is left that works them out."""
    plain = nix(tmp_path)
    program(tmp_path / "bin", "nix-store", f"echo $$ > {tmp_path}/pid; exec sleep 600")
    slow = replace(plain, directory=str(tmp_path / "bin"), known_store=plain.store)
    with pytest.raises(ZeroDivisionError), slow.nar_hashes_meanwhile([store_path("any")]):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        _ = 1 / 0
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_tests_delete_while_a_name_is_too_long_for_nix(tmp_path: Path) -> None:
    """Nix gives up where a process has such a directory open. What `nix_support.delete` waits for ends after a second."""
    path = _add(tmp_path, unique_word())
    script = "import os, sys, time\nfor _ in range(20):\n os.mkdir('d' * 250); os.chdir('d' * 250)\n"
    (tmp_path / "deep").mkdir()
    with subprocess.Popen(
        (sys.executable, "-c", f"{script}print(flush=True); time.sleep(1)"),
        cwd=tmp_path / "deep",
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stdout.readline()
        with pytest.raises(NixFailedError, match="File name too long"):
            nix(tmp_path).run(("nix-store", "--delete", path))
        delete(nix(tmp_path), path)
    assert not os.path.exists(path)
