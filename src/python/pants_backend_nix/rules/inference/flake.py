"""What a `flake.nix` says of its inputs, and the function of its outputs."""

from __future__ import annotations

from typing import Any, Iterator, Optional

from pants_backend_nix.rules.inference.grammar import (
    attribute_path,
    bindings_of,
    line_of,
    text_of,
)

_PATH_SCHEME = "path:"
_SETTINGS = "nixConfig"


def _top(root: Any) -> Optional[Any]:
    """Returns the attribute set that a flake is."""
    node = root.child_by_field_name("expression") if root.type == "source_code" else None
    while node is not None and node.type == "parenthesized_expression":
        node = node.child_by_field_name("expression")
    sets = ("attrset_expression", "rec_attrset_expression")
    return node if node is not None and node.type in sets else None


def _leaves(node: Any, path: tuple[Optional[str], ...] = ()) -> Iterator[tuple[tuple[Optional[str], ...], Any]]:
    """Yields the attribute path and expression of all that nested attribute sets hold."""
    for binding in bindings_of(node):
        expression = binding.child_by_field_name("expression")
        attrpath = binding.child_by_field_name("attrpath")
        if binding.type != "binding" or expression is None or attrpath is None:
            continue
        names = (*path, *attribute_path(attrpath))
        if expression.type == "attrset_expression" and names[0] == "inputs":
            yield from _leaves(expression, names)
        else:
            yield names, expression


def outputs_of(root: Any) -> Optional[Any]:
    """Returns the function of the field `outputs`."""
    top = _top(root)
    for names, expression in () if top is None else _leaves(top):
        if names == ("outputs",):
            while expression is not None and expression.type == "parenthesized_expression":
                expression = expression.child_by_field_name("expression")
            return expression
    return None


def has_inputs(root: Any) -> bool:
    """Tells whether a flake has inputs, and so a lock file."""
    top = _top(root)
    return any(names[0] == "inputs" for names, _ in (() if top is None else _leaves(top)))


def settings_of(root: Any) -> tuple[str, ...]:
    """Returns the names of the settings of Nix that a flake has in `nixConfig`, sorted."""
    top = _top(root)
    found: set[str] = set()
    for names, expression in () if top is None else _leaves(top):
        if names[0] != _SETTINGS:
            continue
        if len(names) > 1:
            found.add(names[1] or "…")
        else:
            bindings = [] if expression is None else bindings_of(expression)
            attrpaths = [binding.child_by_field_name("attrpath") for binding in bindings]
            found.update(attribute_path(path)[0] or "…" for path in attrpaths if path is not None)
    return tuple(sorted(found))


def input_paths(root: Any) -> Iterator[tuple[str, int]]:
    """Yields relative paths of inputs (`path:./x`, `./x`), from the directory of the flake, and their lines."""
    top = _top(root)
    for names, expression in () if top is None else _leaves(top):
        if names[0] != "inputs" or names[-1] not in ("url", "path"):
            continue
        parts = expression.named_children
        if expression.type != "string_expression" or [part.type for part in parts] != ["string_fragment"]:
            continue
        url = text_of(parts[0])
        is_path = url.startswith(_PATH_SCHEME)
        path = url[len(_PATH_SCHEME) if is_path else 0 :].partition("?")[0].partition("#")[0]
        if path.startswith("/") or (names[-1] == "url" and not is_path and not path.startswith(".")):
            continue
        yield path, line_of(expression)
