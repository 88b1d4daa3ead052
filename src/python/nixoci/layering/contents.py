"""What a layer holds: a closure less what is ignored, less what the layers below hold."""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.layering.split import MAX_LAYERS, Split
from nixoci.recipe.layer import DIALECTS, ROOT, LayerRecipe, Owner, Permission, RecipeEntry
from nixoci.store.closure import ClosureGraph, NotClosedError, PathInfo
from nixoci.store.path import StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Iterable, Sequence


@dataclass(frozen=True)
class Contents:
    """The contents of one layer target, before they are split over OCI layers.

    :param graph: the paths that this layer puts in `/nix/store`. They reference paths of layers
        below, so the graph is not closed by itself.
    :param copied: the paths whose contents it puts at the root, in order.
    """

    graph: ClosureGraph
    copied: tuple[PathInfo, ...] = ()


def subtract(
    graph: ClosureGraph,
    *,
    packages: Iterable[StorePath],
    copied: Sequence[StorePath] = (),
    ignored: Iterable[StorePath] = (),
    below: Iterable[StorePath] = (),
) -> Contents:
    """Returns what a layer holds.

    Everything that `packages`, `copied` and `ignored` reach belongs to it, except for the ignored
    paths themselves; for a copied path that is no package and that nothing in the layer, itself
    included, references; and for what the layers below hold.

    :param graph: holds the closure of all of them.
    :raises NotClosedError: it does not.
    """
    packages, ignored = set(packages), set(ignored)
    copied = tuple(path for path in dict.fromkeys(copied) if path not in ignored)
    kept = graph.closure((*packages, *copied, *ignored)).without(ignored)
    referenced = {reference for info in kept.values() for reference in info.references}
    only_copied = {path for path in copied if path not in referenced and path not in packages}
    return Contents(
        kept.without(only_copied | set(below)),
        tuple(graph[path] for path in copied),
    )


def idle_ignored(
    graph: ClosureGraph, kept: Iterable[StorePath], ignored: Iterable[StorePath]
) -> tuple[StorePath, ...]:
    """Returns the ignored paths that neither are in the closure of others, nor bring anything in.

    :param graph: holds the closure of all of them.
    :param kept: what a layer holds besides, with its closure.
    :raises NotClosedError: it does not.
    """
    kept, ignored = tuple(kept), tuple(ignored)
    found = []
    for path in ignored:
        others = graph.closure((*kept, *(other for other in ignored if other != path)))
        if graph.closure([path]).keys() - others.keys() == {path}:
            found.append(path)
    return tuple(found)


def require_closed(stack: Sequence[Contents]) -> None:
    """Checks that a stack of layers holds all that its paths reference.

    :raises NotClosedError: naming a path that is left out, and a chain of references to it.
    """
    everything = ClosureGraph().union(*(contents.graph for contents in stack))
    copied = ClosureGraph(
        info for contents in stack for info in contents.copied if info.path not in everything
    )
    referrers = everything.union(copied)
    missing = sorted(
        (reference, path)
        for path, info in referrers.items()
        for reference in info.references
        if reference not in everything
    )
    if missing:
        raise NotClosedError(referrers.chain_to(missing[0][0]))


@dataclass(frozen=True)
class Divisible:
    """What of a layer target's contents a split may divide.

    :param max_layers: over how many layers.
    """

    graph: ClosureGraph
    max_layers: int


def divisible(contents: Contents, max_layers: int, apart: Collection[StorePath]) -> Divisible:
    """Returns what is left to split when what is copied, and what is `apart`, has its place.

    :param max_layers: of all of the contents. It is not checked here.
    """
    # What is above the bound goes to `split` as it is, so that it is refused.
    alone = bool(contents.copied) and 1 < max_layers <= MAX_LAYERS
    return Divisible(
        contents.graph.without(set(apart)) if apart else contents.graph,
        max_layers - 1 if alone else max_layers,
    )


def recipes(
    contents: Contents,
    parts: Split,
    *,
    max_layers: int,
    permissions: Sequence[Permission] = (),
    owner: Owner = Owner(),
    dialect: str = DIALECTS[0],
    excludes: Sequence[str] = (),
) -> tuple[LayerRecipe, ...]:
    """Returns the layer recipes of contents, bottom first.

    What is copied to the root is in the last one, alone if there may be two or more. A recipe has
    those of the permissions that can match what is in it.

    :param parts: a split of what is `divisible`. Other paths get a layer of their own above it.
    :param max_layers: as for `divisible`.
    :param dialect: of all of them, see `nixoci.recipe.layer.LayerRecipe`. So are the `excludes`.
    :raises InvalidInputError: an unknown dialect, or no glob.
    """
    alone = bool(contents.copied) and max_layers > 1
    set_apart = sorted(contents.graph.keys() - {path for part in parts for path in part})
    entries = [[_entry(contents.graph[path], path) for path in part] for part in parts]
    if set_apart:
        entries.append([_entry(contents.graph[path], path) for path in set_apart])
    copied = [_entry(info, ROOT) for info in contents.copied]
    if copied:
        if alone or not entries:
            entries.append([])
        entries[-1].extend(copied)
    return tuple(
        LayerRecipe(
            tuple(part),
            tuple(p for p in permissions if any(p.may_match(e.destination) for e in part)),
            owner,
            dialect,
            tuple(excludes),
        )
        for part in entries
    )


def _entry(info: PathInfo, destination: str) -> RecipeEntry:
    return RecipeEntry(info.path, info.nar_hash, destination)
