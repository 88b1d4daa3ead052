"""The field `contents`: what Pants builds and files of the repository, and where they go in an image."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional, Union

from nixoci.errors import InvalidInputError
from nixoci.layering.distributions import MOST_APART
from nixoci.recipe.capabilities import capability_names
from nixoci.recipe.files import check_destination
from pants.engine.addresses import Address
from pants.engine.target import (
    Field,
    InvalidFieldException,
    InvalidFieldTypeException,
    StringSequenceField,
)
from pants.util.strutil import help_text

from pants_backend_nix.targets.fields.places import DESTINATION, MODE


@dataclass(frozen=True)
class NixContents:
    """`nix_contents(…)` in a BUILD file: what goes into an image, and where to.

    :param address: of the target, as it is written.
    :param to: the place of the one file; or, with a slash at its end, the directory of all files.
    :param owner: `uid`, `uid:gid`, a user's name, or `user:group`.
    :param mode: octal digits, of all files; None to keep what is executable.
    :param strip_prefix: a directory that is taken off the paths of the files.
    :param capabilities: of all files, such as `cap_net_bind_service`.
    :param split: `SPLIT_DEPENDENCIES` to lay a `pex_binary` out as a virtual environment, in layers.
    :param interpreter: of that environment: its path in the image, with `{name}` for a package.
    :param libraries: first-party targets whose sources, with what they depend on, are a layer.
    """

    address: str
    to: str
    owner: Optional[str] = None
    mode: Optional[str] = None
    strip_prefix: str = ""
    capabilities: tuple[str, ...] = ()
    split: Optional[str] = None
    interpreter: Optional[str] = None
    libraries: tuple[str, ...] = ()

    @property
    def is_directory(self) -> bool:
        return self.to.endswith("/")

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses in it, as they are written."""
        return (self.address, *self.libraries)

    @property
    def layer_count(self) -> int:
        """How many OCI layers it may have at most."""
        if self.split is None:
            return 1
        return 2 + bool(self.libraries) + MOST_APART


#: Bytes of a `#!` line up to its first blank that every kernel reads (`BINPRM_BUF_SIZE` of Linux before 5.1).
_MOST_SHEBANG = 126

#: The value of `split` for requirements and own code in layers of their own.
SPLIT_DEPENDENCIES = "dependencies"


@dataclass(frozen=True)
class WrongNixContents:
    """A call of `nix_contents` that cannot be: the field says so, as it knows the target."""

    call: str
    why: str


def nix_contents(*arguments: Any, **keywords: Any) -> Union[NixContents, WrongNixContents]:
    """Returns what `nix_contents(…)` in a BUILD file stands for.

    Pants hashes it, newer versions already when they read the file: lists become tuples.
    """
    words = [*map(repr, arguments), *(f"{name}={value!r}" for name, value in keywords.items())]
    call = f"nix_contents({', '.join(words)})"
    try:
        inspect.signature(NixContents).bind(*arguments, **keywords)
    except TypeError as error:
        return WrongNixContents(call, str(error))
    found = NixContents(
        *map(_frozen, arguments), **{name: _frozen(value) for name, value in keywords.items()}
    )
    try:
        hash(found)
    except TypeError:
        return WrongNixContents(call, "it has a value that is no string and no list of strings")
    return found


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class NixContentsField(Field):
    alias = "contents"
    value: Optional[tuple[NixContents, ...]]
    default = None
    help = help_text(
        """
        What Pants builds and what is in the repository, and where it goes in the image:

            contents={":api": "/app/api.pex", "//assets:static": "/srv/"},

        or, with more to say of it,

            contents=[nix_contents(":tool", to="/app/tool", owner="app", mode="0555")],

        Each key is the address of a target that `package` builds (a `pex_binary`, an `archive`, a Go or
        JVM binary, …) or of one with sources (`file`, `files`, `resources`, `relocated_files`, …).

        A place that ends in a slash is a directory: files of targets go there with their paths in the
        repository, and what was packaged with its output path, as in the context of a `docker_image`.
        `strip_prefix` takes the beginning of these paths off. A place without a slash is that of the one
        file that the target has.

        Files keep whether they are executable, belong to root, and nobody may write to them (0444 or
        0555), as in the Nix store; `owner`, `mode` and `capabilities` of `nix_contents` say otherwise.

        Each entry has an OCI layer of its own, above all store paths, as far as `max_layers` allows.
        What is only copied comes first, then what Pants builds; besides that, a list keeps its order,
        and the entries of a dictionary, which has none, go by their places.

        A `pex_binary` can be laid out as a directory that starts at once, in layers that last:

            contents=[
                nix_contents(
                    ":api",
                    to="/app",
                    split="dependencies",
                    interpreter="{python}/bin/python3",
                ),
            ],
            entrypoint=["/app/pex"],

        `/app` is then a virtual environment: third-party requirements are one layer, which stays as it is
        until one of them changes, and your own code is another one above it. Large requirements have
        layers of their own as far as `max_layers` allows. `interpreter` is that of a package of the image,
        and must be one that the `pex_binary` is for; it compiles all modules when the image is packaged.
        `/app/pex` starts the entry point or script, with `args` and `env` of the `pex_binary`;
        `/app/bin` has the scripts of its requirements. `libraries` names first-party targets whose
        sources get a layer between the two, for what many images share.
        """
    )

    @classmethod
    def compute_value(
        cls, raw_value: Optional[object], address: Address
    ) -> Optional[tuple[NixContents, ...]]:
        value: Any = super().compute_value(raw_value, address)
        if value is None:
            return None
        expected = "a dictionary of addresses to paths, or a list of `nix_contents(…)`"
        if isinstance(value, Mapping):
            if not all(isinstance(part, str) for pair in value.items() for part in pair):
                raise InvalidFieldTypeException(address, cls.alias, value, expected_type=expected)
            # Pants takes dictionaries for equal whatever their order, so that must not count: a running
            # `pantsd` would not see another one.
            pairs = sorted(value.items(), key=lambda pair: (pair[1], pair[0]))
            value = [NixContents(target, to) for target, to in pairs]
        if not isinstance(value, (list, tuple)):
            raise InvalidFieldTypeException(address, cls.alias, value, expected_type=expected)
        for item in value:
            if isinstance(item, WrongNixContents):
                raise InvalidFieldException(
                    f"The entry `{item.call}` in the field `{cls.alias}` of {address} is not valid: "
                    f"{item.why}. Its arguments are {', '.join(inspect.signature(NixContents).parameters)}; "
                    "the first two are required."
                )
        if not all(isinstance(item, NixContents) for item in value):
            raise InvalidFieldTypeException(address, cls.alias, value, expected_type=expected)
        for item in value:
            _check_contents(item, cls.alias, address)
        return tuple(value)


class NixIgnoreMissingLibrariesField(StringSequenceField):
    alias = "ignore_missing_libraries"
    help = help_text(
        """
        Libraries that files in `contents` need and the image does not have, such as `libcuda.so.1`, which
        the container gets from its host. Shell patterns (`*`, `?`) are allowed; loaders of programs have
        whole paths.

        When an image is packaged, all programs and libraries (ELF files) among its `contents` are looked
        at: the loader that a program names, and each library that one needs, must be where the container
        will look: beside the file if it says so (`RPATH`), in `LD_LIBRARY_PATH` of the field `env`, in the
        directories of the loader, or loaded already by the program. What is missing is an error.

        A library that no program of `contents` loads is taken to be loaded by the interpreter of
        `nix_contents`, or by the program in `entrypoint` or `cmd`.
        """
    )


def _check_contents(item: NixContents, field: str, address: Address) -> None:
    def invalid(why: str) -> InvalidFieldException:
        return InvalidFieldException(
            f"The entry for {item.address!r} in the field `{field}` of {address} is not valid: {why}"
        )

    for name in ("address", "to", "strip_prefix"):
        if not isinstance(getattr(item, name), str):
            raise invalid(f"`{name}` must be a string.")
    if not _is_texts(item.libraries):
        raise invalid("`libraries` must be a list of addresses.")
    if item.split is not None:
        _check_split(item, invalid)
    elif item.interpreter is not None or item.libraries:
        name = "libraries" if item.interpreter is None else "interpreter"
        raise invalid(f'`{name}` is for `split="dependencies"`. Add that, or take it out.')
    if item.to != "/":
        try:
            check_destination(item.to[:-1] if item.is_directory else item.to)
        except InvalidInputError as error:
            raise invalid(f"{error} Set `to` to {DESTINATION}.") from None
    if item.strip_prefix and not item.is_directory:
        raise invalid(
            f"`strip_prefix` shortens the paths of files in a directory, and {item.to} is the place of one "
            "file. End `to` with a slash, or leave `strip_prefix` out."
        )
    if item.mode is not None and not (
        isinstance(item.mode, str) and MODE.fullmatch(item.mode)
    ):
        raise invalid(f'the mode {item.mode!r} is no octal number in a string, such as "0555".')
    try:
        capability_names(item.capabilities)
    except InvalidInputError as error:
        raise invalid(str(error)) from None
    if item.owner is not None and not (isinstance(item.owner, str) and item.owner):
        raise invalid(f'the owner {item.owner!r} is none: write "1000:1000" or the name of a user.')


def _check_split(
    item: NixContents, invalid: Callable[[str], InvalidFieldException]
) -> None:
    if item.split != SPLIT_DEPENDENCIES:
        raise invalid(f'`split` is {item.split!r}; the one value is "{SPLIT_DEPENDENCIES}".')
    if not (isinstance(item.interpreter, str) and item.interpreter):
        raise invalid(
            "with `split`, `interpreter` must say what runs it, such as "
            '`interpreter="{python}/bin/python3"` for a package `python` of the image.'
        )
    if item.to == "/":
        raise invalid("with `split`, `to` is the directory of a virtual environment, such as /app.")
    longest = _MOST_SHEBANG - len("#!/bin/python3")
    if len(item.to.rstrip("/").encode()) > longest or re.search(r"[\s\0-\x1f]", item.to):
        raise invalid(
            f"with `split`, scripts begin with `#!` and the path of the interpreter below {item.to!r}, where no "
            f"white space can be, and which is at most {longest} bytes long. Choose another place."
        )
    for name, value in (
        ("mode", item.mode),
        ("strip_prefix", item.strip_prefix),
        ("capabilities", item.capabilities),
    ):
        if value:
            raise invalid(
                f"`{name}` is for files that go into the image as they are, and `split` lays them out. "
                "Take one of the two out."
            )


def _is_texts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)
