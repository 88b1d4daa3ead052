"""Tests of `nixoci.registry.auth.search` and `helper`, with real helper programs."""

from __future__ import annotations

import base64
import json
import os
import signal
from pathlib import Path
from typing import Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nixoci.registry.auth.credentials import Credentials
from nixoci.registry.auth.helper import ask_helper
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.errors import CredentialsError

_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=20)


def encoded(username: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def find(
    directory: Path, document: Any, registry: str = "host:5000", repository: str = "acme/api"
) -> Optional[Credentials]:
    (directory / "config.json").write_text(json.dumps(document))
    path = f"{directory / 'bin'}:{os.environ['PATH']}"
    environment = {"DOCKER_CONFIG": str(directory), "PATH": path}
    return CredentialSearch.of_environment(environment).find(registry, repository)


def write_helper(directory: Path, name: str, script: str) -> None:
    program = directory / "bin" / f"docker-credential-{name}"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@given(username=_TEXT.filter(lambda text: ":" not in text), password=_TEXT)
def test_any_account(
    tmp_path_factory: pytest.TempPathFactory, username: str, password: str
) -> None:
    """Name and password come out as they went in; a password may have colons."""
    directory = tmp_path_factory.mktemp("docker")
    document = {"auths": {"host:5000": encoded(username, password)}}
    assert find(directory, document) == Credentials(username, password)


@pytest.mark.parametrize(
    "key",
    ("host:5000", "https://host:5000", "https://host:5000/v1/", "http://host:5000/v2/"),
)
def test_keys(tmp_path: Path, key: str) -> None:
    """Programs write the registry as a name or as a URL."""
    assert find(tmp_path, {"auths": {key: encoded("a", "b")}}) == Credentials("a", "b")
    assert find(tmp_path, {"auths": {key: encoded("a", "b")}}, "host:5001") is None


def test_docker_hub(tmp_path: Path) -> None:
    document = {"auths": {"https://index.docker.io/v1/": encoded("a", "b")}}
    assert find(tmp_path, document, "docker.io") == Credentials("a", "b")


def test_the_closest_part_of_a_registry_counts(tmp_path: Path) -> None:
    """podman can have other accounts for parts of a registry."""
    auths = {
        "host:5000": encoded("all", "1"),
        "host:5000/acme": encoded("acme", "2"),
        "host:5000/acme/apis": encoded("apis", "3"),
    }
    found = find(tmp_path, {"auths": auths})
    assert found is not None and found.username == "acme"
    found = find(tmp_path, {"auths": auths}, repository="other")
    assert found is not None and found.username == "all"


def test_helpers(tmp_path: Path) -> None:
    """A helper of the registry is asked first, then the store of all, then the file itself."""
    answer = '{"ServerURL": "%s", "Username": "%s", "Secret": "s"}'
    write_helper(tmp_path, "one", f"read host; printf '{answer}' \"$host\" \"$1 $host\"")
    write_helper(tmp_path, "two", "echo credentials not found in native keychain; exit 1")
    write_helper(tmp_path, "token", f"printf '{answer}' x '<token>'")
    auths = {"host:5000": encoded("file", "s")}
    document = {"auths": auths, "credsStore": "two", "credHelpers": {"host:5000": "one"}}
    assert find(tmp_path, document) == Credentials("get host:5000", "s")
    del document["credHelpers"]
    assert find(tmp_path, document) == Credentials("file", "s")
    document["credsStore"] = "token"
    assert find(tmp_path, document) == Credentials("", identity_token="s")


@pytest.mark.parametrize(
    "script,message",
    (
        ("echo secret; exit 3", "ended with status 3"),
        ("echo secret", "not of the protocol"),
        ("""echo '{"Username": "u", "Secret": 3}'""", "not of the protocol"),
        ("""echo '{"Username": "u", "Secret": "secret\\ud800"}'""", "not of the protocol"),
        ("""echo '{"Username": "\\udcff", "Secret": "secret"}'""", "not of the protocol"),
        ("""echo '{"Username": "<token>", "Secret": "secret\\udfff"}'""", "not of the protocol"),
        ("""printf '{"Username": "u", "Secret": "secret\\377"}'""", "not of the protocol"),
        ("exec sleep 60", "took over 0.2 seconds"),
        ("exec >&-; exec sleep 60", "took over 0.2 seconds"),
        ("while :; do echo secret; sleep 0.01; done", "took over 0.2 seconds"),
        ("sleep 60 & wait", "took over 0.2 seconds"),
    ),
)
def test_helpers_that_fail(tmp_path: Path, script: str, message: str) -> None:
    """The program is named and what it printed is not."""
    write_helper(tmp_path, "bad", script)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    time_limit = 0.2 if "0.2 seconds" in message else 60
    with pytest.raises(CredentialsError, match=f"docker-credential-bad.*{message}") as caught:
        ask_helper("bad", "host", {"PATH": path}, time_limit=time_limit)
    assert "secret" not in f"{caught.value}{vars(caught.value)}"


@pytest.mark.parametrize(
    "script",
    (
        "exec cat /dev/zero",
        "while :; do echo secretsecretsecretsecretsecretsecret; done",
        "head -c 1048577 /dev/zero",
        "cat /dev/zero & wait",
    ),
)
def test_helpers_that_print_too_much(tmp_path: Path, script: str) -> None:
    """What never ends is not read to its end, and is over then."""
    write_helper(tmp_path, "bad", script)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    with pytest.raises(CredentialsError, match="printed over 1048576 bytes") as caught:
        ask_helper("bad", "host", {"PATH": path}, time_limit=60)
    assert "secret" not in f"{caught.value}{vars(caught.value)}"


@pytest.mark.parametrize(
    "script",
    (
        "sleep 300 & echo $! >$PIDS; echo \"$answer\"",
        "(while :; do sleep 1; echo; done) & echo $! >$PIDS; echo \"$answer\"",
        "echo \"$answer\"; exec >&-; sleep 300 & echo $! >$PIDS",
        "trap '' HUP; (sleep 300 & echo $! >$PIDS); read host; printf %s \"$answer\"",
    ),
)
def test_helpers_that_leave_something_behind(tmp_path: Path, script: str) -> None:
    """A program that a helper has started (an agent that keeps keys) is not waited for, nor ended."""
    write_helper(tmp_path, "agent", f"""answer='{{"Username": "u", "Secret": "s"}}'\n{script}""")
    pids = tmp_path / "pids"
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PIDS": str(pids)}
    try:
        found = ask_helper("agent", "host", environment, time_limit=30)
        assert found == Credentials("u", "s", source="docker-credential-agent")
        os.kill(int(pids.read_text()), 0)
    finally:
        os.kill(int(pids.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("name", ("../evil", "absent", "a b", ""))
def test_helpers_that_are_none(name: str) -> None:
    with pytest.raises(CredentialsError, match="no such name|not on PATH"):
        ask_helper(name, "host", {"PATH": "/nonexistent"})


@pytest.mark.parametrize(
    "document",
    (
        [],
        {"auths": []},
        {"auths": {"host:5000": "secret"}},
        {"auths": {"host:5000": {"auth": "secret!"}}},
        {"auths": {"host:5000": {"auth": base64.b64encode(b"secret").decode()}}},
        {"auths": {"host:5000": {"password": {"x": "secret"}}}},
        {"auths": {"host:5000": {"auth": base64.b64encode(b"secret:\xff").decode()}}},
        {"auths": {"host:5000": {"auth": "secret\ud800"}}},
        {"auths": {"host:5000": {"password": "secret\ud800"}}},
        {"auths": {"host:5000": {"username": "\udcff", "password": "secret"}}},
        {"auths": {"host:5000": {"identitytoken": "secret\udfff"}}},
        {"credsStore": "\ud800"},
        {"credsStore": 5},
        {"credHelpers": {"host:5000": ["secret"]}},
    ),
)
def test_files_that_are_wrong(tmp_path: Path, document: Any) -> None:
    """The file is named and its contents are not."""
    with pytest.raises(CredentialsError, match="config.json|no such name") as caught:
        find(tmp_path, document)
    assert "secret" not in f"{caught.value}{vars(caught.value)}"


def test_the_places(tmp_path: Path) -> None:
    """What the environment names is asked alone; else the places of podman and docker are."""
    variables = {"HOME": "/h", "XDG_RUNTIME_DIR": "/run/user/1"}
    places = CredentialSearch.of_environment(variables).files
    assert places == (
        "/run/user/1/containers/auth.json",
        "/h/.config/containers/auth.json",
        "/h/.docker/config.json",
    )
    named = {**variables, "REGISTRY_AUTH_FILE": "/f", "DOCKER_CONFIG": "/d"}
    assert CredentialSearch.of_environment(named).files == ("/f", "/d/config.json")
    assert CredentialSearch.of_environment({}).find("host", "x") is None


def test_secrets_are_not_in_a_representation() -> None:
    assert "secret" not in repr(Credentials("u", "secret", "secret"))
    assert "secret" not in repr(CredentialSearch((), {"X": "secret"}))
