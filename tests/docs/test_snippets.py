"""What pages show of BUILD files and `pants.toml` is what targets and options take."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Optional, Sequence

import pants_backend_nix.register as nix
import pytest
import toml
from pants.engine.addresses import Address
from pants.engine.internals.parametrize import Parametrize
from pants.engine.target import InvalidFieldException
from pants.version import PANTS_SEMVER
from pants_backend_nix.targets.registries import parse_registries

from tests.docs.pages import ROOT, Page, pages
from tests.docs.plugin import fields, options, own_targets

#: The first line of a block that is a module of Python.
_IS_MODULE = re.compile(r"# \S+\.py\n")

_OURS = ("nix", "nix-images", "nix-infer")


@dataclass(frozen=True)
class Call:
    """A target in a BUILD file."""

    target: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class _TargetType:
    """What a target type is in a BUILD file: a function, and a key of `__defaults__`."""

    target: str
    calls: list[Call] = field(hash=False)

    def __call__(self, *_: Any, **values: Any) -> None:
        self.calls.append(Call(self.target, values))

    def __str__(self) -> str:
        return self.target


def _run_build_file(text: str) -> tuple[Sequence[Call], Mapping[str, Any]]:
    """Returns the targets that a BUILD file makes, and the names that it sets.

    `...` stands for what is left out.

    :raises NameError: a target type is not known.
    """
    calls: list[Call] = []

    known: dict[str, Any] = {
        **{target: _TargetType(target, calls) for target in fields()},
        **nix.build_file_aliases().objects,
        "parametrize": Parametrize,
        "env": lambda name, default=None: default or name,
        "__defaults__": lambda of: calls.extend(
            Call(str(target), values)
            for targets, values in of.items()
            for target in (targets if isinstance(targets, tuple) else (targets,))
        ),
    }
    names = dict(known)
    exec(compile(text, "<page>", "exec"), names)  # It is ours.
    old = {"__builtins__", *known}
    return calls, {name: value for name, value in names.items() if name not in old}


def _wrong_value(target: str, name: str, value: Any) -> Optional[str]:
    """Says what is wrong with the value of a field, or None."""
    if name == "name":
        return None
    kind = fields()[target].get(name)
    if kind is None:
        return f"`{target}` has no field `{name}`"
    values = (*value.args, *value.kwargs.values()) if isinstance(value, Parametrize) else (value,)
    try:
        for each in values:
            if each is not ...:
                kind(each, Address("docs", target_name="page"))
    except InvalidFieldException as error:
        return str(error)
    return None


def _wrong_in(text: str) -> Iterator[str]:
    """Says what is wrong in (a part of) a BUILD file: fields alone are those of our targets."""
    calls, names = _run_build_file(text)
    for call in calls:
        for name, value in call.fields.items():
            why = _wrong_value(call.target, name, value)
            if why:
                yield why
    for name, value in names.items():
        # Names of the author's are in upper case, or begin with an underscore.
        if name.isupper() or name.startswith("_"):
            continue
        # A line with a comma at its end is a tuple of one.
        single = value[0] if isinstance(value, tuple) and len(value) == 1 else value
        owners = [target for target in own_targets() if name in fields()[target]]
        if not owners:
            yield f"no target has a field `{name}`"
        else:
            why = _wrong_value(owners[0], name, single)
            if why:
                yield why


@pytest.mark.parametrize("of", pages(), ids=lambda of: of.name)
def test_build_files(of: Page) -> None:
    """Target types, fields and their values."""
    blocks = [block for block in of.blocks("python") if not _IS_MODULE.match(block.text)]
    assert [(b.where, why) for b in blocks for why in _wrong_in(b.text)] == []


def test_what_is_found_in_build_files() -> None:
    """The check can fail."""
    good = 'nix_image(name="a", packages=[":b"], user="app")\nenv={"A": "b"},\npermissions=[]\n'
    assert list(_wrong_in(good)) == []
    assert list(_wrong_in('X = 1\nnix_image(..., system=parametrize("x86_64-linux"))')) == []
    for bad in (
        'nix_image(name="a", package=[":b"])',
        'nix_image(name="a", packages=":b")',
        'files(source="a")',
        'output_format="tar"',
        'nix_image(output_format=parametrize("descriptor", "zip"))',
        '__defaults__({(nix_image,): dict(enviroment="ci")})',
        "pakages=[]",
        'contents=[nix_contents(":a", "/b", modes="0755")]',
        'users=[{"name": "app", "gid": 3}]',
    ):
        assert len(list(_wrong_in(bad))) == 1, bad
    with pytest.raises(NameError):
        list(_wrong_in("nix_pakage()"))


def _wrong_options(text: str) -> Iterator[str]:
    """Says what is wrong in a part of `pants.toml`."""
    for scope, values in toml.loads(text).items():
        known = options().get("" if scope == "GLOBAL" else scope)
        if known is None:
            yield f"no scope [{scope}]"
            continue
        for name in values:
            if name.replace("_", "-") not in known:
                yield f"[{scope}] has no option {name}"
        if scope == "nix-images" and "registries" in values:
            try:
                parse_registries(values["registries"])
            except Exception as error:
                yield str(error)


@pytest.mark.parametrize("of", pages(), ids=lambda of: of.name)
def test_options_files(of: Page) -> None:
    """Scopes, options, keys of registries."""
    assert [(b.where, why) for b in of.blocks("toml") for why in _wrong_options(b.text)] == []


def test_what_is_found_in_options_files() -> None:
    """The check can fail."""
    good = '[nix-images.registries.a]\naddress = "a"\n[GLOBAL]\npantsd = true'
    assert list(_wrong_options(good)) == []
    for bad in (
        "[nix]\nsubstituter = []",
        "[nix-image]\n",
        '[nix-images.registries.a]\nadress = "a"',
        "[GLOBAL]\npants_versions = 1",
    ):
        assert len(list(_wrong_options(bad))) == 1, bad


_OPTION = re.compile(r"\[([\w-]+)\]\.(\w+)")
_ALL_VERSIONS = ((2, 17), (3,))
#: The first version of Pants that has an option, and the first that has not.
_VERSIONS_OF = {
    ("GLOBAL", "remote_oauth_bearer_token"): ((2, 20), (3,)),
    ("GLOBAL", "remote_oauth_bearer_token_path"): ((2, 17), (2, 23)),
}


def _texts() -> Iterator[tuple[str, str]]:
    """Pages, and the strings in the sources: help texts and messages."""
    for of in pages():
        yield of.name, of.text
    for file in sorted((ROOT / "src" / "python").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{file.relative_to(ROOT)}:{node.lineno}", node.value


def test_options_that_texts_name() -> None:
    """`[scope].option` is one, in pages, help texts and errors."""
    wrong = []
    for where, text in _texts():
        for scope, name in _OPTION.findall(text):
            known = options().get("" if scope == "GLOBAL" else scope)
            if known is None and scope not in _OURS:
                # Of a backend that is not loaded here.
                continue
            first, end = _VERSIONS_OF.get((scope, name), _ALL_VERSIONS)
            if not first <= PANTS_SEMVER.release < end:
                continue
            if known is None or name.replace("_", "-") not in known:
                wrong.append((where, f"[{scope}].{name}"))
    assert wrong == []
