"""Tests of fetches during evaluation: with the Nix of this machine, a server, a repository."""

from __future__ import annotations

import functools
import hashlib
import io
import socket
import subprocess
import tarfile
import threading
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator

import pytest
from nixoci.store.evaluate import Derivation, evaluate
from nixoci.store.fetch import find_unpinned_fetch, read_call
from nixoci.store.messages.evaluation import UnpinnedFetchError

from tests.nixoci.store.nix_support import SYSTEM, nix, shell_derivation, write_tree

TEXT = "fetched text\n"


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@dataclass(frozen=True)
class Served:
    """A server with `/text` and `/tree.tar.gz` (in it: `tree/text`), and one of git.

    :param repository: URL of a git repository with `text`.
    :param text_hash: and `tree_hash`, in base 32, as Nix wants them.
    """

    url: str
    repository: str
    commit: str
    text_hash: str
    tree_hash: str


def _git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout.strip()


def _nix_hash(home: Path, *arguments: str) -> str:
    return nix(home).run(("nix-hash", "--type", "sha256", "--base32", *arguments)).decode().strip()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("served")
    write_tree(directory, {"text": TEXT, "repository/text": TEXT, "repository/value.nix": "1"})
    with tarfile.open(directory / "tree.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("tree/text")
        member.size = len(TEXT)
        archive.addfile(member, io.BytesIO(TEXT.encode()))
    write_tree(directory / "unpacked", {"text": TEXT})
    repository = directory / "repository"
    _git(directory, "init", "--quiet", "--initial-branch=master", str(repository))
    _git(repository, "add", ".")
    _git(repository, "commit", "--quiet", "--message=one")
    # As the large services have it.
    _git(repository, "config", "uploadpack.allowAnySHA1InWant", "true")
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Silent, directory=str(directory))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ("daemon", "--listen=127.0.0.1", f"--port={port}", "--export-all", "--log-destination=none")
    daemon = subprocess.Popen(["git", *words, f"--base-path={directory}", str(directory)])
    url = f"git://127.0.0.1:{port}/repository"
    while subprocess.run(["git", "ls-remote", url], capture_output=True, check=False).returncode:
        assert daemon.poll() is None
    yield Served(
        f"http://127.0.0.1:{server.server_port}",
        url,
        _git(repository, "rev-parse", "HEAD"),
        _nix_hash(directory, "--flat", str(directory / "text")),
        _nix_hash(directory, str(directory / "unpacked")),
    )
    daemon.terminate()
    daemon.wait()
    server.shutdown()
    thread.join()
    server.server_close()


def _filled(served: Served, expression: str) -> str:
    for name, value in vars(served).items():
        expression = expression.replace(f"@{name}@", value)
    return expression


def _evaluate(home: Path, root: Path, source: str = "default.nix", **options: Any) -> Derivation:
    return evaluate(
        nix(home), root=str(root), source=source, attr="a", system=SYSTEM, **options
    )


def _sources(root: Path, served: Served, expression: str) -> Path:
    told = _filled(served, expression)
    return write_tree(
        root,
        {
            "default.nix": "{ system }: {\n  inherit (import ./lib/fetched.nix { inherit system; }) a;\n}\n",
            "lib/fetched.nix": f"{{ system }}: {{\n  a = let\n    fetched =\n      {told};\n"
            f"  in {shell_derivation('a', '${builtins.readFile fetched}')};\n}}\n",
        },
    )


UNPINNED = {
    "url": ('builtins.fetchurl "@url@/text"', "fetchurl", "@url@/text"),
    "url in a set": ('builtins.fetchurl { url = "@url@/text"; name = "x"; }', "fetchurl", "@url@/text"),
    "tarball": (
        '"${builtins.fetchTarball "@url@/tree.tar.gz"}/text"',
        "fetchTarball",
        "@url@/tree.tar.gz",
    ),
    "plain name": (
        '"${fetchTarball { url = "@url@/tree.tar.gz"; }}/text"',
        "fetchTarball",
        "@url@/tree.tar.gz",
    ),
    "git": ('"${builtins.fetchGit "@repository@"}/text"', "fetchGit", "@repository@"),
    "branch": (
        '"${builtins.fetchGit { url = "@repository@"; ref = "master"; }}/text"',
        "fetchGit",
        "@repository@",
    ),
    "tree": (
        '"${builtins.fetchTree { type = "git"; url = "@repository@"; }}/text"',
        "fetchTree",
        "@repository@",
    ),
    "mercurial": ('"${builtins.fetchMercurial "@url@/hg"}/text"', "fetchMercurial", ""),
    "flake": (
        '"${builtins.getFlake "@repository@"}/text"',
        "getFlake",
        "@repository@",
    ),
}


@pytest.mark.parametrize("kind", UNPINNED)
def test_a_fetch_without_a_hash_is_refused(tmp_path: Path, served: Served, kind: str) -> None:
    """Whatever fetches, and in whichever of the files: the error has the call and how it is pinned."""
    expression, function, url = UNPINNED[kind]
    with pytest.raises(UnpinnedFetchError) as caught:
        _evaluate(tmp_path, _sources(tmp_path / "s", served, expression))
    error = caught.value
    assert function == error.function
    assert _filled(served, url) in error.url
    if kind != "mercurial":
        # Nix 2.8 says where the result is asked for, which is a line or two further down.
        assert error.place.startswith("lib/fetched.nix:")
    told = str(error)
    assert f"a of default.nix fetches without a hash: `builtins.{function}`" in told
    assert "`rev`" in told or "`sha256`" in told or "(`?rev=…`)" in told
    assert "npins" in told and str(tmp_path) not in told


PINNED = {
    "url": 'builtins.fetchurl { url = "@url@/text"; sha256 = "@text_hash@"; }',
    "tarball": '"${builtins.fetchTarball { url = "@url@/tree.tar.gz"; sha256 = "@tree_hash@"; }}/text"',
    "git": '"${builtins.fetchGit { url = "@repository@"; rev = "@commit@"; }}/text"',
    "branch": '"${builtins.fetchGit { url = "@repository@"; ref = "master"; rev = "@commit@"; }}/text"',
    "tree": '"${builtins.fetchTree { type = "git"; url = "@repository@"; rev = "@commit@"; }}/text"',
}


@pytest.mark.parametrize("kind", PINNED)
def test_a_fetch_with_a_hash_is_made(tmp_path: Path, served: Served, kind: str) -> None:
    """What is fetched by its hash is known beforehand."""
    found = _evaluate(tmp_path, _sources(tmp_path / "s", served, PINNED[kind]))
    assert TEXT.rstrip() in Path(str(found.drv_path)).read_text()


def test_the_url_is_that_of_the_call(tmp_path: Path, served: Served) -> None:
    """Also where it is put together, and other calls, which have a hash, come before."""
    pinned = _filled(served, PINNED["url"])
    url = 'let host = "@url@"; in "${host}/tree.tar.gz"'
    expression = f'"${{builtins.fetchTarball (builtins.seq ({pinned}) ({url}))}}/text"'
    with pytest.raises(UnpinnedFetchError) as caught:
        _evaluate(tmp_path, _sources(tmp_path / "s", served, expression))
    assert f"{served.url}/tree.tar.gz" == caught.value.url


def test_what_is_fetched_must_have_the_hash(tmp_path: Path, served: Served) -> None:
    """The hash of something else is Nix's own error."""
    other = hashlib.sha256(b"other").hexdigest()
    expression = f'builtins.fetchurl {{ url = "@url@/text"; sha256 = "{other}"; }}'
    with pytest.raises(Exception, match="hash mismatch"):
        _evaluate(tmp_path, _sources(tmp_path / "s", served, expression))


def test_a_fetch_in_what_was_fetched_is_refused(tmp_path: Path, served: Served) -> None:
    """Code that is pinned itself may fetch something that is not."""
    inner = write_tree(
        tmp_path / "inner", {"default.nix": _filled(served, 'builtins.fetchurl "@url@/text"\n')}
    )
    expression = f'import "${{builtins.path {{ path = ./inner; name = "inner"; }}}}"'
    root = _sources(tmp_path / "s", served, expression)
    inner.rename(root / "lib" / "inner")
    with pytest.raises(UnpinnedFetchError) as caught:
        _evaluate(tmp_path, root)
    assert "fetchurl" == caught.value.function


def test_a_fetch_of_a_flake_is_refused_with_its_place(tmp_path: Path, served: Served) -> None:
    """A flake's copy in the store is told as the file that it is of."""
    fetched = _filled(served, '${builtins.readFile (builtins.fetchurl "@url@/text")}')
    package = shell_derivation("a", fetched)
    text = f'{{ outputs = _: let system = "{SYSTEM}"; in {{ packages.{SYSTEM}.a = {package}; }}; }}'
    root = write_tree(tmp_path / "s", {"sub/flake.nix": text})
    with pytest.raises(UnpinnedFetchError) as caught:
        _evaluate(tmp_path, root, "sub/flake.nix")
    assert caught.value.place.startswith("sub/flake.nix:1:")


_SAID = [
    (
        "error:\n       … while calling the 'fetchGit' builtin\n         at {root}/a.nix:2:3:\n\n"
        "       error: in pure evaluation mode, 'fetchGit' doesn't fetch unlocked input 'git+http://h?a=1'",
        "`builtins.fetchGit` of git+http://h?a=1 at a.nix:2:3",
    ),
    (
        "error:\n       … while calling the 'fetchTree' builtin\n         at {root}/a.nix:2:3:\n\n"
        "       error: in pure evaluation mode, 'fetchTree' will not fetch unlocked input 'git+http://h'",
        "`builtins.fetchTree` of git+http://h at a.nix:2:3",
    ),
    (
        "error: in pure evaluation mode, 'fetchTree' requires a locked input, at {root}/a.nix:2:3",
        "`builtins.fetchGit` of http://h/x at a.nix:2:3",
    ),
    (
        "error: in pure evaluation mode, 'fetchurl' requires a 'sha256' argument\n\n       … while calling"
        "\n\n       at {root}/a.nix:2:3:\n\n            1| x\n\n       … while\n\n       at {root}/b.nix:1:1:",
        "`builtins.fetchurl` of http://h/x at a.nix:2:3",
    ),
    (
        "error: in pure evaluation mode, 'fetchurl' requires a 'sha256' argument\n\n       … while calling"
        "\n\n       at {root}/a.nix:3:5:\n",
        "`builtins.fetchurl` at a.nix:3:5",
    ),
    (
        "error: cannot call 'getFlake' on unlocked flake reference 'git+http://h', at «none»:0",
        "`builtins.getFlake` of git+http://h",
    ),
    ("error: in pure evaluation mode, 'fetchNew' requires something", "`builtins.fetchNew`"),
    ("error: undefined variable 'fetchTree'", None),
    ("error: access to absolute path '/etc' is forbidden in pure eval mode", None),
]


@pytest.mark.parametrize("message, told", _SAID)
def test_what_versions_of_nix_say(tmp_path: Path, message: str, told: str | None) -> None:
    """The place is that of the inmost call; the URL is read from there where the message has none."""
    write_tree(tmp_path, {"a.nix": '{\n  builtins.fetchGit\n    { url = "http://h/x"; }\n}\n'})
    found = find_unpinned_fetch(message.replace("{root}", str(tmp_path)), str(tmp_path))
    assert told == (None if found is None else str(read_call(found, str(tmp_path))))
