"""Sending the blobs of an image: what a repository has, or can take over, is not sent again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Mapping, Optional, Sequence

from nixoci.image.layout import Blob
from nixoci.image.reference import Reference
from nixoci.registry.address import split_reference
from nixoci.registry.blob_homes import BlobHomes
from nixoci.registry.errors import RegistryError
from nixoci.registry.progress import Progress
from nixoci.registry.push_result import MOUNTED, PRESENT, UPLOADED, PushedBlob
from nixoci.registry.push_threads import PARALLEL_QUESTIONS, PushThreads
from nixoci.registry.repository import Repository, Upload


@dataclass(frozen=True)
class MountHints:
    """Repositories that may have blobs, to take them over from there.

    To ask for that is to start an upload, so one guess costs no request; each further one does.

    :param mount_from: with their registry; all of them are asked for each blob, as a user said so.
    :param known: what earlier pushes have learned.
    :param likely: with their registry, by the digest of a blob: a guess, where nothing is known.
    :param sources: likewise, of blobs that are copied from there.
    """

    mount_from: tuple[str, ...] = ()
    known: BlobHomes = field(default_factory=BlobHomes, compare=False)
    likely: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def names(self, registry: str, but: str, digest: str) -> list[str]:
        """Returns names of repositories in a registry, the best first.

        :param but: the name of the repository that asks.
        """
        guesses = [self.known.find(registry, digest)]
        guesses += _in_registry(self.likely.get(digest, ()), registry)
        guess = [name for name in guesses if name not in ("", but)][:1]
        sources = _in_registry(self.sources.get(digest, ()), registry)
        return sources + guess + _in_registry(self.mount_from, registry)


def _in_registry(repositories: Sequence[str], registry: str) -> list[str]:
    pairs = [split_reference(Reference(text)) for text in repositories]
    return [name for other, name in pairs if other == registry]


class BlobSender:
    """Sends the same blobs to one repository after the other, and remembers who has them.

    :param hints: repositories that may have some of the blobs.
    :param jobs: large blobs that are uploaded at the same time; see `PushThreads.map_by_size`.
    """

    def __init__(
        self,
        blobs: Sequence[Blob],
        threads: PushThreads,
        progress: Progress,
        *,
        hints: MountHints,
        jobs: int,
    ) -> None:
        self._blobs = blobs
        self._threads = threads
        self._progress = progress
        self._hints = hints
        self._jobs = jobs
        #: Repositories of each registry, by the digest of a blob that they are known to have.
        self._homes: dict[tuple[str, str], list[Repository]] = {}

    def send(self, repository: Repository) -> list[PushedBlob]:
        """Makes a repository have all blobs, and returns what happened to each, in their order."""

        def has_blob(blob: Blob) -> bool:
            homes = self._homes.get((repository.registry, blob.digest), ())
            return repository in homes or repository.has_blob(blob.digest, blob.size)

        present = self._threads.map(has_blob, self._blobs, PARALLEL_QUESTIONS)
        missing = [blob for blob, is_there in zip(self._blobs, present) if not is_there]
        found = [blob for blob, is_there in zip(self._blobs, present) if is_there]
        self._progress.expect(len(missing), sum(blob.size for blob in missing))
        results = {}
        for blob in found:
            results[blob.digest] = self._done(repository, blob, PRESENT)
        # The largest first, so that it does not end last.
        missing.sort(key=lambda blob: -blob.size)
        sent = self._threads.map_by_size(
            lambda blob: self._send_blob(repository, blob),
            missing,
            lambda blob: blob.size,
            self._jobs,
        )
        results.update((blob.digest, blob) for blob in sent)
        self._remember(repository, missing + found)
        return [results[blob.digest] for blob in self._blobs]

    def note_complete(self, repository: Repository) -> None:
        """Takes note that a repository has all blobs."""
        self._remember(repository, self._blobs)

    def _send_blob(self, repository: Repository, blob: Blob) -> PushedBlob:
        upload: Optional[Upload] = None
        for source in self._sources(repository, blob):
            if upload is not None:
                repository.cancel(upload)
                upload = None
            try:
                upload = repository.mount(blob.digest, blob.size, source)
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
        names += self._hints.names(repository.registry, repository.name, blob.digest)
        return [name for name in dict.fromkeys(names) if name != repository.name]

    def homes(self) -> list[tuple[str, str, str]]:
        """Returns registry, digest and name of a repository for each blob that is known to be somewhere."""
        return [
            (registry, digest, repositories[-1].name)
            for (registry, digest), repositories in self._homes.items()
        ]

    def _remember(self, repository: Repository, blobs: Sequence[Blob]) -> None:
        for blob in blobs:
            self._homes.setdefault((repository.registry, blob.digest), []).append(repository)

    def _done(
        self, repository: Repository, blob: Blob, outcome: str, source: Optional[str] = None
    ) -> PushedBlob:
        pushed = PushedBlob(repository.full_name, blob.digest, blob.size, outcome, source)
        self._progress.done(pushed)
        return pushed
