"""The files that configure Nix: which ones, what they come to, and what one of them says.

Nix itself says what its settings are. This is to know, without starting it, whether it would still say so.
"""

from __future__ import annotations

import os

from nixoci.sha256 import sha256_of

# As in `nixoci.store.nix`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Mapping, Sequence

#: How `nix --version --verbose` says which files it reads, the ones of the user separated by colons.
_SYSTEM = "System configuration file: "
_USER = "User configuration files: "

#: Files that include each other in a circle are an error of Nix.
_MOST_FILES = 100


def configuration_files(version: str) -> tuple[str, ...]:
    """Returns the files that Nix reads, whether they exist or not; what a later one says counts.

    :param version: what `nix --version --verbose` prints.
    """
    system, user = "", ""
    for line in version.splitlines():
        if line.startswith(_SYSTEM):
            # In quotes since 2.33 or so.
            system = line[len(_SYSTEM) :].strip('"')
        elif line.startswith(_USER):
            user = line[len(_USER) :]
    return tuple(file for file in (system, *reversed(user.split(":"))) if file)


def configuration_digest(files: Sequence[str]) -> str:
    """Returns the SHA-256, in hexadecimal digits, of what the files say, and those that they include."""
    parts = [
        part.encode(errors="surrogateescape") for found in _texts(files) for part in found
    ]
    return sha256_of(b"".join(b"%d:%b" % (len(part), part) for part in parts))


def store_in(text: str) -> str:
    """Returns the setting `store` in the text of a `nix.conf`; empty if it is not there."""
    found = ""
    for words in _words(text):
        if words[:2] == ["store", "="]:
            found = " ".join(words[2:])
    return found


def origin_of_store(
    files: Sequence[str], environment: Mapping[str, str], settings: Mapping[str, str]
) -> str:
    """Returns what chooses the store, in words; empty if nothing does.

    :param files: see `configuration_files`.
    :param environment: of Nix.
    :param settings: that its commands get.
    """
    if "store" in settings:
        return "the option `store`"
    if store_in(environment.get("NIX_CONFIG", "")):
        return "`store` in the environment variable `NIX_CONFIG`"
    for file, text in reversed(list(_texts(files))):
        if store_in(text):
            return f"`store` in {file}"
    return "the environment variable `NIX_REMOTE`" if environment.get("NIX_REMOTE") else ""


def _texts(files: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yields names and texts of the files that exist, each one before those that it includes."""
    waiting = list(reversed(files))
    for _ in range(_MOST_FILES):
        if not waiting:
            return
        file = waiting.pop()
        try:
            with open(file, encoding="utf-8", errors="surrogateescape") as opened:
                text = opened.read()
        except (OSError, ValueError):
            continue
        yield file, text
        included = [
            os.path.join(os.path.dirname(file), words[1])
            for words in _words(text)
            if words[0] in ("include", "!include") and len(words) == 2
        ]
        waiting.extend(reversed(included))


def _words(text: str) -> Iterator[list[str]]:
    """Yields the words of each line that has any, as Nix reads it."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words:
            yield words
