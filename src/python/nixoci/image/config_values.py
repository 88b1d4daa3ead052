"""The rules for single values of an image config: which are valid, and their one form."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Callable, Iterable, Optional, Sequence

from nixoci.errors import InvalidInputError

#: Fields of `ImageConfig` by their type.
STRING_FIELDS = frozenset(
    {
        "working_dir",
        "user",
        "stop_signal",
        "architecture",
        "os",
        "variant",
        "os_version",
        "created",
        "author",
    }
)
SET_FIELDS = frozenset({"exposed_ports", "volumes"})
PAIR_FIELDS = frozenset({"labels", "other", "other_top_level"})

#: Values of Go's GOARCH and GOOS (`go tool dist list` and the names that Go reserves), which the
#: OCI image spec (config.md, properties `architecture` and `os`) requires.
ARCHITECTURES = frozenset(
    "386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le mips64p32"
    " mips64p32le ppc ppc64 ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm".split()
)
OPERATING_SYSTEMS = frozenset(
    "aix android darwin dragonfly freebsd illumos ios linux netbsd openbsd plan9 solaris wasip1"
    " windows".split()
)

#: What Nix, the kernel and others call an architecture that Go calls otherwise.
ARCHITECTURE_OF = {
    "aarch64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "i386": "386",
    "i686": "386",
    "loongarch64": "loong64",
    "powerpc64le": "ppc64le",
    "x86_64": "amd64",
}

_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?")
_USER = re.compile(r"[^:\s\x00-\x1f\x7f]+(:[^:\s\x00-\x1f\x7f]+)?")
_VARIABLE = re.compile(r"[^=\s\x00-\x1f\x7f]+=[^\x00]*")
_SIGNAL = re.compile(r"[A-Z][A-Z0-9]*([+-][0-9]{1,2})?|[0-9]{1,2}")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)

#: The kernel's ids have 32 bits; runc takes the non-negative half of them.
_MAX_ID = 2**31 - 1


def normalise(field: str, value: Any) -> Any:
    """Returns the one form of `value` for the field `field` of `ImageConfig`.

    :raises InvalidInputError: not of the field's type, or not valid in it.
    """
    if field in STRING_FIELDS:
        require_text(field, value)
        reason = _STRING_RULES[field](value) if field in _STRING_RULES else None
        if reason is not None:
            raise _invalid(field, value, reason)
        return value
    items = _require_sequence(field, value)
    if field in PAIR_FIELDS:
        return _normalise_pairs(field, items)
    for item in items:
        require_text(field, item)
    if field == "exposed_ports":
        return tuple(sorted({port for item in items for port in _single_ports(item)}))
    if field == "volumes":
        for item in items:
            if not item.startswith("/"):
                raise _invalid(field, item, "a volume must be an absolute path")
        return tuple(sorted(set(items)))
    if field == "env":
        _require_variables(items)
    return tuple(items)


def _invalid(field: str, value: object, reason: str) -> InvalidInputError:
    return InvalidInputError(f"image config field {field}", value, reason)


def require_text(field: str, value: object) -> None:
    """Checks that the value of a field can be an argument: a NUL ends a string for the kernel, half of
    a surrogate pair has no UTF-8.

    :raises InvalidInputError: it is no such text.
    """
    if not isinstance(value, str):
        raise _invalid(field, value, "expected a string")
    if "\0" in value:
        raise _invalid(field, value, "it has a NUL character")
    try:
        value.encode()
    except UnicodeError:
        raise _invalid(field, value, "it is not Unicode text") from None


def _require_sequence(field: str, value: object) -> Sequence[Any]:
    if isinstance(value, (str, bytes)) or not isinstance(value, (tuple, list)):
        raise _invalid(field, value, "expected a list")
    return value


def _require_variables(variables: Iterable[str]) -> None:
    names = set()
    for variable in variables:
        if not _VARIABLE.fullmatch(variable):
            raise _invalid("env", variable, "expected NAME=value, no space in the name")
        name = variable.partition("=")[0]
        if name in names:
            # Programs differ in which of two they see, so there is no right one to keep.
            raise _invalid("env", variable, f"{name} is set twice")
        names.add(name)


def _normalise_pairs(field: str, items: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    pairs: dict[str, str] = {}
    for item in items:
        if len(_require_sequence(field, item)) != 2:
            raise _invalid(field, item, "expected a key and a value")
        key, value = item
        require_text(field, key)
        require_text(field, value)
        if not key:
            raise _invalid(field, item, "the key is empty")
        if key in pairs:
            raise _invalid(field, key, "the key is given twice")
        pairs[key] = value
    return tuple(sorted(pairs.items()))


def _single_ports(text: str) -> tuple[str, ...]:
    match = _PORT.fullmatch(text)
    first = int(match[1]) if match else 0
    last = int(match[2] or match[1]) if match else 0
    if not match or not 1 <= first <= last <= 65535:
        raise _invalid(
            "exposed_ports",
            text,
            "expected a port such as 80, 80/tcp or 8000-8010/udp, from 1 to 65535",
        )
    return tuple(f"{port}/{match[3] or 'tcp'}" for port in range(first, last + 1))


def _check_user(text: str) -> Optional[str]:
    if not _USER.fullmatch(text):
        return "expected user, uid, user:group, uid:gid, uid:group or user:gid"
    numbers = (part for part in text.split(":") if re.fullmatch("[0-9]+", part))
    if any(len(number) > 10 or int(number) > _MAX_ID for number in numbers):
        return f"a number in it is larger than {_MAX_ID}"
    return None


def _check_working_dir(text: str) -> Optional[str]:
    return None if text.startswith("/") else "it must be an absolute path"


def _check_stop_signal(text: str) -> Optional[str]:
    if not _SIGNAL.fullmatch(text):
        return "expected a signal such as SIGTERM, SIGRTMIN+3 or 15"
    return None


def _check_architecture(text: str) -> Optional[str]:
    if text in ARCHITECTURES:
        return None
    other_name = ARCHITECTURE_OF.get(text.partition("-")[0])
    if other_name:
        return f"images use the names of the Go language, so it is {other_name} here"
    return f"expected one of {', '.join(sorted(ARCHITECTURES))}"


def _check_os(text: str) -> Optional[str]:
    if text in OPERATING_SYSTEMS:
        return None
    return f"expected one of {', '.join(sorted(OPERATING_SYSTEMS))}"


def _check_not_empty(text: str) -> Optional[str]:
    return None if text else "it is empty"


def check_created(text: str) -> Optional[str]:
    """Returns why `text` is no RFC 3339 date and time that engines parse, or None if it is one."""
    match = _TIME.fullmatch(text)
    if not match:
        return "expected a date and time of RFC 3339, such as 2024-02-29T12:00:00Z"
    try:
        datetime.fromisoformat(match[1])
    except ValueError:
        return "there is no such date or time"
    return None


_STRING_RULES: dict[str, Callable[[str], Optional[str]]] = {
    "working_dir": _check_working_dir,
    "user": _check_user,
    "stop_signal": _check_stop_signal,
    "architecture": _check_architecture,
    "os": _check_os,
    "variant": _check_not_empty,
    "os_version": _check_not_empty,
    "created": check_created,
    "author": _check_not_empty,
}
