"""Text of a Nix file → the paths in it, with what they are used for.

It is read as it is written: names that `let` binds to paths and strings are followed, calls are known by the name
of what is called, and what is computed is left open.
"""

from __future__ import annotations

import posixpath
from typing import Any, Iterable, Iterator, Mapping, Optional

from nixoci.store.locks.names import FLAKE, FLAKE_LOCK

from pants_backend_nix.rules.inference.calls import ALL, ASKED, IMPORTED, OTHER, uses_of_arguments
from pants_backend_nix.rules.inference.flake import has_inputs, input_paths, outputs_of, settings_of
from pants_backend_nix.rules.inference.grammar import (
    attribute_path,
    bindings_of,
    called,
    line_of,
    parse,
    text_of,
)
from pants_backend_nix.rules.inference.references import PathReference, merge_references
from pants_backend_nix.rules.inference.values import (
    INPUTS,
    ROOT,
    Binding,
    Meaning,
    Scope,
    Text,
    embedded,
    located,
    value_of,
)

#: Names of lists of modules, which are imported.
_MODULES = frozenset({"imports", "modules"})

#: Names of attributes that are about all files of the flake if they are `self`.
_SOURCES = frozenset({"src", "path", "root", "source", "fileset"})

_VALUES = frozenset(
    {
        "path_expression",
        "string_expression",
        "indented_string_expression",
        "variable_expression",
        "binary_expression",
        "select_expression",
        "apply_expression",
    }
)

#: Types of nodes with nothing in them.
_EMPTY = frozenset(
    {"comment", "identifier", "integer_expression", "float_expression", "uri_expression", "inherit"}
)


def references_of(text: bytes, path: str, ignoring: bytes = b"") -> tuple[PathReference, ...]:
    """Returns what a Nix file refers to by paths that are written in it.

    `<nixpkgs>`, paths in `~`, absolute ones and such as lead out of the repository are left out. In a file called
    `flake.nix`, `self`, inputs by path and the lock file count, too.

    :param path: of the file, from the root of the repository.
    :param ignoring: what lines have that are left out; empty: none are.
    :raises NixParserError: the parser is not installed.
    """
    root = parse(text)
    scope = Scope(posixpath.dirname(path))
    found: list[PathReference] = []
    constants: dict[int, Meaning] = {}
    if posixpath.basename(path) == FLAKE:
        found.extend(_flake_references(root, path))
        outputs = outputs_of(root)
        if outputs is not None:
            constants[outputs.id] = Text(f"{ROOT}/{scope.directory}", is_self=True)
    found.extend(_Walk(constants).references(root, scope))
    lines = text.split(b"\n") if ignoring else ()
    ignored = {number for number, line in enumerate(lines, 1) if ignoring in line}
    return merge_references(
        one
        for one in found
        if one.line not in ignored and (one.path != path or one.suffix is not None)
    )


def settings_of_flake(text: bytes, path: str) -> tuple[str, ...]:
    """Returns the names of the settings of Nix that a file has if it is a flake, see `flake.settings_of`.

    :param path: of the file.
    :raises NixParserError: the parser is not installed.
    """
    return settings_of(parse(text)) if posixpath.basename(path) == FLAKE else ()


def literals_of(text: bytes, path: str) -> frozenset[str]:
    """Returns all paths that are written in a file, whatever they are used for; of one with unknown parts its
    beginning.

    :param path: of the file, from the root of the repository.
    """
    directory = posixpath.dirname(path)
    found: set[str] = set()
    nodes = [parse(text)]
    while nodes:
        node = nodes.pop()
        nodes.extend(node.named_children)
        if node.type == "path_expression" and not text_of(node).startswith("/"):
            place = located(Text(f"{ROOT}/{directory}/{text_of(node.named_children[0])}"))
            if place is not None:
                found.add(place[0])
    return frozenset(found)


def _flake_references(root: Any, path: str) -> Iterator[PathReference]:
    directory = posixpath.dirname(path)
    for below, line in input_paths(root):
        place = located(Text(f"{ROOT}/{directory}/{below}"))
        if place is not None:
            yield PathReference(place[0], line=line)
    lock = posixpath.join(directory, FLAKE_LOCK)
    yield PathReference(lock, required=has_inputs(root), line=1)


class _Walk:
    """Goes through a syntax tree from the outside.

    :param constants: by `id` of the function, what its argument `self` is.
    """

    def __init__(self, constants: Mapping[int, Meaning]) -> None:
        self._constants = constants
        self._waiting: list[tuple[Any, Scope, str]] = []

    def references(self, root: Any, scope: Scope) -> Iterator[PathReference]:
        self._waiting.append((root, scope, OTHER))
        while self._waiting:
            yield from self._visit(*self._waiting.pop())

    def _visit(self, node: Any, scope: Scope, use: str) -> Iterator[PathReference]:
        kind = node.type
        if kind in _VALUES:
            loose: list[Any] = []
            value = value_of(node, scope, loose)
            if value is not None and value.is_rooted and not _is_prose(value):
                self._wait_all(loose, scope)
                # The flake that is handed on is read by whoever gets it.
                if not value.is_self or use == ALL:
                    yield from _reference(value, node, use)
                return
            if kind in ("string_expression", "indented_string_expression"):
                yield from self._visit_string(node, scope)
                return
            if kind == "apply_expression":
                self._visit_call(node, scope, use)
                return
        if kind == "let_expression":
            self._visit_let(node, scope, use)
        elif kind in ("attrset_expression", "rec_attrset_expression"):
            yield from self._visit_set(node, scope)
        elif kind == "function_expression":
            self._visit_function(node, scope, use)
        else:
            for field, handed_on in _children(node, use):
                self._wait(field, scope, handed_on)

    def _wait(self, node: Any, scope: Scope, use: str = OTHER) -> None:
        """Visits an expression later, unless it is missing or has nothing in it."""
        if node is None or node.type in _EMPTY:
            return
        if node.type == "string_expression" and node.named_child_count < 2 and b"${" not in node.text:
            # By far the most frequent expression, and no path.
            return
        self._waiting.append((node, scope, use))

    def _wait_all(self, nodes: Iterable[Any], scope: Scope) -> None:
        for node in nodes:
            self._wait(node, scope)

    def _visit_string(self, node: Any, scope: Scope) -> Iterator[PathReference]:
        """A string that is no path may have some in it: `"cp ${self}/x $out"`."""
        children = node.named_children
        for place, child in enumerate(children):
            if child.type != "interpolation":
                continue
            expression = child.child_by_field_name("expression")
            loose: list[Any] = []
            value = value_of(expression, scope, loose)
            if value is None or not value.is_rooted:
                self._wait(expression, scope)
                continue
            self._wait_all(loose, scope)
            if value.is_path:
                yield from _reference(value, expression, OTHER)
                continue
            after = children[place + 1] if place + 1 < len(children) else None
            adjacent = after is not None and after.start_byte == child.end_byte
            following = text_of(after) if adjacent and after.type == "string_fragment" else ""
            whole = embedded(value, following)
            ends = whole.text != value.text + following
            beyond = after if not following else children[place + 2] if place + 2 < len(children) else None
            if not ends and beyond is not None and beyond.type != "string_fragment":
                whole = whole.plus(None)
            yield from _reference(whole, expression, OTHER)

    def _visit_call(self, node: Any, scope: Scope, use: str) -> None:
        function, arguments = called(node)
        uses = uses_of_arguments(function, arguments, scope, use)
        for argument, what in zip(arguments, uses):
            self._wait(argument, scope, what)
        self._wait(function, scope)

    def _visit_let(self, node: Any, scope: Scope, use: str) -> None:
        inner = self._bound(node, scope)
        for binding in bindings_of(node):
            expression = binding.child_by_field_name("expression")
            if binding.type != "binding":
                # What a name stands for that is inherited is looked at where it is used.
                self._wait(expression, inner)
                continue
            loose: list[Any] = []
            value = value_of(expression, inner, loose)
            names = _names(binding)
            if value is not None and value.is_rooted and len(names) == 1:
                self._wait_all(loose, inner)
            else:
                self._wait(expression, inner, _use_of(names))
        self._wait(node.child_by_field_name("body"), inner, use)

    def _visit_set(self, node: Any, scope: Scope) -> Iterator[PathReference]:
        inner = self._bound(node, scope) if node.type == "rec_attrset_expression" else scope
        bindings = [(binding, _names(binding)) for binding in bindings_of(node)]
        of_fileset = any(names == ("fileset",) for _, names in bindings)
        for binding, names in bindings:
            if binding.type == "inherit":
                yield from self._inherited(binding, scope)
                continue
            if of_fileset and names == ("root",):
                # `lib.fileset.toSource`: the files are those of `fileset`.
                continue
            self._wait(binding.child_by_field_name("expression"), inner, _use_of(names))
            attrpath = binding.child_by_field_name("attrpath")
            if attrpath is not None:
                self._wait_all(attrpath.children_by_field_name("attr"), inner)

    def _inherited(self, binding: Any, scope: Scope) -> Iterator[PathReference]:
        """`inherit src;` uses a name as `src = src;` does."""
        for attrs in binding.children_by_field_name("attrs"):
            for name in attribute_path(attrs):
                meaning = None if name is None else scope.meaning(name)
                value = (
                    value_of(meaning.expression, meaning.scope, [])
                    if isinstance(meaning, Binding)
                    else None
                )
                if value is not None and value.is_rooted and not value.is_self:
                    yield from _reference(value, binding, OTHER)

    def _visit_function(self, node: Any, scope: Scope, use: str) -> None:
        names: dict[str, Meaning] = {}
        itself = self._constants.get(node.id)
        universal = node.child_by_field_name("universal")
        if universal is not None:
            names[text_of(universal)] = None if itself is None else INPUTS
        formals = node.child_by_field_name("formals")
        defaults: list[Any] = []
        for formal in () if formals is None else formals.children_by_field_name("formal"):
            name = text_of(formal.child_by_field_name("name"))
            names[name] = itself if name == "self" else None
            defaults.append(formal.child_by_field_name("default"))
        inner = scope.within(names)
        self._wait_all(defaults, inner)
        self._wait(node.child_by_field_name("body"), inner, use)

    def _bound(self, node: Any, scope: Scope) -> Scope:
        """Returns the scope of what is in a `let` or `rec`."""
        names: dict[str, Meaning] = {}
        inner = scope.within(names)
        for binding in bindings_of(node):
            if binding.type == "binding":
                path = _names(binding)
                if path and path[0] is not None:
                    expression = binding.child_by_field_name("expression")
                    names[path[0]] = Binding(expression, inner) if len(path) == 1 else None
            elif binding.type == "inherit_from":
                for attrs in binding.children_by_field_name("attrs"):
                    names.update({name: None for name in attribute_path(attrs) if name})
        return inner


def _names(binding: Any) -> tuple[Optional[str], ...]:
    attrpath = binding.child_by_field_name("attrpath")
    return () if attrpath is None else attribute_path(attrpath)


def _use_of(names: tuple[Optional[str], ...]) -> str:
    """Returns what a binding is for, by the last of its names."""
    name = names[-1] if names else None
    return IMPORTED if name in _MODULES else ALL if name in _SOURCES else OTHER


def _children(node: Any, use: str) -> Iterator[tuple[Any, str]]:
    """Yields what is directly in an expression, with what it is used for."""
    handed_on: tuple[str, ...] = ()
    if node.type == "binary_expression":
        operator = node.child_by_field_name("operator")
        handed_on = ("left", "right") if operator is not None and text_of(operator) == "++" else ()
    elif node.type == "if_expression":
        handed_on = ("consequence", "alternative")
    elif node.type in ("with_expression", "assert_expression"):
        handed_on = ("body",)
    elif node.type == "parenthesized_expression":
        handed_on = ("expression",)
    elif node.type == "list_expression":
        handed_on = ("element",)
    same = {child.id for name in handed_on for child in node.children_by_field_name(name)}
    for child in node.named_children:
        yield child, use if child.id in same else OTHER


def _is_prose(value: Text) -> bool:
    """Whether a string begins with a path and goes on with something else."""
    return not value.is_path and any(c in " \n" for c in value.text + (value.suffix or ""))


def _reference(value: Text, node: Any, use: str) -> Iterator[PathReference]:
    place = located(value)
    if place is not None:
        yield PathReference(
            *place, imported=use == IMPORTED, required=use != ASKED, line=line_of(node)
        )
