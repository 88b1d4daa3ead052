"""Programs that keep credentials: the protocol of `docker-credential-helpers`."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time
from typing import Mapping, Optional

from nixoci.errors import InvalidInputError
from nixoci.json_input import get_field, parse_object
from nixoci.registry.auth.credentials import Credentials
from nixoci.registry.errors import CredentialsError, printable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

#: Seconds. A helper may ask its user for the password of a keychain.
TIME_LIMIT = 120.0

#: Bytes. Tokens have some thousands.
OUTPUT_LIMIT = 1 << 20

#: Seconds between two looks at whether a program has ended whose output something else keeps open.
_PAUSE = 0.05

#: What a helper prints that does not know the registry (docker-credential-helpers, `credentials`).
_NOT_FOUND = "credentials not found in native keychain"

#: The user name by which a helper says that the secret is an identity token.
_TOKEN_USER = "<token>"


def ask_helper(
    name: str, registry: str, environment: Mapping[str, str], time_limit: float = TIME_LIMIT
) -> Optional[Credentials]:
    """Asks the program `docker-credential-<name>` for the credentials of a registry.

    :param registry: what the program knows it by; it gets this on standard input.
    :param time_limit: seconds.
    :returns: None if the program does not know the registry.
    :raises CredentialsError: no such program, it failed, took too long, or said something else.
    """
    program = f"docker-credential-{name}"
    way_out = "log in again, or take it out of the file that names it"
    if not _NAME.fullmatch(name):
        shown = f"The credential helper {printable(name, 60)!r}"
        raise CredentialsError(shown, "no such name", way_out)
    path = shutil.which(program, path=environment.get("PATH", ""))
    if path is None:
        raise CredentialsError(program, "it is not on PATH", f"install it, or {way_out}")
    try:
        status, output = _run(path, registry, environment, time_limit)
    except subprocess.TimeoutExpired:
        raise CredentialsError(program, f"it took over {time_limit:g} seconds", way_out) from None
    except _TooMuchOutputError:
        raise CredentialsError(program, f"it printed over {OUTPUT_LIMIT} bytes", way_out) from None
    except OSError as error:
        raise CredentialsError(program, str(error.strerror), way_out) from None
    if status:
        message = output.decode(errors="replace").strip()
        if message == _NOT_FOUND:
            return None
        # What it printed may be anything, a secret too.
        raise CredentialsError(program, f"it ended with status {status}", way_out)
    try:
        return parse_answer(output, program)
    except InvalidInputError:
        raise CredentialsError(program, "its answer is not of the protocol", way_out) from None


def parse_answer(output: bytes, program: str) -> Credentials:
    """Parses what a helper prints for a registry that it knows.

    :raises InvalidInputError: it is not of the protocol. The error may have a secret in it.
    """
    document = parse_object("answer", output)
    username = get_field(document, "Username", str)
    secret = get_field(document, "Secret", str)
    if username == _TOKEN_USER:
        return Credentials("", identity_token=secret, source=program)
    return Credentials(username, secret, source=program)


class _TooMuchOutputError(Exception):
    """A program printed more than `OUTPUT_LIMIT`."""


def _run(
    path: str, registry: str, environment: Mapping[str, str], time_limit: float
) -> tuple[int, bytes]:
    """Returns the status of a helper and what it printed until it ended.

    What it has started and left behind (an agent that keeps keys) may hold the output open; it is neither
    waited for nor ended.

    :raises TimeoutExpired: and `_TooMuchOutputError`; the helper is killed then.
    """
    deadline = time.monotonic() + time_limit
    process = subprocess.Popen(
        [path, "get"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # It may tell the user what to do, and its output is nobody else's business.
        stderr=None,
        env=dict(environment),
        bufsize=0,
    )
    assert process.stdin is not None and process.stdout is not None
    with process.stdin as question, process.stdout as answer:
        try:
            try:
                # A name is less than a pipe takes at once.
                question.write(registry.encode())
                question.close()
            except BrokenPipeError:
                # It knows without.
                pass
            output = b""
            poll = select.poll()
            poll.register(answer, select.POLLIN)
            while True:
                # In this order: when it has ended, all that it printed is there.
                has_ended = process.poll() is not None
                if poll.poll(0 if has_ended else 1000 * _PAUSE):
                    part = os.read(answer.fileno(), 1 << 16)
                    output += part
                    if len(output) > OUTPUT_LIMIT:
                        raise _TooMuchOutputError
                    if not part:
                        return process.wait(max(0, deadline - time.monotonic())), output
                elif has_ended:
                    return process.returncode, output
                if time.monotonic() > deadline:
                    raise subprocess.TimeoutExpired(path, time_limit)
        except BaseException:
            process.kill()
            process.wait()
            raise
