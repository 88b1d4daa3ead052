"""Where the bytes of layers come from: the Nix store, into which missing paths are realised."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import cached_property

# Not when they are needed first: uploads are threads, and when two of them import a module from a zip
# file, Python 3.9 gives the second one half of it.
import nixoci.layer.compressed  # noqa: F401
import nixoci.recipe.blob  # noqa: F401
import nixoci.store.configuration  # noqa: F401
import nixoci.store.nar  # noqa: F401
import nixoci.tar.database  # noqa: F401
import nixoci.tar.files  # noqa: F401
from nixoci.errors import InvalidInputError, NixOciError
from nixoci.json_input import get_field, get_list, parse_object
from nixoci.json_output import canonical_json
from nixoci.layer.blob_stream import write_blob_of_file
from nixoci.layer.kept import is_kept, write_kept_layer
from nixoci.layer.layer import Layer
from nixoci.layer.reproducibility import require_recorded_hashes
from nixoci.layer.write import write_layer
from nixoci.recipe.blob import BlobRecipe
from nixoci.recipe.files import FilesRecipe
from nixoci.recipe.layer import LayerRecipe
from nixoci.store.closure import InvalidPathError
from nixoci.store.evaluate import Attribute, Derivation
from nixoci.store.nix import Nix
from nixoci.store.path import StorePath
from nixoci.store.realise import realise_paths

# As in `nixoci.cli.main`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Optional, Sequence

    from nixoci.recipe.recipe import Recipe
    from nixoci.store.realise import ShowWork

    #: Streams a layer out of where it is already: as `LayerSource.write_layer`, but None if it is nowhere, and its
    #: recipe says how to make it.
    CopyLayer = Callable[[Recipe, Layer, Callable[[memoryview], object]], Optional[int]]

    #: As `ShowWork`, and gets the file that has the log, if there is one.
    ShowWorkWithLog = Callable[[str, Optional[str]], object]


@dataclass(frozen=True)
class Origin:
    """How store paths come to be, on a machine that does not have them.

    :param paths: the closure of the outputs.
    :param evaluation: that gives the derivation; None where there are no sources.
    :param log: file that gets the log of builds; None for standard error alone.
    """

    derivation: Derivation
    paths: frozenset[StorePath]
    evaluation: Optional[Attribute] = None
    log: Optional[str] = None

    def to_document(self) -> dict[str, Any]:
        """Returns the JSON form."""
        return {
            "derivation": self.derivation.to_json().decode(),
            "paths": sorted(self.paths),
            "evaluation": None if self.evaluation is None else self.evaluation.to_document(),
            "log": self.log,
        }


def origins_to_json(origins: Sequence[Origin]) -> bytes:
    """Returns the one JSON form of a list of origins."""
    return canonical_json("origins", {"origins": [origin.to_document() for origin in origins]})


def origins_from_json(data: bytes, directory: str) -> tuple[Origin, ...]:
    """Parses what `origins_to_json` wrote.

    :param directory: that `root` in an evaluation is relative to.
    :raises InvalidInputError: not such a document.
    """
    documents = get_list(parse_object("origins", data), "origins", dict)
    return tuple(_origin(document, directory) for document in documents)


def _origin(document: dict[str, Any], directory: str) -> Origin:
    evaluation = get_field(document, "evaluation", dict, default=None)
    return Origin(
        Derivation.from_json(get_field(document, "derivation", str).encode(errors="surrogatepass")),
        frozenset(map(StorePath.parse, get_list(document, "paths", str))),
        None if evaluation is None else Attribute.from_document(evaluation, directory),
        get_field(document, "log", str, default=None),
    )


class LayerPathsMissingError(InvalidPathError):
    """A layer needs store paths that this machine lacks, and nobody has said how they are made."""

    def __init__(self, paths: Iterable[StorePath]) -> None:
        super().__init__(paths)
        NixOciError.__init__(
            self,
            f"Not valid in this Nix store: {', '.join(self.paths)}. Have Nix realise them before, say how they are made "
            "(--origins FILE), or copy the layer from a registry that has it (--copy-from REPOSITORY).",
        )


class LayerSource:
    """Streams layers. Of the store paths it makes valid only those of layers that are asked for.

    What this machine has comes first: a kept layer, or store paths that are all valid. What it has not is copied,
    if it can be, and built if not.

    May be used by several threads. Nix is asked once about the paths of all layers, and again only about what it had not.

    :param find_nix: finds the Nix of this machine; not called before a store path is needed.
    :param origins: of all the paths that may be missing; what has none here must be valid.
    :param kept_layers: directory of the layers that are kept, see `nixoci.layer.kept`.
    :param contents: directory of the contents of files, see `nixoci.tar.files.open_contents`.
    :param copy: copies layers.
    :param show: sees what Nix builds and fetches for it. Builds that have a log in a file are then silent.
    :param copies_missing: also those that could be made here, where their store paths or contents are missing.
    :param recipes: of the layers that may be asked for, as far as they are known.
    """

    def __init__(
        self,
        find_nix: Callable[[], Nix],
        origins: Sequence[Origin] = (),
        kept_layers: Optional[str] = None,
        contents: Optional[str] = None,
        copy: Optional[CopyLayer] = None,
        *,
        copies_missing: bool = False,
        recipes: Sequence[Recipe] = (),
        show: Optional[ShowWorkWithLog] = None,
    ) -> None:
        self._show = show
        self._copy = copy
        self._copies_missing = copies_missing
        self._find_nix = find_nix
        self._origins = origins
        self._kept_layers = kept_layers
        self._contents = contents
        self._recipes = recipes
        #: One thread asks Nix at a time, and one builds: Nix works on several builds by itself, and two layers may want
        #: the same. What is there can be streamed meanwhile.
        self._asking, self._building = threading.Lock(), threading.Lock()
        #: The NAR hashes of what Nix has said to be valid.
        self._hashes: dict[StorePath, str] = {}

    @cached_property
    def _nix(self) -> Nix:
        return self._find_nix()

    def write_layer(
        self, recipe: Recipe, layer: Layer, write: Callable[[memoryview], object]
    ) -> int:
        """As `nixoci.layer.write.write_layer`, after the layer's paths have been realised; or copies the layer.

        :raises LayerMismatchError: and others, as there.
        :raises BlobDiffersError: other bytes were copied. What `copy` raises passes through.
        :raises ContentsDifferError: the paths were built with another result than the recipe says.
        :raises BuildFailedError: and others, as `realise_paths`.
        """
        if isinstance(recipe, BlobRecipe):
            return self._write_blob(recipe, layer, write)
        if not isinstance(recipe, LayerRecipe):
            if self._copies_missing and isinstance(recipe, FilesRecipe) and recipe.sizes:
                written = None if self._contents else self._copied(recipe, layer, write)
                if written is not None:
                    return written
            return write_layer(recipe, layer, write, contents=self._contents)
        if self._kept_layers is not None:
            written = write_kept_layer(self._kept_layers, recipe, layer, write)
            if written is not None:
                return written
        if self._copies_missing and not self._has(recipe.paths):
            written = self._copied(recipe, layer, write)
            if written is not None:
                return written
        self.realise(recipe.paths)
        require_recorded_hashes(recipe, self._hashes)
        return write_layer(
            recipe,
            layer,
            write,
            store_root=self._nix.store_root,
            has_case_hack=self._nix.has_case_hack,
        )

    def _write_blob(
        self, recipe: BlobRecipe, layer: Layer, write: Callable[[memoryview], object]
    ) -> int:
        if recipe.file:
            return write_blob_of_file(recipe, layer, write, self._contents)
        written = self._copied(recipe, layer, write)
        if written is None:
            raise InvalidInputError("layer", layer.digest, "nothing here copies it")
        return written

    def _copied(
        self, recipe: Recipe, layer: Layer, write: Callable[[memoryview], object]
    ) -> Optional[int]:
        return None if self._copy is None else self._copy(recipe, layer, write)

    def _has(self, paths: Sequence[StorePath]) -> bool:
        """Whether all paths are valid here; if there is no Nix, none is."""
        try:
            return not self._missing(paths)
        except NixOciError:
            # What is wrong with Nix is said if it turns out to be needed.
            return False

    def _missing(self, paths: Sequence[StorePath]) -> list[StorePath]:
        """Returns those of `paths` that are not valid here."""
        with self._asking:
            # What was valid may have been deleted since: a server runs for long.
            unknown = {
                path
                for path in paths
                if path not in self._hashes or not os.path.lexists(self._nix.store_root + path)
            }
            if not unknown:
                return []
            for recipe in self._recipes:
                if isinstance(recipe, LayerRecipe) and not is_kept(self._kept_layers, recipe):
                    unknown.update(recipe.paths)
            self._recipes = ()
            found = self._nix.registered(unknown)
            self._hashes.update(found)
            return [path for path in paths if path in unknown and path not in found]

    def realise(self, paths: Sequence[StorePath]) -> None:
        """Makes `paths` valid.

        :raises LayerPathsMissingError: one that is not, and has no origin.
        :raises BuildFailedError: and others, as `realise_paths`.
        """
        if not self._missing(paths):
            return
        with self._building:
            # Another layer may have wanted the same.
            missing = self._missing(paths)
            for origin in self._origins:
                wanted = [path for path in missing if path in origin.paths]
                if wanted:
                    realise_paths(
                        *(self._nix, origin.derivation, wanted, self._again(origin), origin.log),
                        show=self._shown(origin.log),
                    )
                    missing = [path for path in missing if path not in origin.paths]
            missing = missing or self._missing(paths)
            if missing:
                raise LayerPathsMissingError(missing)

    def _shown(self, log: Optional[str]) -> Optional[ShowWork]:
        show = self._show
        if show is None:
            return None
        shown = show
        return lambda words: shown(words, log)

    def _again(self, origin: Origin) -> Optional[Callable[[], Derivation]]:
        evaluation = origin.evaluation
        if evaluation is None:
            return None
        attribute = evaluation
        return lambda: attribute.evaluate(self._nix)
