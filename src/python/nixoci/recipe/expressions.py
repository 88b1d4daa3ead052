"""Regular expressions of paths, matched in time that grows with the path times the expression.

Python's `re` tries one way to match after the other, and there may be exponentially many. Whether a whole
text matches is all that is asked here, so all ways are followed at once: the expression becomes a program
whose instructions are characters and forks, and the sets of instructions at which it can be are the states
of an automaton, made when a text first gets there.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

from nixoci.errors import InvalidInputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Optional, Union

    #: A character, whether it is one of some, distances to what may be next, or `_START` and the like.
    Instruction = Union[str, Callable[[str], object], tuple[int, ...], int]
    Code = list[Instruction]

#: Instructions of a program. Each costs some 100 ns for each character of a path that is like no other.
MOST_INSTRUCTIONS = 2000
#: Steps of an automaton that are kept.
_MOST_STEPS = 20_000

_START, _DOLLAR, _END = range(3)
_PLACES = {"^": _START, r"\A": _START, "$": _DOLLAR, r"\Z": _END, r"\z": _END}

_WHAT = "permission path"
_FLAGS = re.compile(r"\A(?:\(\?[aiLmsux]+\))*")
_TOKEN = re.compile(
    r"\\(?:x..|u.{4}|U.{8}|N\{[^}]*\}|0[0-7]{0,2}|[0-3][0-7][0-7]|[1-9][0-9]?|.)"
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]"
    r"|\(\?P<\w+>|\(\?:|\(\??"
    r"|(?:[*+?]|\{(?:[0-9]+(?:,[0-9]*)?|,[0-9]*)\})[?+]?"
    r"|.",
    re.DOTALL,
)
_IS_REPEAT = re.compile(r"[*+?].?|\{.*\}.?").fullmatch
#: What depends on more than the set of instructions.
_IS_OTHER = re.compile(r"\(\?|\\(?:[bB]|[1-9][0-9]?)|.+\+").fullmatch


@lru_cache(maxsize=256)
def expression(text: str) -> Callable[[str], object]:
    """Returns the function that says whether a regular expression of Python matches all of a text.

    `re` is faster where there are few ways to match. What no automaton has, lookarounds and backreferences,
    is left to it too, if there are not many. What `re` would warn of (`[[:alpha:]]`, which a later version may take for
    a set in a set) means what it means in this version.

    :raises InvalidInputError: no regular expression, or one that may take long.
    """
    with warnings.catch_warnings():
        # Who has turned warnings into errors gets none either: an expression is as good there as elsewhere.
        warnings.simplefilter("ignore")
        return _matcher(text)


def _matcher(text: str) -> Callable[[str], object]:
    try:
        compiled = re.compile(text)
        flags = _FLAGS.findall(text)[0]
        # Python refuses others from 3.11 on; before, they count for all of the expression.
        if compiled.flags != re.compile(flags).flags:
            raise InvalidInputError(_WHAT, text, "flags are not at its start")
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInputError(_WHAT, text, str(error)) from None
    tokens = _TOKEN.findall(text, len(flags))
    other = next((t for t in tokens if _IS_OTHER(t) and t not in ("(?:", r"\+", "+")), "")
    if compiled.flags & (re.MULTILINE | re.VERBOSE):
        other = flags
    if not other:
        if _has_few_ways(tokens, 1):
            return compiled.fullmatch
        code = _code(text, tokens, flags)
        if not _takes_line_end_after_dollar(code):
            return _Automaton(code).matches
        other = "$"
    if not _has_few_ways(tokens, 2):
        why = f"it may take too long: beside {other!r}, only two single characters may be repeated "
        why += "(`.*`), and there may be two `|` or `?`; write it without"
        raise InvalidInputError(_WHAT, text, why)
    return compiled.fullmatch


def _has_few_ways(tokens: list[str], loops: int) -> bool:
    """Whether the ways to match a text of n characters are some times n to the power of `loops`."""
    choices = tokens.count("|")
    for before, token in zip(["", *tokens], tokens):
        if _IS_REPEAT(token):
            if token[0] == "?":
                choices += 1
            elif before == ")":
                return False
            elif not token.endswith("}") or "," in token:
                loops -= 1
    return loops >= 0 and choices <= 2


def _code(text: str, tokens: Iterable[str], flags: str) -> Code:
    # Of each group that is open, the alternatives, and the parts of each.
    groups: list[list[list[Code]]] = [[[]]]
    for token in tokens:
        parts = groups[-1][-1]
        if token[0] == "(":
            groups.append([[]])
        elif token == "|":
            groups[-1].append([])
        elif token == ")":
            code = _any_of(text, groups.pop())
            groups[-1][-1].append(code)
        elif _IS_REPEAT(token):
            parts.append(_repeated(text, parts.pop(), token))
        else:
            parts.append([_PLACES[token] if token in _PLACES else _character(token, flags)])
    return _any_of(text, groups.pop())


def _character(token: str, flags: str) -> Instruction:
    if token != "." and "i" not in flags:
        literal = token[1:] if token[0] == "\\" and not token[1:].isalnum() else token
        if len(literal) == 1:
            return literal
    return re.compile(flags + token).fullmatch


def _any_of(text: str, alternatives: list[list[Code]]) -> Code:
    code: Optional[Code] = None
    for parts in reversed(alternatives):
        one = [instruction for part in parts for instruction in part]
        code = one if code is None else [(1, len(one) + 2), *one, (len(code) + 1,), *code]
        _require_small(text, len(code))
    return code or []


def _repeated(text: str, code: Code, token: str) -> Code:
    if token[0] == "{":
        lowest, comma, highest = token[1 : token.index("}")].partition(",")
        low = int(lowest or 0)
        high = int(highest) if highest else None if comma else low
    else:
        low, high = {"*": (0, None), "+": (1, None), "?": (0, 1)}[token[0]]
    _require_small(text, (low + 1 if high is None else high) * (len(code) + 1))
    if high is None:
        return [*code * low, (1, len(code) + 2), *code, (-len(code) - 1,)]
    return code * low + [(1, len(code) + 1), *code] * (high - low)


def _require_small(text: str, size: int) -> None:
    if size > MOST_INSTRUCTIONS:
        raise InvalidInputError(_WHAT, text, f"it is that of over {MOST_INSTRUCTIONS} characters")


def _reached(code: Code, positions: Iterable[int], at: Iterable[int]) -> frozenset[int]:
    """Returns the positions that are reached without a character, at the start or end of a text."""
    found: set[int] = set()
    left = list(positions)
    while left:
        position = left.pop()
        if position not in found:
            found.add(position)
            if position < len(code):
                instruction = code[position]
                if isinstance(instruction, tuple):
                    left.extend(position + distance for distance in instruction)
                elif isinstance(instruction, int) and instruction in at:
                    left.append(position + 1)
    return frozenset(found)


def _after(code: Code, positions: Iterable[int], character: str) -> list[int]:
    """Returns the positions behind those that take a character."""
    after = []
    for position in positions:
        if position < len(code):
            instruction = code[position]
            if isinstance(instruction, str):
                if instruction == character:
                    after.append(position + 1)
            elif callable(instruction) and instruction(character):
                after.append(position + 1)
    return after


def _takes_line_end_after_dollar(code: Code) -> bool:
    """Before a line end that is the last character, `$` matches too."""
    behind = [position + 1 for position, instruction in enumerate(code) if instruction is _DOLLAR]
    return bool(_after(code, _reached(code, behind, (_START, _DOLLAR, _END)), "\n"))


class _State(dict):  # type: ignore[type-arg]
    """Where a program can be; by character, the state after it."""

    __slots__ = ("automaton", "positions", "accepts")

    def __init__(self, automaton: _Automaton, positions: frozenset[int], *at: int) -> None:
        self.automaton = automaton
        self.positions = positions
        code = automaton.code
        self.accepts = len(code) in _reached(code, positions, (*at, _DOLLAR, _END))

    def __missing__(self, character: str) -> _State:
        if not self.positions:
            raise KeyError(character)
        after = _after(self.automaton.code, self.positions, character)
        self[character] = state = self.automaton.state(after)
        return state


class _Automaton:
    """The states of a program that texts have led to."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._states: dict[frozenset[int], _State] = {}
        self._steps = 0
        self._first = _State(self, _reached(code, [0], (_START,)), _START)

    def state(self, positions: Iterable[int]) -> _State:
        """Returns the state of positions, and forgets others where there are too many."""
        self._steps += 1
        if self._steps > _MOST_STEPS:
            self._steps = 0
            for state in (self._first, *list(self._states.values())):
                state.clear()
            self._states.clear()
        reached = _reached(self.code, positions, ())
        if reached not in self._states:
            self._states[reached] = _State(self, reached)
        return self._states[reached]

    def matches(self, text: str) -> bool:
        """Whether all of `text` matches."""
        state = self._first
        try:
            for character in text:
                state = state[character]
        except KeyError:
            return False
        return state.accepts
