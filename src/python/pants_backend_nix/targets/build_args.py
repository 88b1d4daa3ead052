"""`build_args`: values for the placeholders `{build_args.NAME}` in the names of images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable, Iterator, Mapping, Optional

from pants.util.value_interpolation import InterpolationError, InterpolationValue

from pants_backend_nix.errors import NixImageError
from pants_backend_nix.targets.placeholders import Placeholder

#: The option that has them for all images, and the field that has them for one.
BUILD_ARGS_OPTION = "[nix-images].build_args"
BUILD_ARGS_FIELD = "extra_build_args"

_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class BuildArg:
    """An entry `NAME=value` or `NAME`.

    :param value: None for the value that the environment has.
    :param origin: the option or field, for an error.
    """

    name: str
    value: Optional[str]
    origin: str


class _UndefinedBuildArg(InterpolationError):
    """Says where build args are defined, as `docker_image` says it."""

    @classmethod
    def attribute_error(cls, value: object, attribute: str) -> _UndefinedBuildArg:
        message = f"The build arg {attribute!r} is undefined."
        if isinstance(value, BuildArgs) and value:
            message += f" Defined build args are: {', '.join(sorted(value))}."
        return cls(
            f"{message}\n\nThis build arg may be defined with the option `{BUILD_ARGS_OPTION}`, or in the field "
            f"`{BUILD_ARGS_FIELD}` of the target."
        )


class BuildArgs(InterpolationValue):
    """The values by their names, for `{build_args.NAME}`."""

    _attribute_error_type = _UndefinedBuildArg


class _UsedBuildArg(Placeholder):
    """A value that says that it was used, by adding its name to `used`."""

    name: str
    used: set[str]

    def __format__(self, spec: str) -> str:
        self.used.add(self.name)
        return super().__format__(spec)


class _UnsetBuildArg(str):
    """Stands for the value that a bare name does not have; the text is the message of the error."""

    def __format__(self, spec: str) -> str:
        raise InterpolationError(str.__str__(self))


def parse_build_args(entries: Iterable[str], origin: str) -> tuple[BuildArg, ...]:
    """Parses the option or field.

    :param origin: it, for an error.
    :raises NixImageError: a name that no placeholder or environment variable can have.
    """
    return tuple(_parsed(entry, origin) for entry in entries)


def _parsed(entry: str, origin: str) -> BuildArg:
    name, equals, value = entry.partition("=")
    if not _NAME.fullmatch(name):
        raise NixImageError(
            f"The entry {entry!r} of {origin} is not valid: the name {name!r} must be letters, digits and `_`, no "
            'digit first. Entries are `"NAME=value"`, or `"NAME"` for the value that it has in the environment.'
        )
    if hasattr(InterpolationValue, name):
        raise NixImageError(
            f"The entry {entry!r} of {origin} is not valid: a placeholder cannot have the name {name!r}. Choose "
            f"another one, such as {name.upper()!r}."
        )
    return BuildArg(name, value if equals else None, origin)


def bare_names(args: Iterable[BuildArg]) -> Iterator[str]:
    """Yields the environment variables that are asked for."""
    return (arg.name for arg in args if arg.value is None)


def build_args_values(
    args: Iterable[BuildArg], environment: Mapping[str, str], used: set[str]
) -> BuildArgs:
    """Returns the value of each build arg: that of the last entry that has one.

    :param args: those of the option first, then those of the target.
    :param environment: the variables of bare names that are set.
    :param used: gets the names of those that were used.
    """
    values: dict[str, str] = {}
    for arg in args:
        value = environment.get(arg.name) if arg.value is None else arg.value
        if value is not None:
            placeholder = _UsedBuildArg(value)
            placeholder.name, placeholder.used = arg.name, used
            values[arg.name] = placeholder
        elif not isinstance(values.get(arg.name), _UsedBuildArg):
            values[arg.name] = _UnsetBuildArg(
                f"The build arg {arg.name!r} has no value: {arg.origin} takes it from the environment, where the "
                f"variable {arg.name} is not set. Set it, or give a default before the bare name: "
                f'`["{arg.name}=value", "{arg.name}"]`.'
            )
    return BuildArgs(values)
