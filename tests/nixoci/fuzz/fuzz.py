"""Seeded mutations of inputs: what a parser gets that was written by nobody who means well.

The same seed gives the same inputs on every machine. A test has the number of rounds that takes
about a second; `NIXOCI_FUZZ_ROUNDS` asks for a longer run, see CONTRIBUTING.md.
"""

from __future__ import annotations

import json
import os
import random
import re
from itertools import islice
from typing import Any, Callable, Iterator, Sequence

from nixoci.errors import NixOciError

_DEFAULT_ROUNDS = 4_000

#: A mutated input that has grown beyond this is cut: bytes.
_LONGEST = 20_000

#: What parsers have stumbled over, here and elsewhere.
_PIECES = (
    *(b"\0", b"\n", b"\r\n", b"\x1b[31m", b"\x07", b"\x7f", b"\xff", b"\xc3", b"\xed\xa0\x80"),
    *("²", "\u0661", "ｅ", "ß", "\u202e", "\ud7ff", "\U0001f600", "\u0130"),
    *(
        " ",
        "\t",
        ",",
        ";",
        ":",
        "=",
        '"',
        "\\",
        "/",
        "//",
        "..",
        "a..b",
        ".",
        "@",
        "%",
        "%00",
        "%zz",
    ),
    *("[", "]", "{", "}", "[::1]", "[v1.a]", "[", "null", "true", "1e999", "NaN", "\\ud800"),
    *("-1", "0", "65535", "65536", "9" * 30, "9" * 5000, "+1", "1_0", "0x1", "a" * 64, "a" * 300),
    *("http://", "https://", "://", "xn--", "xn--a", "?", "#", "*", "localhost", "[" * 2000),
)
_TOKENS = tuple(piece.encode() if isinstance(piece, str) else piece for piece in _PIECES)
_NUMBER = re.compile(rb"[0-9]+")

#: What stands in JSON where something of another type is expected.
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**63, 2**70, 1.5, 1e308, "", "a", "\ud800", "\0", "9" * 40),
    *([], {}, [[]], [{}], [None], [1], ["a"], {"": {}}, {"path": None}, {"a": "b"}),
)


def rounds() -> int:
    """Returns how many inputs a test tries."""
    return int(os.environ.get("NIXOCI_FUZZ_ROUNDS") or _DEFAULT_ROUNDS)


def mutations(seed_corpus: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Yields `rounds()` inputs: those of the corpus, then mutated ones, the same for the same seed.

    :param seed_corpus: valid inputs, small ones at best; JSON is also changed in its structure.
    """
    chance = random.Random(seed)
    documents = [document for document in map(_parse_json, seed_corpus) if document is not None]
    for number in range(rounds()):
        if number < len(seed_corpus):
            yield seed_corpus[number]
        elif documents and chance.random() < 0.5:
            document = chance.choice(documents)
            for _ in range(chance.choice((1, 1, 2, 3))):
                document = _with_another_value(document, chance)
            yield json.dumps(document).encode()
        else:
            data = chance.choice(seed_corpus)
            for _ in range(chance.choice((1, 1, 2, 3, 6))):
                data = _mutate(data, seed_corpus, chance)[:_LONGEST]
            yield data


def fuzz(
    parse: Callable[[bytes], object],
    seed_corpus: Sequence[bytes],
    seed: int,
    expected: type[Exception] | tuple[type[Exception], ...] = NixOciError,
    *,
    cost: int = 1,
) -> None:
    """Lets `parse` read mutations; anything that it raises but `expected` is a failure.

    :param cost: how many times as long `parse` takes as others; it gets so many times fewer inputs.
    """
    inputs = islice(mutations(seed_corpus, seed), len(seed_corpus) + rounds() // cost)
    for number, data in enumerate(inputs):
        try:
            parse(data)
        except expected:
            continue
        except Exception as error:
            raise AssertionError(
                f"input {number} of seed {seed}: {data[:2000]!r}: {error!r}"
            ) from error


def _mutate(data: bytes, corpus: Sequence[bytes], chance: random.Random) -> bytes:
    start = chance.randint(0, len(data))
    end = min(len(data), start + chance.choice((0, 1, 1, 2, 8, 64)))
    kind = chance.randrange(8)
    if kind == 0:
        return data[:start] + data[end:]
    if kind == 1:
        return data[:start] + bytes((chance.randrange(256),)) + data[end:]
    if kind == 2:
        return data[:start] + data[start:end] * chance.choice((2, 3, 50)) + data[end:]
    if kind == 3:
        other = chance.choice(corpus)
        return data[:start] + other[chance.randint(0, len(other)) :]
    if kind == 4:
        return data[:start]
    numbers = list(_NUMBER.finditer(data))
    if kind == 5 and numbers:
        number = chance.choice(numbers)
        return data[: number.start()] + chance.choice(_TOKENS) + data[number.end() :]
    if kind == 6:
        return data[:start] + chance.choice(_TOKENS) + data[start:]
    return data[:start] + chance.choice(_TOKENS) + data[end:]


def _parse_json(data: bytes) -> Any:
    try:
        document = json.loads(data)
    except ValueError:
        return None
    return document if isinstance(document, (dict, list)) else None


def _with_another_value(document: Any, chance: random.Random) -> Any:
    """Returns a document in which one value, or the name of one, is another."""
    if isinstance(document, dict) and document and chance.random() < 0.9:
        name = chance.choice(list(document))
        value = _with_another_value(document[name], chance)
        rest = {key: each for key, each in document.items() if key != name}
        kind = chance.random()
        if kind < 0.1:
            return rest
        return {
            **rest,
            (chance.choice(("", "a", "\ud800", name * 2)) if kind < 0.2 else name): value,
        }
    if isinstance(document, list) and document and chance.random() < 0.9:
        place = chance.randrange(len(document))
        changed = [_with_another_value(document[place], chance)]
        return document[:place] + changed * chance.choice((0, 1, 1, 1, 2)) + document[place + 1 :]
    return chance.choice(_VALUES)
