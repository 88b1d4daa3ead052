"""What a push costs that takes a registry from one image to another, and why.

The registry is taken to have all of the old image and nothing else. Of the old image only its
descriptor is needed; what references what is known of the new one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Callable, Iterable, Mapping, Optional, Sequence

from nixoci.image.descriptor import Descriptor
from nixoci.image.image import Image
from nixoci.layer.layer import Layer
from nixoci.layering.cost.model import package_name
from nixoci.recipe.blob import BlobRecipe
from nixoci.recipe.database import DatabaseRecipe
from nixoci.recipe.files import FileEntry, FilesRecipe
from nixoci.recipe.layer import LayerRecipe
from nixoci.report.report import ImageReport, LayerReport
from nixoci.store.closure import ClosureGraph
from nixoci.store.path import StorePath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe

#: A dash, a version, and what follows it up to the next dash (`-bin` of `glibc-2.36-bin` stays).
_VERSION = re.compile(r"-[0-9][^-]*")

#: Bytes of the tar that each file takes besides its contents.
_HEADER = 512

#: At most so many names are given as the cause of a layer.
_NAMES = 3


class Kind(Enum):
    """How a store path of the new image differs from those of the old one."""

    #: No package of this name was there.
    ADDED = "added"
    #: Another version, or what else the name says.
    UPDATED = "updated"
    #: The same name, other inputs.
    REBUILT = "rebuilt"
    #: The same store path with other contents: a build that is not reproducible.
    DIFFERENT = "different contents"
    #: The package is no longer in the image.
    GONE = "gone"


@dataclass(frozen=True)
class PathChange:
    """A store path that is not in both images with the same contents.

    :param path: in the new image; None if it is gone.
    :param old: what it replaces; None if it was added.
    :param size: NAR size in bytes; 0 if it is gone.
    :param causes: changes that it only follows from: their new paths. Empty if something else than a
        dependency in the image is another one: version, sources, or a build-time dependency.
    """

    kind: Kind
    path: Optional[StorePath]
    old: Optional[StorePath]
    size: int
    causes: tuple[StorePath, ...] = ()


@dataclass(frozen=True)
class Cause:
    """A change that does not follow from another one, and what follows from it.

    :param followers: paths that changed only because of this or of other causes as well.
    :param bytes: NAR sizes of the path and of its followers.
    """

    change: PathChange
    followers: int
    bytes: int


@dataclass(frozen=True)
class LayerChange:
    """A layer of the new image that the old one does not have.

    :param changed_bytes: its part of the layer's size that is in store paths or files that changed.
    :param why: in words.
    """

    number: int
    layer: Layer
    changed_bytes: float
    why: str


@dataclass(frozen=True)
class OldLayer:
    """A layer of the old image that the new one does not have."""

    number: int
    layer: Layer
    summary: str


@dataclass(frozen=True)
class ImageDiff:
    """What a push uploads to a registry that has the old image.

    :param new: layers to upload, the lowest first, each blob once.
    :param kept: layers that are there already.
    :param gone: layers of the old image that the new one does without.
    :param config_bytes: of the config blob; 0 if it is the same. `manifest_bytes` likewise.
    :param changes: of store paths, the largest first.
    :param causes: those of the changes that follow from no other, most bytes first.
    """

    old_digest: str
    new_digest: str
    new: tuple[LayerChange, ...]
    kept: tuple[Layer, ...]
    gone: tuple[OldLayer, ...]
    config_bytes: int
    manifest_bytes: int
    changes: tuple[PathChange, ...]
    causes: tuple[Cause, ...]

    @property
    def layer_bytes(self) -> int:
        return sum(change.layer.size for change in self.new)

    @property
    def changed_bytes(self) -> float:
        """The part of `layer_bytes` that is in what changed; the rest is beside it."""
        return sum(change.changed_bytes for change in self.new)

    @property
    def push_bytes(self) -> int:
        """All that is sent, requests not counted."""
        return self.layer_bytes + self.config_bytes + self.manifest_bytes


def diff_images(
    old: Descriptor,
    image: Image,
    recipes: Sequence[Recipe],
    report: ImageReport,
    graph: ClosureGraph,
) -> ImageDiff:
    """Returns what a push of `image` costs where `old` is.

    :param recipes: of the image's layers.
    :param report: of the image.
    :param graph: has all store paths of the image.
    """
    old_digests = {item.layer.digest for item in old.image.layers}
    new_digests = {item.layer.digest for item in image.layers}
    changes = _path_changes(_hashes(old.recipes), _hashes(recipes), graph)
    by_path = {change.path: change for change in changes if change.path is not None}
    explain = _Explanation(old, by_path, recipes)
    new: dict[str, LayerChange] = {}
    kept: dict[str, Layer] = {}
    for layer, recipe in zip(report.layers, recipes):
        if layer.layer.digest in old_digests:
            kept.setdefault(layer.layer.digest, layer.layer)
        elif layer.layer.digest not in new:
            changed = sum(p.bytes_in_layer for p in layer.paths if p.path in by_path)
            if isinstance(recipe, DatabaseRecipe):
                changed = layer.layer.size
            elif isinstance(recipe, BlobRecipe):
                changed = layer.layer.size
            elif isinstance(recipe, FilesRecipe):
                changed = _changed_files_bytes(layer.layer, recipe, explain.new_files(recipe))
            new[layer.layer.digest] = LayerChange(
                layer.number, layer.layer, changed, explain.why(layer, recipe)
            )
    return ImageDiff(
        old_digest=old.image.digest,
        new_digest=image.digest,
        new=tuple(new.values()),
        kept=tuple(kept.values()),
        gone=tuple(
            OldLayer(number, item.layer, recipe.summary)
            for number, (item, recipe) in enumerate(zip(old.image.layers, old.recipes), start=1)
            if item.layer.digest not in new_digests
        ),
        config_bytes=0 if old.image.config_digest == image.config_digest else len(image.config),
        manifest_bytes=0 if old.image.digest == image.digest else len(image.manifest),
        changes=changes,
        causes=_causes(changes),
    )


def _changed_files_bytes(layer: Layer, recipe: FilesRecipe, changed: Iterable[FileEntry]) -> float:
    """Returns the part of a layer that is in some of its files, by their sizes before compression."""

    def size(entry: FileEntry) -> int:
        return _HEADER + entry.size + len((entry.text or "").encode())

    return layer.size * sum(map(size, changed)) / sum(map(size, recipe.entries))


def _hashes(recipes: Iterable[Recipe]) -> dict[StorePath, str]:
    """Returns the NAR hash of each store path in layers."""
    return {
        entry.path: entry.nar_hash
        for recipe in recipes
        if isinstance(recipe, LayerRecipe)
        for entry in recipe.entries
    }


def _path_changes(
    old: Mapping[StorePath, str], new: Mapping[StorePath, str], graph: ClosureGraph
) -> tuple[PathChange, ...]:
    changed = {path for path, nar_hash in new.items() if old.get(path) != nar_hash}
    different = {path for path in changed if path in old}
    gone = [path for path in old if path not in new]
    replaced = _replaced(gone, [path for path in changed if path not in old])
    replaced.update({path: path for path in different})
    causes: dict[StorePath, frozenset[StorePath]] = {}
    changes = []
    for path in reversed(graph.referrers_first()):
        if path not in changed:
            continue
        before = replaced.get(path)
        follows = [r for r in graph[path].references if r in changed and r != path]
        if before is None:
            kind = Kind.ADDED
        elif path in different:
            kind = Kind.DIFFERENT
        else:
            kind = Kind.REBUILT if before.name == path.name else Kind.UPDATED
        behind: frozenset[StorePath] = frozenset()
        if kind is Kind.REBUILT and follows:
            behind = frozenset().union(*(causes[r] or {r} for r in follows))
        causes[path] = behind
        changes.append(
            PathChange(kind, path, before, graph[path].nar_size, tuple(sorted(behind, key=_by_name)))
        )
    kept = set(replaced.values())
    changes.extend(PathChange(Kind.GONE, None, path, 0) for path in gone if path not in kept)
    return tuple(sorted(changes, key=lambda c: (-c.size, _by_name(c.path or c.old))))


def _replaced(
    gone: Iterable[StorePath], new: Iterable[StorePath]
) -> dict[StorePath, StorePath]:
    """Returns for new paths which of those that are gone they stand for, as far as names tell."""
    left_old, left_new = sorted(gone, key=_by_name), sorted(new, key=_by_name)
    pairs: dict[StorePath, StorePath] = {}
    keys: tuple[Callable[[StorePath], str], ...] = (
        lambda path: path.name,
        lambda path: _VERSION.sub("", path.name, count=1),
        package_name,
    )
    for key in keys:
        waiting: dict[str, list[StorePath]] = {}
        for path in left_old:
            waiting.setdefault(key(path), []).append(path)
        for path in left_new:
            same = waiting.get(key(path))
            if same:
                pairs[path] = same.pop(0)
        taken = set(pairs.values())
        left_old = [path for path in left_old if path not in taken]
        left_new = [path for path in left_new if path not in pairs]
    return pairs


def _causes(changes: Sequence[PathChange]) -> tuple[Cause, ...]:
    followers: dict[StorePath, int] = {}
    sizes: dict[StorePath, int] = {}
    for change in changes:
        for path in change.causes:
            followers[path] = followers.get(path, 0) + 1
            sizes[path] = sizes.get(path, 0) + change.size
    causes = [
        Cause(
            change,
            followers.get(change.path, 0) if change.path else 0,
            change.size + (sizes.get(change.path, 0) if change.path else 0),
        )
        for change in changes
        if not change.causes
    ]
    return tuple(sorted(causes, key=lambda cause: -cause.bytes))


class _Explanation:
    """Finds words for why a layer is new."""

    def __init__(
        self, old: Descriptor, changes: Mapping[StorePath, PathChange], recipes: Sequence[Recipe]
    ) -> None:
        self._changes = changes
        self._diff_ids = {item.layer.diff_id for item in old.image.layers}
        self._entries = {r.entries for r in old.recipes if isinstance(r, LayerRecipe)}
        self._numbers = {
            path: number
            for number, recipe in enumerate(old.recipes, start=1)
            for path in recipe.paths
        }
        self._files = _files(old.recipes)
        self._gone_files = self._files.keys() - _files(recipes).keys()
        self._old_layers_of_files = [
            (number, {entry.path for entry in recipe.entries if not entry.is_directory})
            for number, recipe in enumerate(old.recipes, start=1)
            if isinstance(recipe, FilesRecipe)
        ]

    def new_files(self, recipe: FilesRecipe) -> list[FileEntry]:
        """Returns what the old image does not have so."""
        return [entry for entry in recipe.entries if self._files.get(entry.path) != entry]

    def why(self, layer: LayerReport, recipe: Recipe) -> str:
        if layer.layer.diff_id in self._diff_ids:
            return "the same contents, compressed in another way"
        if isinstance(recipe, DatabaseRecipe):
            return "the Nix database: it changes with every store path"
        if isinstance(recipe, FilesRecipe):
            return self._why_files(recipe)
        if isinstance(recipe, BlobRecipe):
            return "of the base image, which is another one"
        changed = [self._changes[path.path] for path in layer.paths if path.path in self._changes]
        if not changed:
            if recipe.entries in self._entries:
                return "the same store paths with other permissions, owners, excludes or form of the tar"
            numbers = sorted({self._numbers[path] for path in recipe.paths})
            many = len(numbers) > _NAMES
            where = ", ".join(map(str, numbers[:_NAMES])) + (", …" if many else "")
            return f"grouped in another way: nothing in it changed, it was in layer {where}"
        causes = dict.fromkeys(
            path
            for change in changed
            for path in (change.causes or ((change.path,) if change.path else ()))
        )
        names = list(dict.fromkeys(package_name(path) for path in causes))
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        return (
            f"{len(changed)} of {len(layer.paths)} changed, "
            f"because of {', '.join(names[:_NAMES])}{more}"
        )

    def _why_files(self, recipe: FilesRecipe) -> str:
        new = [entry.path for entry in self.new_files(recipe)]
        if new:
            return f"{len(new)} of {len(recipe.entries)} changed: {_first(new)}"
        paths = {entry.path for entry in recipe.entries}
        before = [(number, old) for number, old in self._old_layers_of_files if old & paths]
        gone = {path for _, old in before for path in old & self._gone_files}
        if gone:
            return f"nothing in it changed, but no longer there: {_first(sorted(gone))}"
        numbers = [str(number) for number, _ in before]
        where = f", it was in layer {', '.join(numbers[:_NAMES])}" if numbers else ""
        return f"grouped in another way: nothing in it changed{where}{', …' if len(numbers) > _NAMES else ''}"


def _files(recipes: Iterable[Recipe]) -> dict[str, FileEntry]:
    """Returns all that is in layers of files, by path."""
    return {
        entry.path: entry
        for recipe in recipes
        if isinstance(recipe, FilesRecipe)
        for entry in recipe.entries
    }


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return f"{', '.join(names[:_NAMES])}{more}"


def _by_name(path: Optional[StorePath]) -> tuple[str, str]:
    return (path.name, path) if path else ("", "")
