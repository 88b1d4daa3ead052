"""What a registry wants to know before it answers: the header `WWW-Authenticate`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Mapping, Sequence

#: A token of HTTP (RFC 9110, section 5.6.2).
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(
    rf'(?P<name>{_TOKEN})[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_TOKEN}))',
    re.DOTALL,
)
_SCHEME = re.compile(rf"(?P<scheme>{_TOKEN})(?:[ \t]+|(?=,)|$)")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_SEPARATORS = re.compile(r"[ \t,]*")
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)

#: Nobody needs more, and a hostile registry gets no more of our time.
_LONGEST = 8192


@dataclass(frozen=True)
class Challenge:
    """One way to authenticate.

    :param scheme: in lower case, such as `basic` or `bearer`.
    :param parameters: by name in lower case; of a name that comes twice, the first.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(values: Sequence[str]) -> tuple[Challenge, ...]:
    """Parses all `WWW-Authenticate` headers of an answer (RFC 9110, section 11.6.1).

    Several challenges can share a header, with the same comma between them as between parameters.
    Where a header stops making sense its rest is ignored: no challenge is as good as none.
    """
    challenges = []
    for value in values:
        challenges.extend(_parse(value[:_LONGEST]))
    return tuple(challenges)


def _parse(text: str) -> list[Challenge]:
    challenges: list[Challenge] = []
    parameters: dict[str, str] = {}
    position = _skip(text, 0)
    while position < len(text):
        hit = _PARAMETER.match(text, position)
        if hit is not None:
            if not challenges:
                break
            quoted = hit["quoted"]
            plain = hit["plain"] if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
            parameters.setdefault(hit["name"].lower(), plain)
        else:
            hit = _SCHEME.match(text, position)
            if hit is None:
                break
            parameters = {}
            challenges.append(Challenge(hit["scheme"].lower(), parameters))
            credentials = _TOKEN68.match(text, hit.end())
            # A lone token before a comma is the next scheme, not this one's data.
            if credentials is not None and "=" in credentials[0]:
                hit = credentials
        position = _skip(text, hit.end())
    return challenges


def _skip(text: str, position: int) -> int:
    separators = _SEPARATORS.match(text, position)
    return separators.end() if separators else position
