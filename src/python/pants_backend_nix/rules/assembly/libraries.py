"""Image → the libraries and loaders that its files need, all of which it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Mapping, Optional

from nixoci.elf.facts import ElfFacts
from nixoci.elf.image_paths import UNKNOWN
from nixoci.elf.search import (
    LOADER,
    Missing,
    missing_libraries,
    store_directories,
    store_programs,
)
from nixoci.elf.store_facts import StoreLibraries, StoreLibrariesRequest, store_path_of
from nixoci.recipe.files import FileEntry as Entry
from nixoci.recipe.files import FilesRecipe
from nixoci.recipe.layer import LayerRecipe
from nixoci.store.closure import ClosureGraph
from nixoci.store.path import StorePath
from pants.engine.addresses import Address, Addresses
from pants.engine.fs import FileDigest, FileEntry
from pants.engine.rules import collect_rules
from pants.util.strutil import bullet_list

from pants_backend_nix.engine import (
    concurrently,
    create,
    implicitly,
    rule,
    targets_of,
)
from pants_backend_nix.errors import NixImageError
from pants_backend_nix.rules.assembly.layer_targets import (
    LayerTargetsRequest,
    resolve_layer_targets,
)
from pants_backend_nix.rules.assembly.layers import PlannedLayers
from pants_backend_nix.rules.core.view import StoreView
from pants_backend_nix.rules.flow.copied_tree import CopiedTreeRequest, list_copied_tree
from pants_backend_nix.rules.flow.elf import (
    ElfFactsRequest,
    LibrariesInStoreRequest,
    list_libraries_in_store,
    read_elf_facts,
)
from pants_backend_nix.targets.evaluated import NixPackage
from pants_backend_nix.targets.fields.contents import NixIgnoreMissingLibrariesField

#: Names of files that nobody gives to programs and libraries: these need not be looked at.
_TEXT = (".css", ".html", ".js", ".json", ".md", ".py", ".pyc", ".pyi", ".rst", ".svg", ".txt", ".yaml")


@dataclass(frozen=True)
class RequiredLibrariesRequest:
    """Asks whether files of an image find the libraries that they need.

    :param address: of a `nix_image`.
    :param plan: its layers.
    :param packages: all that its store paths may come from.
    :param programs: that it starts, as its config says.
    :param library_path: value of LD_LIBRARY_PATH in it.
    """

    address: Address
    plan: PlannedLayers
    packages: tuple[NixPackage, ...]
    programs: tuple[str, ...]
    library_path: str
    view: StoreView


@dataclass(frozen=True)
class RequiredLibraries:
    """Says that they do."""


async def _elf_files(plan: PlannedLayers) -> dict[str, ElfFacts]:
    """Returns the facts of all ELF files that Pants has, by their places in the image."""
    layers = []
    for layer in plan.layers:
        if isinstance(layer.recipe, FilesRecipe):
            found = [
                entry
                for entry in layer.recipe.entries
                if entry.sha256 is not None and not entry.path.endswith(_TEXT)
            ]
            if found:
                layers.append(found)
    contents = await concurrently(
        create(
            [
                FileEntry(sha256, FileDigest(sha256, size))
                for sha256, size in {(str(one.sha256), one.size) for one in entries}
            ]
        )
        for entries in layers
    )
    facts = await concurrently(
        read_elf_facts(ElfFactsRequest(digest), **implicitly()) for digest in contents
    )
    return {
        entry.path: known.facts[entry.sha256]
        for entries, known in zip(layers, facts)
        for entry in entries
        if entry.sha256 in known.facts
    }


async def _paths(
    plan: PlannedLayers, view: StoreView
) -> Mapping[str, Optional[str]]:
    """Returns what is in the image outside of the store: links with their targets."""
    copying = [layer for layer in plan.layers if isinstance(layer.recipe, LayerRecipe)]
    trees = await concurrently(
        list_copied_tree(
            CopiedTreeRequest(layer.recipe, layer.packages, view.place(layer.environment)),
            **implicitly(),
        )
        for layer in copying
        if isinstance(layer.recipe, LayerRecipe)
    )
    paths: dict[str, Optional[str]] = {
        path: None if is_directory else UNKNOWN
        for tree in trees
        for path, is_directory in tree.paths.items()
    }
    entries: Iterable[Entry] = (
        entry
        for layer in plan.layers
        if isinstance(layer.recipe, FilesRecipe)
        for entry in layer.recipe.entries
    )
    paths.update((entry.path, entry.target) for entry in entries)
    return paths


async def _interpreters(address: Address) -> tuple[str, ...]:
    """Returns the interpreters that load what the field `contents` lays out."""
    resolved = await resolve_layer_targets(LayerTargetsRequest(address), **implicitly())
    return tuple(path for layer in resolved.targets for path in layer.interpreters.values())


@rule(desc="Look for missing libraries")
async def require_libraries(request: RequiredLibrariesRequest) -> RequiredLibraries:
    files = await _elf_files(request.plan)
    if not files:
        return RequiredLibraries()
    (target,) = await targets_of(Addresses([request.address]))
    graph = request.plan.graph
    paths = await _paths(request.plan, request.view)
    library_path = tuple(d for d in request.library_path.split(":") if d.startswith("/"))
    programs = (*await _interpreters(request.address), *request.programs)
    in_store = store_programs(programs, paths, store_paths=graph)
    directories = store_directories(
        files, paths, store_paths=graph, library_path=library_path
    )
    libraries = StoreLibraries()
    if in_store or directories:
        found = await list_libraries_in_store(
            LibrariesInStoreRequest(
                _store_request(graph, in_store, directories),
                request.packages,
            ),
            **implicitly(),
        )
        libraries = found.libraries
    missing = missing_libraries(
        files,
        paths,
        libraries,
        store_paths=graph,
        programs=programs,
        library_path=library_path,
        ignored=target[NixIgnoreMissingLibrariesField].value or (),
    )
    if missing:
        raise _error(request.address, missing)
    return RequiredLibraries()


def _store_request(
    graph: ClosureGraph, programs: tuple[str, ...], directories: tuple[str, ...]
) -> StoreLibrariesRequest:
    """Returns what is asked of the store: the key of the answer has these store paths, and no others."""
    waiting = [StorePath.parse(store_path_of(path)) for path in programs]
    named = {StorePath.parse(store_path_of(path)) for path in directories}
    needed: set[StorePath] = set()
    while waiting:
        path = waiting.pop()
        if path in graph and path not in needed:
            needed.add(path)
            waiting.extend(graph[path].references)
    return StoreLibrariesRequest(
        tuple((path, graph[path].nar_hash) for path in needed | named), programs, directories
    )


def _error(address: Address, missing: tuple[Missing, ...]) -> NixImageError:
    """Returns an error that says, for each library, who misses it and what can be done."""
    loaders = sorted({lack.name for lack in missing if lack.kind == LOADER})
    libraries = sorted({lack.name for lack in missing if lack.kind != LOADER})
    lines = []
    for name in (*loaders, *libraries):
        files = [lack.file for lack in missing if lack.name == name]
        more = f" and {len(files) - 1} more" if files[1:] else ""
        lines.append(f"{name}, for {files[0]}{more}")
    words = [
        f"{address}: files in the image (field `contents`) need what it does not have:\n\n"
        f"{bullet_list(lines, max_elements=20)}\n"
    ]
    if libraries:
        words.append(
            "Add a package with these libraries to `packages`, and say where they are: "
            '`env={"LD_LIBRARY_PATH": "{NAME}/lib"}`, with the name of the `nix_package`.'
        )
    if loaders:
        words.append(
            f"Build the program statically or for the loader of a package; or make {loaders[0]} a link to that, "
            f'such as `symlinks={{"{loaders[0]}": "{{glibc}}/lib/{loaders[0].rpartition("/")[2]}"}}`.'
        )
    words.append(
        f"What the container gets from elsewhere goes into the field `{NixIgnoreMissingLibrariesField.alias}`."
    )
    return NixImageError(" ".join(words))


def rules():
    return collect_rules()
