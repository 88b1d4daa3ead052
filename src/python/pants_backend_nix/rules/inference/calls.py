"""What a function does with its arguments, by its name or as far as it is written in the same file."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from pants_backend_nix.rules.inference.grammar import called, last_name, text_of
from pants_backend_nix.rules.inference.values import Binding, Scope

#: What an expression is used for: it is imported; there may be nothing; all that is there is read; anything.
IMPORTED, ASKED, ALL, OTHER = "imported", "asked", "all", ""

#: Functions that import an argument: of a directory its `default.nix`. By name, the place of the argument.
_IMPORTING = {
    "import": 0,
    "scopedImport": 1,
    "callPackage": 0,
    "callPackages": 0,
    "callPackageWith": 1,
    "callPackagesWith": 1,
    "importApply": 0,
}

#: Functions that ask whether there is such a path.
_ASKING = {"pathExists": 0, "maybeMissing": 0}

#: Functions whose last argument is, or has, their result.
_PASSING = frozenset({"optional", "optionals", "mkIf", "toList"})

#: Functions over lists, for `map import [ ./a ./b ]`.
_MAPPING = frozenset({"map", "concatMap", "forEach"})

#: Functions that are about all files of a flake if they get `self`.
_READING = frozenset(
    {
        "cleanSource",
        "filterSource",
        "readDir",
        "sourceByRegex",
        "sourceFilesBySuffices",
        "gitTracked",
        "listFilesRecursive",
    }
)

#: So many names for one function are followed.
_DEEPEST = 8


def uses_of_arguments(
    function: Any, arguments: Sequence[Any], scope: Scope, use: str
) -> tuple[str, ...]:
    """Returns what each argument of a call is used for.

    :param use: what the result of the call is used for.
    """
    name = last_name(function)
    uses = [OTHER] * len(arguments)
    imported = _imported_argument(function, scope)
    for place, what in ((imported, IMPORTED), (_ASKING.get(name), ASKED)):
        if place is not None and place < len(uses):
            uses[place] = what
    if name in _PASSING and uses:
        uses[-1] = use
    if name in _READING:
        uses = [ALL] * len(arguments)
    if name in _MAPPING and len(arguments) > 1:
        for place, other in ((0, 1), (1, 0)):
            if _imported_argument(arguments[place], scope) == 0:
                uses[other] = IMPORTED
    return tuple(uses)


def _imported_argument(function: Any, scope: Scope, depth: int = 0) -> Optional[int]:
    """Returns the place of the argument that a function imports; None if there is none."""
    if function is None or depth > _DEEPEST:
        return None
    if function.type == "variable_expression":
        meaning = scope.meaning(text_of(function))
        if isinstance(meaning, Binding):
            return _imported_argument(meaning.expression, meaning.scope, depth + 1)
    if function.type == "parenthesized_expression":
        return _imported_argument(function.child_by_field_name("expression"), scope, depth + 1)
    if function.type == "function_expression":
        known = scope.importing.get(function.id)
        if known is None:
            # For functions that call themselves.
            scope.importing[function.id] = False
            known = scope.importing[function.id] = _imports_argument(function, scope, depth)
        return 0 if known else None
    if function.type == "apply_expression":
        # One that got its first arguments already, such as `callPackageWith pkgs`.
        inner, given = called(function)
        place = _imported_argument(inner, scope, depth + 1)
        return None if place is None or place < len(given) else place - len(given)
    return _IMPORTING.get(last_name(function))


def _imports_argument(function: Any, scope: Scope, depth: int) -> bool:
    """Tells whether a function does nothing else with its argument than to import it: `file: import file { }`."""
    universal = function.child_by_field_name("universal")
    if universal is None or function.child_by_field_name("formals") is not None:
        return False
    name = text_of(universal)
    inner = scope.within({name: None})
    imported = False
    waiting = [function.child_by_field_name("body")]
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if node.type == "inherited_attrs" or (
            node.type == "variable_expression" and text_of(node) == name
        ):
            if node.type == "variable_expression" or name in text_of(node).split():
                return False
            continue
        if node.type == "apply_expression":
            callee, arguments = called(node)
            place = _imported_argument(callee, inner, depth + 1)
            if place is not None and place < len(arguments):
                argument = arguments[place]
                if argument.type == "variable_expression" and text_of(argument) == name:
                    imported = True
                    waiting.extend(one for one in (callee, *arguments) if one.id != argument.id)
                    continue
        waiting.extend(node.named_children)
    return imported
