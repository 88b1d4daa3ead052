"""Text of a Nix file → syntax tree.

The parser is imported when the first file is parsed: what infers nothing pays nothing for it.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any, Iterator, Optional


class NixParserError(Exception):
    """The package that parses Nix files is not installed for this Python."""

    def __init__(self) -> None:
        package = "tree-sitter-nix" if sys.version_info >= (3, 10) else "tree-sitter-language-pack"
        super().__init__(
            f"Nix files are parsed with {package}, which is not installed here (for {sys.executable})."
        )


@lru_cache(maxsize=None)
def _language() -> Any:
    """Returns the grammar of Nix. The two packages have the same one."""
    try:
        from tree_sitter import Language

        if sys.version_info >= (3, 10):
            import tree_sitter_nix

            return Language(tree_sitter_nix.language())
        from tree_sitter_language_pack import get_language

        return get_language("nix")
    except ImportError:
        raise NixParserError() from None


def parse(text: bytes) -> Any:
    """Returns the root of the syntax tree (`tree_sitter.Node`).

    What is no Nix is in nodes of the type ERROR, with all around it that is.

    :raises NixParserError: the parser is not installed.
    """
    language = _language()
    from tree_sitter import Parser

    return Parser(language).parse(text).root_node


def text_of(node: Any) -> str:
    return (node.text or b"").decode(errors="replace")


def line_of(node: Any) -> int:
    """Returns the line that a node begins in; the first one is 1."""
    return int(node.start_point[0]) + 1


def attribute_path(node: Any) -> tuple[Optional[str], ...]:
    """Returns the names in an `attrpath`; None for one that is computed."""
    return tuple(_attribute(attr) for attr in node.children_by_field_name("attr"))


def _attribute(node: Any) -> Optional[str]:
    if node.type == "identifier":
        return text_of(node)
    if node.type == "string_expression" and [c.type for c in node.named_children] == ["string_fragment"]:
        return text_of(node.named_children[0])
    return None


def bindings_of(node: Any) -> Iterator[Any]:
    """Yields the bindings of an attribute set or `let` (`binding`, `inherit`, `inherit_from`)."""
    for child in node.named_children:
        if child.type == "binding_set":
            yield from child.children_by_field_name("binding")


def called(node: Any) -> tuple[Any, tuple[Any, ...]]:
    """Returns the function that an `apply_expression` calls, and the arguments."""
    arguments: list[Any] = []
    while node is not None and node.type == "apply_expression":
        argument = node.child_by_field_name("argument")
        if argument is not None:
            arguments.append(argument)
        node = node.child_by_field_name("function")
        while node is not None and node.type == "parenthesized_expression":
            node = node.child_by_field_name("expression")
    return node, tuple(reversed(arguments))


def last_name(node: Any) -> str:
    """Returns the last name of what is called: `callPackage` of `pkgs.callPackage`; empty if it has none."""
    if node is None:
        return ""
    if node.type == "variable_expression":
        return text_of(node)
    if node.type == "select_expression":
        attrpath = node.child_by_field_name("attrpath")
        return (attribute_path(attrpath)[-1:] or ("",))[0] or "" if attrpath is not None else ""
    return ""
