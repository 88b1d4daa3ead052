"""One split for several images, so that what they have in common is in the same layers.

Paths that are in the same images form a class, and a layer never mixes classes: so each layer is all
of it in an image or not at all, and a registry has each path once. Within a class layers are merged as
`expected_cost` does it, always where it costs least, until each image has few enough. Only an image
with more classes than layers gets copies: its smallest classes share a layer of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from nixoci.errors import InvalidInputError
from nixoci.layering.cost.coarse_groups import coarse_groups
from nixoci.layering.cost.merge import Costs, State, merging, units_of
from nixoci.layering.cost.model import CostModel, cost_model
from nixoci.layering.preferences import Preferences
from nixoci.store.closure import ClosureGraph
from nixoci.store.path import StorePath

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Sequence

#: The numbers of the images that have the paths of a class.
_Images = frozenset[int]


@dataclass(frozen=True)
class ImagePaths:
    """:param graph: the store paths of one image, or of a part of it.
    :param max_layers: the most layers that they may have.
    """

    graph: ClosureGraph
    max_layers: int


def split_shared(
    images: Sequence[ImagePaths], preferences: Preferences = Preferences()
) -> tuple[tuple[tuple[StorePath, ...], ...], ...]:
    """Returns a split for each image; each is what a `nixoci.layering.split.Strategy` returns.

    :param preferences: `rates` and `first_party` count.
    :raises InvalidInputError: an image may have no layer, a rate is not valid, or references form a
        cycle.
    """
    for image in images:
        if image.max_layers < 1:
            raise InvalidInputError("max_layers", image.max_layers, "expected at least 1")
    graph = ClosureGraph().union(*(image.graph for image in images))
    model = cost_model(graph, preferences)
    classes = _unshare(model, _classes(model, images), [image.max_layers for image in images])
    splits: list[list[tuple[int, tuple[StorePath, ...]]]] = [[] for _ in images]
    for merged in _merge_classes(graph, model, classes, images):
        for number in merged.images:
            splits[number].extend(merged.parts(model))
    return tuple(tuple(part for _, part in sorted(split)) for split in splits)


def _classes(model: CostModel, images: Sequence[ImagePaths]) -> dict[_Images, set[int]]:
    classes: dict[_Images, set[int]] = {}
    for place, path in enumerate(model.paths):
        having = frozenset(number for number, image in enumerate(images) if path in image.graph)
        classes.setdefault(having, set()).add(place)
    return classes


def _unshare(
    model: CostModel, classes: dict[_Images, set[int]], budgets: Sequence[int]
) -> dict[_Images, set[int]]:
    """Returns classes of which each image has no more than it may have layers."""

    def size(images: _Images) -> tuple[int, list[int]]:
        return sum(model.sizes[place] for place in classes[images]), sorted(images)

    for number, budget in enumerate(budgets):
        own = frozenset({number})
        while sum(number in images for images in classes) > budget:
            shared = (images for images in classes if number in images and images != own)
            smallest = min(shared, key=size)
            places = classes.pop(smallest)
            classes.setdefault(own, set()).update(places)
            # For the others it is what it was; those images may have such a class already.
            classes.setdefault(smallest - own, set()).update(places)
    return classes


@dataclass
class _Class:
    """A class while its layers merge.

    :param states: how they merge, as far as it saves something or has to be; see `merging`.
    :param step: which of them is the present one.
    """

    images: _Images
    groups: tuple[tuple[int, ...], ...]
    states: Sequence[State]
    step: int = 0

    @property
    def state(self) -> State:
        return self.states[self.step]

    def parts(self, model: CostModel) -> list[tuple[int, tuple[StorePath, ...]]]:
        """Returns the layers with their rates."""
        return [
            (layer.rate, tuple(sorted(model.paths[place] for place in self._places(layer.members))))
            for layer in self.state.layers
        ]

    def _places(self, members: int) -> Iterable[int]:
        return (p for i, group in enumerate(self.groups) if members >> i & 1 for p in group)


def _merge_classes(
    graph: ClosureGraph,
    model: CostModel,
    classes: dict[_Images, set[int]],
    images: Sequence[ImagePaths],
) -> list[_Class]:
    costs = Costs(model)
    merged = []
    for having in sorted(classes, key=sorted):
        groups = coarse_groups(graph, model, sorted(classes[having]))
        found = _Class(having, groups, tuple(merging(units_of(model, groups, costs), costs)))
        while found.state.rise < 0:
            found.step += 1
        merged.append(found)
    left = [
        sum(len(c.state.layers) for c in merged if number in c.images) - image.max_layers
        for number, image in enumerate(images)
    ]
    while any(excess > 0 for excess in left):
        over = {number for number, excess in enumerate(left) if excess > 0}
        candidates = [
            (c.state.rise / len(over & c.images), index)
            for index, c in enumerate(merged)
            if len(c.state.layers) > 1 and over & c.images
        ]
        cheapest = merged[min(candidates)[1]]
        cheapest.step += 1
        for number in cheapest.images:
            left[number] -= 1
    return merged
