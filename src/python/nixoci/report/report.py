"""What the layers of an image hold, why, and what they are expected to cost: facts for people.

The numbers are those of `layering.cost_model`, for the image as a whole: of all events that change a
store path by itself, a layer changes with the share that its triggers have, and then moves all of its
bytes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Optional, Sequence

from nixoci.layer.layer import Layer
from nixoci.layering.cost.model import SHARE_OF_FIRST_PARTY, package_name
from nixoci.layering.distributions import DistributionSize
from nixoci.layering.preferences import Preferences
from nixoci.recipe.blob import BlobRecipe
from nixoci.recipe.database import DatabaseRecipe
from nixoci.recipe.files import FileEntry, FilesRecipe
from nixoci.recipe.layer import ROOT, LayerRecipe
from nixoci.report.reason import Dependencies, reason
from nixoci.store.closure import ClosureGraph
from nixoci.store.path import StorePath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe


@dataclass(frozen=True)
class LayerFacts:
    """A layer, and what its recipe does not say.

    :param target: the address of the layer target that it belongs to; empty if that is the one which
        is reported on, or none.
    :param kept: its bytes are kept since they cannot be made again.
    :param distributions: of Python that its files are of.
    :param why: these are a layer.
    """

    layer: Layer
    recipe: Recipe
    target: str = ""
    kept: bool = False
    distributions: tuple[DistributionSize, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class PathReport:
    """A store path in a layer.

    :param nar_size: bytes.
    :param share: of the events, those in which it changes: 0 to 1.
    :param bytes_in_layer: its part of the size of the layer.
    :param at_root: its contents are at the root of the image, not in the store.
    :param references: what it references in the image, itself excepted.
    """

    path: StorePath
    nar_size: int
    share: float
    bytes_in_layer: float
    at_root: bool
    references: tuple[StorePath, ...]


@dataclass(frozen=True)
class LayerReport:
    """A layer of an image.

    :param number: from 1, the lowest, on.
    :param share: of the events, those in which it changes: 0 to 1.
    :param why: what its paths have in common, in words.
    :param paths: the largest first; none for a Nix database or files.
    :param files: what is in a layer of files, with its directories.
    :param distributions: of Python that these are of, the largest first.
    """

    number: int
    layer: Layer
    target: str
    share: float
    why: str
    paths: tuple[PathReport, ...]
    files: tuple[FileEntry, ...] = ()
    distributions: tuple[DistributionSize, ...] = ()

    @property
    def expected(self) -> float:
        """Bytes of this layer that an event is expected to move."""
        return self.layer.size * self.share

    @property
    def ideal(self) -> float:
        """Bytes that it would move if each path were alone."""
        if not self.paths:
            return self.expected
        return sum(path.bytes_in_layer * path.share for path in self.paths)

    @property
    def contents(self) -> str:
        """The largest packages, distributions or files in it, by name."""
        if self.distributions:
            return _first([f"{one.name} {one.version}" for one in self.distributions])
        if self.files:
            return _largest_files(self.files)
        sizes: Counter[str] = Counter()
        for path in self.paths:
            sizes[package_name(path.path)] += path.nar_size
        return _first(sorted(sizes, key=lambda name: (-sizes[name], name)))


@dataclass(frozen=True)
class ImageReport:
    """The layers of an image, or of a layer target.

    :param name: the address of the target.
    :param digest: of the manifest; empty for a layer target.
    :param layers: the lowest first.
    """

    name: str
    digest: str
    layers: tuple[LayerReport, ...]

    @property
    def size(self) -> int:
        """Bytes of all layers."""
        return sum(layer.layer.size for layer in self.layers)

    @property
    def path_count(self) -> int:
        return sum(len(layer.paths) for layer in self.layers)

    @property
    def expected(self) -> float:
        """Bytes that an event is expected to move."""
        return sum(layer.expected for layer in self.layers)

    @property
    def ideal(self) -> float:
        """Bytes that an event would move if each path had a layer of its own."""
        return sum(layer.ideal for layer in self.layers)


def report_layers(
    name: str,
    layers: Sequence[LayerFacts],
    graph: ClosureGraph,
    *,
    digest: str = "",
    preferences: Preferences = Preferences(),
) -> ImageReport:
    """Returns what there is to say of the layers of an image, the lowest first.

    :param graph: has all store paths that are in the layers, those that are copied to the root too.
    :param preferences: those of the split: rates are used.
    :raises InvalidInputError: as `nixoci.layering.cost.model.cost_model`.
    """
    dependencies = Dependencies.of(graph, preferences)
    image_size = sum(facts.layer.size for facts in layers)
    packages = len(graph) + sum(len(facts.distributions) for facts in layers)
    return ImageReport(
        name,
        digest,
        tuple(
            _files_report(number, facts, packages)
            if isinstance(facts.recipe, FilesRecipe)
            else _layer_report(number, facts, graph, dependencies, image_size)
            for number, facts in enumerate(layers, start=1)
        ),
    )


def _layer_report(
    number: int,
    facts: LayerFacts,
    graph: ClosureGraph,
    dependencies: Dependencies,
    image_size: int,
) -> LayerReport:
    recipe = facts.recipe
    if isinstance(recipe, DatabaseRecipe):
        why = f"the Nix database of {_count(len(recipe.registrations), 'store path')}"
        return LayerReport(number, facts.layer, facts.target, 1.0, why, ())
    if isinstance(recipe, BlobRecipe):
        # It is pinned: no update of packages moves it.
        return LayerReport(number, facts.layer, facts.target, 0.0, f"copied, {recipe.summary}", ())
    assert isinstance(recipe, LayerRecipe), "files have a report of their own"
    members = dict.fromkeys(recipe.paths)
    triggers = dependencies.triggers(members)
    words = [
        f"the layer target {facts.target}" if facts.target else "",
        "kept, as its builds are not reproducible" if facts.kept else "",
        _copied(recipe),
        "less what is excluded" if recipe.excludes else "",
        reason(list(members), dependencies, image_size),
    ]
    return LayerReport(
        number,
        facts.layer,
        facts.target,
        dependencies.share(triggers),
        ": ".join(word for word in words if word),
        _path_reports(facts.layer, recipe, graph, dependencies),
    )


def _files_report(number: int, facts: LayerFacts, packages: int) -> LayerReport:
    """:param packages: how many store paths and distributions of Python the image has."""
    recipe = facts.recipe
    assert isinstance(recipe, FilesRecipe)
    distributions = sorted(facts.distributions, key=lambda one: (-one.size, one.name))
    if distributions:
        what = f"{_count(len(distributions), 'distribution')} of Python"
        # A distribution changes as often as a store path of which nothing is known.
        share = (1 - SHARE_OF_FIRST_PARTY) * len(distributions) / packages
    elif recipe.sizes:
        number_of_files = sum(entry.sha256 is not None for entry in recipe.entries)
        what = f"{_count(number_of_files, 'file')} that Pants has"
        share = SHARE_OF_FIRST_PARTY
    else:
        what = "made of fields"
        share = 0.0
    words = [f"the layer target {facts.target}" if facts.target else "", what, facts.why]
    return LayerReport(
        number,
        facts.layer,
        facts.target,
        share,
        ": ".join(word for word in words if word),
        (),
        recipe.entries,
        tuple(distributions),
    )


def _largest_files(entries: Sequence[FileEntry]) -> str:
    parents = {entry.parent for entry in entries}
    leaves = [entry for entry in entries if entry.path not in parents]
    leaves.sort(key=lambda entry: (-entry.size, entry.path))
    return _first([entry.path for entry in leaves])


def _first(names: Sequence[str]) -> str:
    """Returns three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _path_reports(
    layer: Layer, recipe: LayerRecipe, graph: ClosureGraph, dependencies: Dependencies
) -> tuple[PathReport, ...]:
    all_sizes = sum(graph[entry.path].nar_size for entry in recipe.entries) or 1
    reports = []
    for entry in recipe.entries:
        info = graph[entry.path]
        reports.append(
            PathReport(
                entry.path,
                info.nar_size,
                dependencies.share(dependencies.triggers([entry.path])),
                layer.size * info.nar_size / all_sizes,
                entry.destination == ROOT,
                tuple(r for r in info.references if r != entry.path and r in graph),
            )
        )
    reports.sort(key=lambda path: (-path.nar_size, path.path, path.at_root))
    return tuple(reports)


def _copied(recipe: LayerRecipe) -> Optional[str]:
    copied = sum(entry.destination == ROOT for entry in recipe.entries)
    if copied and copied == len(recipe.entries):
        return "copied to the root"
    return f"{copied} of them copied to the root" if copied else None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
