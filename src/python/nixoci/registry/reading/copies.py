"""Layers that repositories have: copied from the first one that gives it, without a store."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Callable, Mapping, Optional, Sequence

from nixoci.errors import NixOciError
from nixoci.layer.blob_stream import BlobStream
from nixoci.layer.layer import Layer
from nixoci.layer.mismatch import BlobDiffersError
from nixoci.recipe.blob import BlobRecipe
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.errors import (
    ConnectionFailedError,
    CredentialsError,
    PushCancelledError,
    RegistryError,
)
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.reading.reader import RepositoryReader, reading_connections
from nixoci.registry.settings import Registries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe


class LayerNotCopiedError(NixOciError):
    """No repository gives a layer, and nothing else can make it; or one gave the first part of it.

    :param troubles: repository and what is wrong, in the order in which they were asked.
    """

    def __init__(self, layer: Layer, troubles: Sequence[tuple[str, str]]) -> None:
        self.digest = layer.digest
        self.troubles = tuple(troubles)
        asked = " ".join(f"{repository}: {why}" for repository, why in troubles)
        super().__init__(
            f"The layer {layer.digest} cannot be copied. {asked or 'No repository is known to have it.'} "
            "Name a repository that has it (`copy_from` in `[nix-images]`, or `--copy-from`)."
        )


class LayerCopier:
    """Copies layers. Threads can share it; `copy` is a `CopyLayer` of `nixoci.layer.source`.

    :param repositories: that may have layers, in the order in which they are asked, after those that a recipe
        names.
    :param environment: as for `nixoci.registry.push.push`.
    :raises InvalidInputError: one of them is no name of a repository.
    """

    def __init__(
        self,
        repositories: Sequence[str],
        environment: Mapping[str, str],
        registries: Registries = Registries(),
        retry: RetryPolicy = RetryPolicy(),
    ) -> None:
        self._registries = registries
        self._retry = replace(retry, wait=self._wait)
        self._connections = reading_connections(environment)
        self._credentials = CredentialSearch.of_environment(environment)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._readers: dict[str, RepositoryReader] = {}
        #: Why a registry, or a repository for one layer, is not asked again.
        self._unreachable: dict[str, str] = {}
        self._spoiled: dict[tuple[str, str], str] = {}
        self._repositories = [self._reader(name).full_name for name in repositories]

    def copy(
        self, recipe: Recipe, layer: Layer, write: Callable[[memoryview], object]
    ) -> Optional[int]:
        """Streams a layer out of the first repository that has it; the next one goes on where one breaks off.

        :param write: as of `nixoci.layer.write.write_layer`.
        :returns: bytes written; None if no repository has it, and the recipe says how to make it.
        :raises LayerNotCopiedError: no repository has it, or gives all of it.
        :raises BlobDiffersError: other bytes came. That repository is not asked for them again.
        """
        named = recipe.repositories if isinstance(recipe, BlobRecipe) else ()
        names = [self._reader(name).full_name for name in named] + self._repositories
        stream = BlobStream(layer, write)
        troubles: list[tuple[str, str]] = []
        for name in dict.fromkeys(names):
            why = self._copy_from(name, layer, stream)
            if why is None:
                try:
                    return stream.finish()
                except BlobDiffersError as error:
                    self._note_spoiled(layer, stream, error)
                    raise
            troubles.append((name, why))
        if stream.received or isinstance(recipe, BlobRecipe):
            raise LayerNotCopiedError(layer, troubles)
        return None

    def abort(self) -> None:
        """Ends all that threads wait for here."""
        self._stopped.set()
        self._connections.abort()

    def close(self) -> None:
        """Closes all connections; nobody may be copying."""
        self._connections.close()

    def _copy_from(self, name: str, layer: Layer, stream: BlobStream) -> Optional[str]:
        """Returns why a repository does not give the layer, or None."""
        reader = self._reader(name)
        known = self._unreachable.get(reader.registry) or self._spoiled.get((name, layer.digest))
        if known:
            return known
        try:
            reader.copy_blob(layer, stream)
            return None
        except BlobDiffersError as error:
            self._note_spoiled(layer, stream, error)
            raise
        except ConnectionFailedError as error:
            if self._stopped.is_set():
                raise PushCancelledError from None
            self._unreachable[reader.registry] = str(error)
            return str(error)
        except (RegistryError, CredentialsError) as error:
            return str(error)

    def _note_spoiled(self, layer: Layer, stream: BlobStream, error: BlobDiffersError) -> None:
        for source in stream.sources:
            self._spoiled[source, layer.digest] = str(error)

    def _reader(self, name: str) -> RepositoryReader:
        with self._lock:
            reader = self._readers.get(name)
            if reader is None:
                reader = self._readers[name] = RepositoryReader(
                    name,
                    connections=self._connections,
                    credentials=self._credentials,
                    registries=self._registries,
                    retry=self._retry,
                )
                self._readers[reader.full_name] = reader
            return reader

    def _wait(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise PushCancelledError
