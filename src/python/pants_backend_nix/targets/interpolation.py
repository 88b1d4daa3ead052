"""`{name}` in the strings of a target: the store path of a package."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Iterable, Mapping

from pants.engine.addresses import Address
from pants.util.strutil import bullet_list

from pants_backend_nix.errors import NixImageError
from pants_backend_nix.targets.evaluated import NixPackage

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}^]*)(?:\^(?P<output>[^{}^]*))?\}|[{}]")

#: In a regular expression braces are quantifiers too: `x{2}`, `x{1,3}`.
_QUANTIFIER = re.compile(r"\d*(,\d*)?")

#: The placeholders of names of images: of the fields `repository` and `image_tags`, and of the former alone.
_BUILD_ARG = re.compile(r"build_args(?:[.\[](?P<name>\w*).*)?")
_HASH = re.compile(r"pants(?:[.\[].*)?")
_REPOSITORY = re.compile(
    "(?:name|directory|parent_directory|default_repository|target_repository)(?:[:!].*)?"
)


def names_of(address: Address) -> frozenset[str]:
    """Returns the names of a package: target name and address, with and without parameters."""
    base = address.maybe_convert_to_target_generator()
    parameters = address.spec[len(base.spec) :]
    return frozenset(
        name + some for name in (base.target_name, base.spec) for some in ("", parameters)
    )


def names_in(text: str) -> frozenset[str]:
    """Returns the names of packages in a text with placeholders, without those of outputs."""
    return frozenset(match["name"] for match in _PLACEHOLDER.finditer(text) if match["name"])


def _of_image_names(name: str) -> str:
    """Returns why a placeholder of the names of images stands for nothing here; empty for another one."""
    names = "names of images, in the fields `repository` and `image_tags`"
    build_arg = _BUILD_ARG.fullmatch(name)
    if build_arg:
        return (
            f"build args are for {names}. Other fields take a value of the environment in the BUILD file, by "
            f'`env("{build_arg["name"] or "NAME"}")` in place of the placeholder, such as '
            f'`"revision-" + env("{build_arg["name"] or "NAME"}", "default")`; it becomes part of the image'
        )
    if _HASH.fullmatch(name):
        return f"the hash is for {names}. It is made of all that is in the image, and cannot be in it"
    if _REPOSITORY.fullmatch(name):
        return (
            f"{name!r} is for the field `repository`, and no package of this target or of its layers is called so. "
            "Write what it stands for"
        )
    return ""


@dataclass(frozen=True)
class Interpolation:
    """Interpolates strings of one target.

    :param packages: by the names that they go by: target name and address, each with and without parameters.
    """

    address: Address
    packages: Mapping[str, tuple[NixPackage, ...]]

    @classmethod
    def create(cls, address: Address, packages: Iterable[NixPackage]) -> Interpolation:
        by_name: dict[str, dict[Address, NixPackage]] = {}
        for package in packages:
            for name in names_of(package.address):
                by_name.setdefault(name, {})[package.address] = package
        return cls(address, {name: tuple(found.values()) for name, found in by_name.items()})

    def text(self, field: str, text: str, used: set[NixPackage]) -> str:
        """Returns `text` with each `{name}` and `{name^output}` replaced, `{{` and `}}` unescaped.

        :param field: alias of the field, for an error.
        :param used: gets every package that is named.
        :raises NixImageError: an unknown or ambiguous name, an unknown output, a single brace.
        """

        def replace(match: re.Match[str]) -> str:
            if match[0] in ("{{", "}}"):
                return match[0][0]
            if match["name"] is None:
                raise self._error(field, text, f"it has a single `{match[0]}`")
            return self._path(field, text, match, used)

        return _PLACEHOLDER.sub(replace, text)

    def literal(self, field: str, text: str) -> str:
        """Returns `text` as it is: that of a field without placeholders.

        :raises NixImageError: it has one of those that names of images have.
        """
        for match in _PLACEHOLDER.finditer(text):
            name = match["name"] or ""
            if _BUILD_ARG.fullmatch(name) or _HASH.fullmatch(name):
                raise self._error(field, text, _of_image_names(name))
        return text

    def pattern(self, field: str, text: str, used: set[NixPackage]) -> str:
        """As `text`, in a regular expression: paths are quoted and quantifiers are left alone."""

        def replace(match: re.Match[str]) -> str:
            if match["name"] is None or _QUANTIFIER.fullmatch(match["name"]):
                return match[0]
            return re.escape(self._path(field, text, match, used))

        return _PLACEHOLDER.sub(replace, text)

    def _path(self, field: str, text: str, match: re.Match[str], used: set[NixPackage]) -> str:
        name, output = match["name"], match["output"]
        found = self.packages.get(name, ())
        if not found and (why := _of_image_names(name)):
            raise self._error(field, text, why)
        if not found:
            known = sorted(name for name in self.packages if not {":", "@"} & set(name))
            raise self._error(
                field,
                text,
                f"no package of this target or of its layers is called {name!r}. Add it to "
                "`packages` or `dependencies`, or correct the name. Known names:\n\n"
                + (bullet_list(known) if known else "(none)"),
            )
        if len(found) > 1:
            specs = sorted(package.address.spec for package in found)
            raise self._error(
                field,
                text,
                f"{name!r} is the name of several packages; write the whole address, such as "
                f"`{{{specs[0]}}}`:\n\n" + bullet_list(specs),
            )
        (package,) = found
        if output is None or output in package.outputs:
            used.add(package)
            return package.path(output or "")
        try:
            path = package.path(output)
        except KeyError:
            outputs = ", ".join(name for name, _ in package.derivation.outputs)
            raise self._error(
                field, text, f"{name!r} has no output {output!r}; it has {outputs}"
            ) from None
        # The target does not select this output, so it comes in by itself.
        used.add(replace(package, outputs=(output,)))
        return path

    def _error(self, field: str, text: str, why: str) -> NixImageError:
        return NixImageError(
            f"{self.address}: cannot interpolate {text!r} in the field `{field}`: {why}\n\n"
            "Braces stand for the store path of a package; write `{{` and `}}` for themselves."
        )


