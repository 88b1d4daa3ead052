"""Rule modules keep to the form that every supported version of Pants understands.

The tests run on one version only. What the others ask of rules is in `pants_backend_nix.engine`; most
of it is syntax, as Pants finds out what a rule awaits by reading its source.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import Iterator, Union

import pytest

from pants_backend_nix import engine
from tests.pants_backend_nix.imports_support import SOURCES

MODULES = {
    path.relative_to(SOURCES).as_posix(): ast.parse(path.read_text())
    for path in sorted(SOURCES.rglob("*.py"))
    if path != Path(engine.__file__)
}

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]


def functions(tree: ast.Module) -> Iterator[Function]:
    """Yields the functions at the top of a module."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def is_rule(function: Function) -> bool:
    """Tells whether a function is decorated with `@rule` or `@rule(…)`."""
    decorators = (d.func if isinstance(d, ast.Call) else d for d in function.decorator_list)
    return any(isinstance(d, ast.Name) and d.id == "rule" for d in decorators)


RULES = {
    function.name: function
    for tree in MODULES.values()
    for function in functions(tree)
    if is_rule(function)
}


def request_type(rule: Function) -> str:
    """Returns the annotation of the first parameter; empty for a rule that has none."""
    return ast.unparse(rule.args.args[0].annotation) if rule.args.args else ""  # type: ignore


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yields the calls of plain names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node


@pytest.mark.parametrize("module", MODULES)
def test_own_rules_are_called_with_their_request_alone(module: str) -> None:
    """`rule(Request(…), **implicitly())`: what else a rule needs, the engine knows."""
    for name, call in calls(MODULES[module]):
        if name in RULES:
            expected = 1 if request_type(RULES[name]) else 0
            keywords = [(k.arg, ast.unparse(k.value)) for k in call.keywords]
            where = f"{module}:{call.lineno}: {name}"
            assert len(call.args) == expected, where
            assert not any(isinstance(argument, ast.Starred) for argument in call.args), where
            assert keywords == [(None, "implicitly()")], where


@pytest.mark.parametrize("module", MODULES)
def test_what_is_called_is_defined_above(module: str) -> None:
    """Pants looks up rules and helpers when it reads the caller, while the module is loaded."""
    defined = {
        f.name: f.lineno for f in functions(MODULES[module]) if isinstance(f, ast.AsyncFunctionDef)
    }
    for function in functions(MODULES[module]):
        for name, call in calls(function):
            if name in defined:
                assert defined[name] < function.lineno, f"{module}:{call.lineno}: {name}"


@pytest.mark.parametrize("module", MODULES)
def test_coroutines_are_called_where_they_are_named(module: str) -> None:
    """Pants does not follow a rule, a helper or a coroutine of `engine` that is passed around."""
    helpers = {f.name for f in functions(MODULES[module]) if isinstance(f, ast.AsyncFunctionDef)}
    coroutines = helpers | set(RULES) | _imported_from_engine(MODULES[module])
    # What has capitals is a class or a constant.
    coroutines = {name for name in coroutines if name.islower()} - {"implicitly", "rule"}
    called = {id(node.func) for node in ast.walk(MODULES[module]) if isinstance(node, ast.Call)}
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Name) and node.id in coroutines:
            assert id(node) in called, f"{module}:{node.lineno}: {node.id}"


def _imported_from_engine(tree: ast.Module) -> set[str]:
    return {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == engine.__name__
        for alias in node.names
    }


@pytest.mark.parametrize("module", MODULES)
def test_helpers_are_at_the_top_of_a_module(module: str) -> None:
    """Pants looks up names in the module of a rule, so it sees no method and no inner function."""
    top = {id(function) for function in functions(MODULES[module])}
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.AsyncFunctionDef):
            assert id(node) in top, f"{module}:{node.lineno}: {node.name}"


@pytest.mark.parametrize("module", MODULES)
def test_names_of_coroutines_mean_one_thing(module: str) -> None:
    """No variable or parameter has the name of a rule or helper: Pants would take one for the other."""
    tree = MODULES[module]
    helpers = {f.name for f in functions(tree) if isinstance(f, ast.AsyncFunctionDef)}
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in RULES or node.module == engine.__name__
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            assert node.id not in helpers | imported, f"{module}:{node.lineno}: {node.id}"
        if isinstance(node, ast.arg):
            assert node.arg not in helpers | imported, f"{module}:{node.lineno}: {node.arg}"


def test_rules_have_names_and_requests_of_their_own() -> None:
    """Before 2.20 the plugin's rules are found by request and result, not by name."""
    rules = [f for tree in MODULES.values() for f in functions(tree) if is_rule(f)]
    pairs = Counter((request_type(f), ast.unparse(f.returns)) for f in rules)  # type: ignore
    assert [pair for pair, count in pairs.items() if count > 1] == []
    requests = Counter(request_type(f) for f in rules if request_type(f))
    assert [request for request, count in requests.items() if count > 1] == []
    assert len(RULES) == len(rules)


def test_rules_are_coroutines() -> None:
    for name, function in RULES.items():
        assert isinstance(function, ast.AsyncFunctionDef), name
