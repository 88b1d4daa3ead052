"""Expression of Nix → the path or string that it is, as far as that is written there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Mapping, Optional, Union

from pants_backend_nix.rules.inference.grammar import attribute_path, called, last_name, text_of

#: Stands for the root of the repository at the beginning of a path.
ROOT = "\0"

#: So many expressions within each other are followed; more are generated, and no paths.
_DEEPEST = 60

#: What does not occur within a path that is part of a longer string.
_ENDS_PATH = frozenset(" \t\r\n\"'`:;,()<>|&${}[]=#")


@dataclass(frozen=True)
class Text:
    """A path or a string. A path of the repository begins with `ROOT`.

    :param text: what is known from the start.
    :param suffix: None if that is all. Otherwise what is known at the end, after something that is not known.
    :param is_path: it is a path, and no string.
    :param is_self: it is the flake itself (`self`), which is a string wherever it is used as one.
    """

    text: str
    suffix: Optional[str] = None
    is_path: bool = False
    is_self: bool = False

    @property
    def is_rooted(self) -> bool:
        """Whether it is a path of the repository."""
        return self.text.startswith(ROOT)

    def plus(self, other: Optional[Text]) -> Text:
        """Returns the concatenation with another text, or with something unknown."""
        if other is None:
            return replace(self, suffix="", is_self=False)
        if self.suffix is None:
            return replace(self, text=self.text + other.text, suffix=other.suffix, is_self=False)
        known = self.suffix + other.text if other.suffix is None else other.suffix
        return replace(self, suffix=known, is_self=False)


class _Inputs:
    """The argument of a flake's `outputs`, as a value: its `self` is the flake."""


#: The argument of a flake's `outputs`.
INPUTS = _Inputs()


@dataclass(frozen=True)
class Binding:
    """An expression that a name stands for, and where it is evaluated."""

    expression: Any
    scope: Scope


#: What a name stands for; None for what only an evaluation knows.
Meaning = Union[Binding, Text, _Inputs, None]


@dataclass(frozen=True, eq=False)
class Scope:
    """Names that are bound lexically.

    :param directory: of the Nix file, from the root of the repository.
    :param importing: what is known of functions of the file, by `id` of their nodes: whether they do nothing else
        with their argument than to import it.
    """

    directory: str
    names: Mapping[str, Meaning] = field(default_factory=dict)
    outer: Optional[Scope] = None
    importing: dict[int, bool] = field(default_factory=dict)

    def within(self, names: Mapping[str, Meaning]) -> Scope:
        return Scope(self.directory, names, self, self.importing)

    def meaning(self, name: str) -> Meaning:
        scope: Optional[Scope] = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return None


def value_of(node: Any, scope: Scope, loose: list[Any], depth: int = 0) -> Optional[Text]:
    """Returns what an expression is, or None if that is not written there.

    :param loose: gets expressions within it that say nothing of the value, or that Nix copies to the store to make a
        string of them.
    """
    if node is None or depth > _DEEPEST:
        return None
    kind = node.type
    if kind == "path_expression":
        return _path(node, scope, loose, depth)
    if kind in ("string_expression", "indented_string_expression"):
        return _string(node, scope, loose, depth)
    if kind == "variable_expression":
        return _meant(scope.meaning(text_of(node)), depth)
    if kind == "parenthesized_expression":
        return value_of(node.child_by_field_name("expression"), scope, loose, depth + 1)
    if kind == "binary_expression":
        return _sum(node, scope, loose, depth)
    if kind == "select_expression":
        return _selected(node, scope, depth)
    if kind == "apply_expression":
        return _call(node, scope, loose, depth)
    return None


def _meant(meaning: Meaning, depth: int) -> Optional[Text]:
    if isinstance(meaning, Binding):
        # What is loose there is looked at where it is written.
        return value_of(meaning.expression, meaning.scope, [], depth + 1)
    return meaning if isinstance(meaning, Text) else None


def _part(node: Any, scope: Scope, loose: list[Any], depth: int) -> Optional[Text]:
    """Returns the value of an interpolation."""
    expression = node.child_by_field_name("expression")
    found: list[Any] = []
    value = value_of(expression, scope, found, depth + 1)
    if value is None:
        loose.append(expression)
    else:
        loose.extend(found)
    return value


def _path(node: Any, scope: Scope, loose: list[Any], depth: int) -> Optional[Text]:
    value: Optional[Text] = None
    for child in node.named_children:
        if child.type == "path_fragment":
            text = text_of(child)
            if value is None:
                start = text if text.startswith("/") else f"{ROOT}/{scope.directory}/{text}"
                value = Text(start, is_path=True)
            else:
                value = value.plus(Text(text))
        elif child.type == "interpolation" and value is not None:
            part = _part(child, scope, loose, depth)
            value = value.plus(None if part is not None and part.is_rooted else part)
    return value


def _string(node: Any, scope: Scope, loose: list[Any], depth: int) -> Optional[Text]:
    value = Text("")
    for child in node.named_children:
        if child.type == "string_fragment":
            text = text_of(child)
            if node.type == "indented_string_expression" and "\n" in text:
                return None
            value = value.plus(Text(text))
        elif child.type == "interpolation":
            part = _part(child, scope, loose, depth)
            if part is not None and part.is_path:
                # Nix copies the path to its store; what comes after it is there.
                loose.append(child.child_by_field_name("expression"))
                part = None
            value = value.plus(part)
        else:
            value = value.plus(None)
    return value


def _sum(node: Any, scope: Scope, loose: list[Any], depth: int) -> Optional[Text]:
    operator = node.child_by_field_name("operator")
    if operator is None or text_of(operator) != "+":
        return None
    left = value_of(node.child_by_field_name("left"), scope, loose, depth + 1)
    if left is None:
        return None
    right_node = node.child_by_field_name("right")
    right = value_of(right_node, scope, loose, depth + 1)
    if right is not None and right.is_rooted:
        # A string of a path that is copied, or two paths: both are looked at on their own.
        return None
    if right is None and right_node is not None:
        loose.append(right_node)
    return left.plus(right)


def _selected(node: Any, scope: Scope, depth: int) -> Optional[Text]:
    """Returns the flake for `self.outPath`, `inputs.self` and their like."""
    expression, attrpath = (node.child_by_field_name(n) for n in ("expression", "attrpath"))
    if expression is None or attrpath is None or expression.type != "variable_expression":
        return None
    meaning = scope.meaning(text_of(expression))
    names = attribute_path(attrpath)
    if meaning is INPUTS and names[:1] == ("self",):
        meaning, names = scope.meaning("self") or _self(scope), names[1:]
    if isinstance(meaning, Text) and meaning.is_self and names in ((), ("outPath",), ("sourceInfo", "outPath")):
        return meaning
    return None


def _self(scope: Scope) -> Text:
    return Text(f"{ROOT}/{scope.directory}", is_self=True)


def _call(node: Any, scope: Scope, loose: list[Any], depth: int) -> Optional[Text]:
    function, arguments = called(node)
    name = last_name(function)
    if name == "toString" and len(arguments) == 1:
        value = value_of(arguments[0], scope, loose, depth + 1)
        return None if value is None else replace(value, is_path=False, is_self=False)
    if name == "append" and len(arguments) == 2:
        base = value_of(arguments[0], scope, loose, depth + 1)
        if base is None or not base.is_path:
            return None
        below = value_of(arguments[1], scope, loose, depth + 1)
        if below is None:
            loose.append(arguments[1])
        return base.plus(Text("/")).plus(below)
    return None


def located(value: Text) -> Optional[tuple[str, Optional[str]]]:
    """Returns path and suffix of a `PathReference`, or None for what is not in the repository."""
    if not value.is_rooted:
        return None
    *directories, last = value.text[len(ROOT) :].split("/")
    parts: list[str] = []
    names = directories if value.suffix is not None else [*directories, last]
    for name in names:
        if name == "..":
            if not parts:
                return None
            parts.pop()
        elif name not in ("", "."):
            parts.append(name)
    path = "/".join(parts)
    if value.suffix is None:
        return path, None
    return (f"{path}/" if path else "") + ("" if last == "." else last), value.suffix


def embedded(value: Text, following: str) -> Text:
    """Returns the path that a string begins with which has `value` and then `following`."""
    end = next((i for i, c in enumerate(following) if c in _ENDS_PATH), len(following))
    return value.plus(Text(following[:end]))
