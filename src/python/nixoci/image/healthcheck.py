"""Healthchecks: the command that says whether a container is well, as Docker's configs have it.

The OCI image spec does not know them. Docker reads them in every config, podman in images with manifests
of Docker's only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from nixoci.errors import InvalidInputError
from nixoci.image.config_values import require_text

#: How `Healthcheck.test` begins: no check, also none of an image below; a program with its arguments;
#: a command of the image's shell.
NONE, PROGRAM, SHELL = TEST_KINDS = ("NONE", "CMD", "CMD-SHELL")

#: Docker's names in the config, by field.
_NAMES = {
    "test": "Test",
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
    "retries": "Retries",
}
#: Fields that are nanoseconds.
DURATIONS = ("interval", "timeout", "start_period", "start_interval")

#: Go's, as in time.ParseDuration; in nanoseconds.
_UNITS = {
    "ns": 1,
    "us": 1000,
    "\u00b5s": 1000,
    "\u03bcs": 1000,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(rf"([0-9]+\.?[0-9]*|\.[0-9]+)({'|'.join(_UNITS)})(?![a-z])", re.ASCII)
_SHORTEST = 10**6
#: Go's numbers.
_MOST = 2**63 - 1


@dataclass(frozen=True)
class Healthcheck:
    """A healthcheck. What is 0 is left to the engine, which has defaults.

    :param test: `NONE`, `CMD` with a program and its arguments, or `CMD-SHELL` with one command.
    :param interval: nanoseconds, as all times: 0, or at least a millisecond.
    :param retries: failures in a row until the container is not healthy.
    :raises InvalidInputError: a value that Docker would refuse, or not understand.
    """

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "test", _checked_test(self.test))
        for field in (*DURATIONS, "retries"):
            value = getattr(self, field)
            if type(value) is not int:
                raise _invalid(field, value, "expected a whole number")
            if not 0 <= value <= _MOST:
                raise _invalid(field, value, f"expected 0 to {_MOST}")
            if field in DURATIONS and 0 < value < _SHORTEST:
                raise _invalid(field, value, "expected 0, or at least 1ms (1000000 nanoseconds)")
        if self.is_none and any(getattr(self, field) for field in (*DURATIONS, "retries")):
            raise _invalid("test", NONE, "there is no check, so nothing else can be said of it")

    @property
    def is_none(self) -> bool:
        """Whether it says that there is no check, also none of a config below."""
        return self.test == (NONE,)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Healthcheck:
        """Parses the object `Healthcheck` of a config. Names are matched without regard to case.

        :raises InvalidInputError: as the class, or an unknown name.
        """
        fields = {name.casefold(): field for field, name in _NAMES.items()}
        values: dict[str, Any] = {}
        for name, value in document.items():
            field = fields.get(name.casefold())
            if field is None:
                known = ", ".join(_NAMES.values())
                raise InvalidInputError("key of Healthcheck", name, f"expected one of {known}")
            if field in values:
                raise InvalidInputError("key of Healthcheck", name, f"{_NAMES[field]} is given twice")
            values[field] = value
        given: dict[str, Any] = {field: v for field, v in values.items() if v is not None}
        given.setdefault("test", ())
        return cls(**given)

    def to_document(self) -> dict[str, Any]:
        """This healthcheck as the object `Healthcheck` of a config; what is 0 is left out."""
        return {name: getattr(self, field) for field, name in _NAMES.items() if getattr(self, field)}


def parse_command(command: object) -> tuple[str, ...]:
    """Returns the `test` of what HEALTHCHECK in a Dockerfile has.

    :param command: `NONE`; another string is a command of the shell, a list a program with its arguments.
    :raises InvalidInputError: none of these, or a list that begins as a `test` in a config does.
    """
    if command == NONE:
        return (NONE,)
    if isinstance(command, str):
        return (SHELL, command)
    if not isinstance(command, (list, tuple)):
        raise _invalid("test", command, f'expected a list, a string or "{NONE}"')
    if command and command[0] in TEST_KINDS:
        raise _invalid(
            "test",
            list(command),
            f'leave the "{command[0]}" out: a list is a program with its arguments, a string is a '
            f'command of the shell, and the string "{NONE}" no check',
        )
    return (PROGRAM, *command)


def parse_duration(field: str, text: object) -> int:
    """Returns the nanoseconds of a duration in the syntax of Go: `1m30s`, `1.5h`, `500ms`, `0`.

    :param field: for the error.
    :raises InvalidInputError: not in that syntax, or too long.
    """
    why = "expected a duration such as 30s, 1m30s or 500ms"
    if not isinstance(text, str):
        raise _invalid(field, text, f"{why}, in a string")
    if text == "0":
        return 0
    if len(text) > 200:
        raise _invalid(field, text, "it is too long")
    from fractions import Fraction

    nanoseconds = 0
    end = 0
    for part in _PART.finditer(text):
        if part.start() != end:
            break
        end = part.end()
        # Not a float, which would round: what is less than a nanosecond is cut off, as Go does.
        nanoseconds += int(Fraction(part[1].rstrip(".")) * _UNITS[part[2]])
    if not text or end != len(text):
        raise _invalid(field, text, why)
    if nanoseconds > _MOST:
        raise _invalid(field, text, "it is too long: Docker counts up to 292 years")
    return nanoseconds


def _checked_test(test: Any) -> tuple[str, ...]:
    if isinstance(test, (str, bytes)) or not isinstance(test, Sequence):
        raise _invalid("test", test, "expected a list")
    for word in test:
        require_text("healthcheck test", word)
    kind, *words = test or ("",)
    if kind == NONE and not words:
        return tuple(test)
    # Docker gives further words to the shell, podman joins them to one command.
    if kind == SHELL and len(words) == 1 and words[0].strip():
        return tuple(test)
    if kind == PROGRAM and words and words[0]:
        return tuple(test)
    raise _invalid(
        "test",
        list(test),
        f'expected "{PROGRAM}" and a program with its arguments, "{SHELL}" and one command, or '
        f'"{NONE}" alone',
    )


def _invalid(field: str, value: object, reason: str) -> InvalidInputError:
    return InvalidInputError(f"image config field healthcheck {field}", value, reason)
