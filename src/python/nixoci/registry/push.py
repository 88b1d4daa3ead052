"""Pushing an image: what a registry lacks is streamed from the store, all else is left alone.

First every tag is looked at: a repository that has the image under all of them is done. Then come
the blobs, one repository after the other, so that a later one can take over what an earlier one of
the same registry has. Tags are written last, when everything is there, everywhere.

Threads upload, not processes: whatever a thread waits for (a socket, a disk, OpenSSL's hash and
cipher) leaves the interpreter to the others, and they share connections, tokens and what is known
of the store. Packing alone would be faster in processes; a registry is seldom faster than packing.
"""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, Callable, Mapping, Optional, Sequence, TypeVar, Union

from nixoci.errors import InvalidInputError
from nixoci.image.image import MEDIA_TYPE_MANIFEST, Image
from nixoci.image.layout import Blob, WriteLayer, image_blobs
from nixoci.image.reference import Reference
from nixoci.registry.address import split_reference
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.errors import PushCancelledError, RegistryError
from nixoci.registry.http.connections import SILENCE_TIME_LIMIT, Connections
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.progress import Progress
from nixoci.registry.push_result import (
    MOUNTED,
    PRESENT,
    UNCHANGED,
    UPLOADED,
    WRITTEN,
    PushedBlob,
    PushedTag,
    PushResult,
)
from nixoci.registry.repository import Repository, Upload
from nixoci.registry.session import Session
from nixoci.registry.settings import Registries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.recipe.recipe import Recipe

#: Questions that are asked at the same time; they cost a registry little.
_PARALLEL_QUESTIONS = 8

DEFAULT_JOBS = 4

#: Seconds that uploads get to end in good order after another one failed.
_GRACE = 5.0

_Item = TypeVar("_Item")
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class PushOptions:
    """How to push.

    :param mount_from: repositories (with their registry) that may have layers of the image.
    :param jobs: layers that are uploaded at the same time, at least 1.
    :param silence_time_limit: seconds until a registry that does nothing is given up.
    """

    registries: Registries = Registries()
    mount_from: tuple[str, ...] = ()
    jobs: int = DEFAULT_JOBS
    retry: RetryPolicy = RetryPolicy()
    silence_time_limit: float = SILENCE_TIME_LIMIT

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise InvalidInputError("jobs", self.jobs, "expected at least 1")


def push(
    image: Image,
    recipes: Sequence[Recipe],
    references: Sequence[Reference],
    write_layer: WriteLayer,
    environment: Mapping[str, str],
    options: PushOptions = PushOptions(),
    progress: Optional[Progress] = None,
) -> PushResult:
    """Makes registries have an image under all `references`.

    :param recipes: one for each layer of the image, in the same order.
    :param write_layer: called only for layers that a registry lacks, from several threads.
    :param environment: says where credentials and proxies are; programs that keep credentials
        get it.
    :raises InvalidInputError: no references, or the recipes are not those of the image.
    :raises RegistryError: see its children. No tag was written, unless the error came in the midst
        of writing them.
    :raises CredentialsError: credentials cannot be read. What `write_layer` raises passes through.
    """
    if not references:
        raise InvalidInputError("references", "", "expected at least one repository:tag to push to")
    work = _Push(image, recipes, write_layer, environment, options, progress or Progress())
    return work.run(tuple(dict.fromkeys(references)))


class _Push:
    """One push, with what it knows and has open."""

    def __init__(
        self,
        image: Image,
        recipes: Sequence[Recipe],
        write_layer: WriteLayer,
        environment: Mapping[str, str],
        options: PushOptions,
        progress: Progress,
    ) -> None:
        blobs = image_blobs(image, recipes, write_layer)
        # The manifest is no blob to a registry.
        self._blobs = tuple(
            replace(blob, stream=self._stoppable(blob.stream))
            for blob in blobs
            if blob.digest != image.digest
        )
        self._image = image
        self._options = options
        self._progress = progress
        self._stop = threading.Event()
        self._retry = replace(options.retry, wait=self._wait)
        self._credentials = CredentialSearch.of_environment(environment)
        self._connections = Connections(
            environment, silence_time_limit=options.silence_time_limit
        )
        #: Repositories of each registry, by the digest of a blob that they are known to have.
        self._homes: dict[tuple[str, str], list[Repository]] = {}

    def run(self, references: Sequence[Reference]) -> PushResult:
        repositories: dict[tuple[str, str], list[Reference]] = {}
        for reference in references:
            repositories.setdefault(split_reference(reference), []).append(reference)
        try:
            stale: list[tuple[Repository, list[Reference]]] = []
            blobs: list[PushedBlob] = []
            for (registry, name), its_references in repositories.items():
                repository = self._repository(registry, name)
                changed = self._changed(repository, its_references)
                if changed:
                    stale.append((repository, changed))
                if len(changed) < len(its_references):
                    # A registry that has an image has what it is made of.
                    self._remember(repository, self._blobs)
            for repository, _ in stale:
                blobs.extend(self._send_blobs(repository))
            self._write_tags(stale)
        except BaseException:
            self._connections.abort()
            raise
        finally:
            self._progress.close()
            self._connections.close()
        written = {reference for _, changed in stale for reference in changed}
        uploads: dict[str, list[PushedBlob]] = {}
        for blob in blobs:
            uploads.setdefault(blob.repository, []).append(blob)
        tags = []
        for reference in references:
            registry, name = split_reference(reference)
            full_name = f"{registry}/{name}"
            reason = "the registry has this image under the tag"
            if reference in written:
                reason = _reason(uploads[full_name])
            outcome = WRITTEN if reference in written else UNCHANGED
            tags.append(PushedTag(str(reference), full_name, reference.tag, outcome, reason))
        return PushResult(self._image.digest, tuple(tags), tuple(blobs))

    def _repository(self, registry: str, name: str) -> Repository:
        return Repository(
            Session(
                registry,
                name,
                registries=self._options.registries,
                connections=self._connections,
                credentials=self._credentials,
                retry=self._retry,
            )
        )

    def _changed(self, repository: Repository, references: list[Reference]) -> list[Reference]:
        """Returns the references whose tag does not name the image yet."""

        def names_image(reference: Reference) -> bool:
            digest = repository.manifest_digest(reference.tag, MEDIA_TYPE_MANIFEST)
            return digest == self._image.digest

        # The first request learns what the registry wants to know of its users.
        answers = [names_image(references[0])]
        answers += self._all(names_image, references[1:], _PARALLEL_QUESTIONS)
        return [reference for reference, same in zip(references, answers) if not same]

    def _send_blobs(self, repository: Repository) -> list[PushedBlob]:
        """Makes a repository have all blobs, and returns what happened to each, in their order."""

        def has_blob(blob: Blob) -> bool:
            homes = self._homes.get((repository.registry, blob.digest), ())
            return repository in homes or repository.has_blob(blob.digest, blob.size)

        present = self._all(has_blob, self._blobs, _PARALLEL_QUESTIONS)
        missing = [blob for blob, is_there in zip(self._blobs, present) if not is_there]
        found = [blob for blob, is_there in zip(self._blobs, present) if is_there]
        self._progress.expect(len(missing), sum(blob.size for blob in missing))
        results = {}
        for blob in found:
            results[blob.digest] = self._done(repository, blob, PRESENT)
        # The largest first, so that it does not end last.
        missing.sort(key=lambda blob: -blob.size)
        sent = self._all(
            lambda blob: self._send_blob(repository, blob), missing, self._options.jobs
        )
        results.update((blob.digest, blob) for blob in sent)
        self._remember(repository, missing + found)
        return [results[blob.digest] for blob in self._blobs]

    def _send_blob(self, repository: Repository, blob: Blob) -> PushedBlob:
        upload: Optional[Upload] = None
        for source in self._sources(repository, blob):
            if upload is not None:
                repository.cancel(upload)
                upload = None
            try:
                upload = repository.mount(blob.digest, source)
            except RegistryError:
                # Not every registry mounts. Whatever else is wrong shows in the upload as well.
                continue
            if upload is None:
                return self._done(
                    repository, blob, MOUNTED, source=f"{repository.registry}/{source}"
                )
        uploaded = repository.upload(blob, upload, self._progress.advance)
        return self._done(repository, blob, UPLOADED if uploaded else PRESENT)

    def _sources(self, repository: Repository, blob: Blob) -> list[str]:
        """Names of repositories in the same registry that have or may have a blob."""
        homes = self._homes.get((repository.registry, blob.digest), [])
        names = [home.name for home in homes]
        for text in self._options.mount_from:
            registry, name = split_reference(Reference(text))
            if registry == repository.registry:
                names.append(name)
        return [name for name in dict.fromkeys(names) if name != repository.name]

    def _remember(self, repository: Repository, blobs: Sequence[Blob]) -> None:
        for blob in blobs:
            self._homes.setdefault((repository.registry, blob.digest), []).append(repository)

    def _done(
        self, repository: Repository, blob: Blob, outcome: str, source: Optional[str] = None
    ) -> PushedBlob:
        pushed = PushedBlob(repository.full_name, blob.digest, blob.size, outcome, source)
        self._progress.done(pushed)
        return pushed

    def _write_tags(self, stale: Sequence[tuple[Repository, list[Reference]]]) -> None:
        digest = self._image.digest
        manifest = self._image.manifest
        if len(stale) > 1:
            # A registry that refuses the image shall do so before any tag is moved elsewhere.
            for repository, _ in stale:
                repository.put_manifest(digest, manifest, MEDIA_TYPE_MANIFEST, digest)
        for repository, references in stale:
            for reference in references:
                repository.put_manifest(reference.tag, manifest, MEDIA_TYPE_MANIFEST, digest)

    def _all(
        self, work: Callable[[_Item], _Found], items: Sequence[_Item], jobs: int
    ) -> list[_Found]:
        """Returns what `work` makes of each item, with some threads.

        :raises: what it raised first; the other items are given up.
        """
        if not items:
            return []
        executor = ThreadPoolExecutor(min(jobs, len(items)))
        futures = [executor.submit(work, item) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            _raise_first(done)
            return [future.result() for future in futures]
        except BaseException as error:
            self._stop.set()
            for future in futures:
                future.cancel()
            if isinstance(error, Exception):
                wait(futures, timeout=_GRACE)
            self._connections.abort()
            raise
        finally:
            executor.shutdown()

    def _stoppable(self, stream: Callable[[Any], None]) -> Callable[[Any], None]:
        """Makes a stream end when the push is given up."""

        def stream_on(write: Callable[[Union[bytes, memoryview]], object]) -> None:
            def write_on(data: Union[bytes, memoryview]) -> None:
                if self._stop.is_set():
                    raise PushCancelledError()
                write(data)

            stream(write_on)

        return stream_on

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise PushCancelledError()


def _raise_first(futures: set[Future[Any]]) -> None:
    for future in futures:
        error = future.exception()
        if error is not None and not isinstance(error, PushCancelledError):
            raise error


def _reason(blobs: Sequence[PushedBlob]) -> str:
    counts = {
        outcome: sum(blob.outcome == outcome for blob in blobs)
        for outcome in (UPLOADED, MOUNTED, PRESENT)
    }
    parts = [
        f"{counts[UPLOADED]} blobs uploaded",
        f"{counts[MOUNTED]} mounted",
        f"{counts[PRESENT]} there already",
    ]
    return ", ".join(parts)
