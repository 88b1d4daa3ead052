"""Pushing an image: what a registry lacks is streamed from the store, all else is left alone.

First every tag is looked at: a repository that has the image under all of them is done. Then come
the blobs, one repository after the other, so that a later one can take over what an earlier one of
the same registry has. Tags are written last, when everything is there, everywhere.

Threads upload, not processes: whatever a thread waits for (a socket, a disk, OpenSSL's hash and
cipher) leaves the interpreter to the others, and they share connections, tokens and what is known
of the store. Packing alone would be faster in processes; a registry is seldom faster than packing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Mapping, Optional, Sequence

from nixoci.children import end_children
from nixoci.errors import InvalidInputError
from nixoci.image.layout import WriteLayer, image_blobs
from nixoci.image.reference import Reference
from nixoci.registry.address import split_reference
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.http.connections import SILENCE_TIME_LIMIT, Connections
from nixoci.registry.http.retry import RetryPolicy
from nixoci.registry.progress import Progress, megabytes
from nixoci.registry.push_blobs import BlobSender, MountHints
from nixoci.registry.push_result import (
    MOUNTED,
    PENDING,
    PRESENT,
    UNCHANGED,
    UPLOADED,
    WRITTEN,
    PushedBlob,
    PushedTag,
    PushResult,
)
from nixoci.registry.push_threads import PARALLEL_QUESTIONS, PushThreads
from nixoci.registry.repository import Repository
from nixoci.registry.session import Session
from nixoci.registry.settings import Registries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nixoci.image.index.image_index import AnyImage
    from nixoci.recipe.recipe import Recipe

DEFAULT_JOBS = 4


@dataclass(frozen=True)
class PushOptions:
    """How to push.

    :param hints: repositories that may have layers of the image.
    :param jobs: large layers that are uploaded at the same time, at least 1; see `PushThreads.map_by_size`.
    :param silence_time_limit: seconds until a registry that does nothing is given up.
    :param writes_tags: False if repositories get the manifest by its digest only.
    :param prepare: called once, before `write_layer` is; not if registries have everything.
    :param abort: ends what `write_layer` waits for in other threads; it may be called several times.
    """

    registries: Registries = Registries()
    hints: MountHints = MountHints()
    jobs: int = DEFAULT_JOBS
    retry: RetryPolicy = RetryPolicy()
    silence_time_limit: float = SILENCE_TIME_LIMIT
    writes_tags: bool = True
    prepare: Callable[[], object] = lambda: None
    abort: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise InvalidInputError("jobs", self.jobs, "expected at least 1")


def push(
    image: AnyImage,
    recipes: Sequence[Recipe],
    references: Sequence[Reference],
    write_layer: WriteLayer,
    environment: Mapping[str, str],
    options: PushOptions = PushOptions(),
    progress: Optional[Progress] = None,
) -> PushResult:
    """Makes registries have an image, or an index with its images, under all `references`.

    The images of an index get no tags: they are there by their digests, before the index is.

    :param recipes: one for each layer, in the same order; of an index, image after image.
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
        image: AnyImage,
        recipes: Sequence[Recipe],
        write_layer: WriteLayer,
        environment: Mapping[str, str],
        options: PushOptions,
        progress: Progress,
    ) -> None:
        self._image = image
        self._options = options
        self._progress = progress
        self._credentials = CredentialSearch.of_environment(environment)
        self._connections = Connections(environment, silence_time_limit=options.silence_time_limit)
        self._threads = PushThreads(self._abort)
        self._retry = replace(options.retry, wait=self._threads.sleep)
        manifests = {manifest.digest for manifest in image.manifests}
        blobs = [
            replace(blob, stream=self._threads.stoppable(blob.stream))
            for blob in image_blobs(image, recipes, write_layer)
            # Manifests and indexes are no blobs to a registry.
            if blob.digest not in manifests
        ]
        self._sender = BlobSender(
            blobs, self._threads, progress, hints=options.hints, jobs=options.jobs
        )

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
                    self._sender.note_complete(repository)
            if stale:
                self._options.prepare()
            for repository, _ in stale:
                blobs.extend(self._sender.send(repository))
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
            outcome = UNCHANGED
            if reference in written:
                outcome = WRITTEN if self._options.writes_tags else PENDING
            tags.append(PushedTag(str(reference), full_name, reference.tag, outcome, reason))
        return PushResult(
            self._image.digest, tuple(tags), tuple(blobs), tuple(self._sender.homes())
        )

    def _abort(self) -> None:
        self._connections.abort()
        self._options.abort()
        end_children()

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
            digest = repository.manifest_digest(reference.tag, self._image.media_type)
            return digest == self._image.digest

        # The first request learns what the registry wants to know of its users.
        answers = [names_image(references[0])]
        answers += self._threads.map(names_image, references[1:], PARALLEL_QUESTIONS)
        return [reference for reference, same in zip(references, answers) if not same]

    def _write_tags(self, stale: Sequence[tuple[Repository, list[Reference]]]) -> None:
        *parts, whole = self._image.manifests
        by_tag = self._options.writes_tags
        if len(stale) > 1 or not by_tag:
            # A registry that refuses the image must do so before any tag is moved elsewhere.
            parts.append(whole)
        for repository, _ in stale:
            for part in parts:
                repository.put_manifest(part.digest, part.content, part.media_type, part.digest)
        for repository, references in stale:
            for reference in references if by_tag else ():
                repository.put_manifest(
                    reference.tag, whole.content, whole.media_type, whole.digest
                )


def _reason(blobs: Sequence[PushedBlob]) -> str:
    found = {
        outcome: [blob for blob in blobs if blob.outcome == outcome]
        for outcome in (UPLOADED, MOUNTED, PRESENT)
    }
    sent = sum(blob.size for blob in found[UPLOADED])
    return (
        f"{len(found[UPLOADED])} blobs uploaded ({megabytes(sent)}), {len(found[MOUNTED])} mounted, "
        f"{len(found[PRESENT])} there already"
    )
