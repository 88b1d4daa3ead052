"""The targets, options and goals of Pants with this plugin: what pages may show."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Type

import pants.backend.docker.register as docker
import pants.backend.experimental.adhoc.register as adhoc
import pants.backend.experimental.go.register as go
import pants.backend.project_info.register as project_info
import pants.backend.python.register as python
import pants.backend.shell.register as shell
import pants.core.register as core
import pants_backend_nix.deadnix.register as deadnix
import pants_backend_nix.nixfmt.register as nixfmt
import pants_backend_nix.register as nix
import pants_backend_nix.statix.register as statix
from pants.engine.goal import GoalSubsystem
from pants.engine.target import Field, Target
from pants.engine.unions import UnionMembership, UnionRule
from pants.option.global_options import GlobalOptions
from pants.option.option_types import collect_options_info
from pants.option.subsystem import Subsystem

_BACKENDS: tuple[Any, ...] = (
    *(core, project_info, adhoc, docker, go, python, shell),
    *(nix, deadnix, nixfmt, statix),
)


@dataclass(frozen=True)
class Option:
    """:param is_flag: it is true or false, so that `--no-NAME` is one too."""

    name: str
    is_flag: bool


@functools.lru_cache(maxsize=None)
def fields() -> Mapping[str, Mapping[str, Type[Field]]]:
    """Returns the fields of each target type, by their names."""
    unions = UnionMembership.from_rules(
        rule for backend in _BACKENDS for rule in backend.rules() if isinstance(rule, UnionRule)
    )
    found = {}
    for target in _target_types(_BACKENDS):
        types = target.class_field_types(unions)
        names = {field.alias: field for field in types}
        old = {field.deprecated_alias: field for field in types if field.deprecated_alias}
        found[target.alias] = {**old, **names}
    return found


def own_targets() -> tuple[str, ...]:
    """Returns the names of this plugin's target types, images first."""
    return tuple(sorted((target.alias for target in nix.target_types()), key="nix_image".__ne__))


@functools.lru_cache(maxsize=None)
def options() -> Mapping[str, Mapping[str, Option]]:
    """Returns the options of each scope, by their names with dashes. The global scope is `""`."""
    found: dict[str, dict[str, Option]] = {}
    for subsystem in _all_subclasses(Subsystem):
        scope = getattr(subsystem, "options_scope", None)
        if isinstance(scope, str) and not inspect.isabstract(subsystem):
            # Some options depend on where a process runs.
            of_environment = getattr(subsystem, "EnvironmentAware", None)
            for info in (
                *collect_options_info(subsystem),
                *(collect_options_info(of_environment) if of_environment else ()),
            ):
                # These have other names in newer versions.
                names, registered = (getattr(info, field.name) for field in dataclasses.fields(info))
                name = names[-1].lstrip("-")
                is_flag = registered.get("type") is bool
                found.setdefault(scope, {})[name] = Option(name, is_flag)
    assert "pantsd" in found[GlobalOptions.options_scope]
    return found


def goals() -> frozenset[str]:
    """Returns the names of all goals."""
    # Those that have no rules of their own.
    builtin = {"help", "help-advanced", "help-all", "version", "repl", "bsp"}
    named = [getattr(goal, "name", None) for goal in _all_subclasses(GoalSubsystem)]
    return builtin | {name for name in named if isinstance(name, str)}


def _target_types(backends: Iterable[Any]) -> Iterable[Type[Target]]:
    return {
        target
        for backend in backends
        if hasattr(backend, "target_types")
        for target in backend.target_types()
    }


def _all_subclasses(cls: type) -> Iterable[Any]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _all_subclasses(subclass)
