"""Sending the blobs of an image: what a repository has, or can take over, is not sent again."""

from __future__ import annotations

from typing import Optional, Sequence

from nixoci.image.layout import Blob
from nixoci.image.reference import Reference
from nixoci.registry.address import split_reference
from nixoci.registry.errors import RegistryError
from nixoci.registry.progress import Progress
from nixoci.registry.push_result import MOUNTED, PRESENT, UPLOADED, PushedBlob
from nixoci.registry.push_threads import PARALLEL_QUESTIONS, PushThreads
from nixoci.registry.repository import Repository, Upload


class BlobSender:
    """Sends the same blobs to one repository after the other, and remembers who has them.

    :param mount_from: repositories (with their registry) that may have some of the blobs.
    :param jobs: blobs that are uploaded at the same time.
    """

    def __init__(
        self,
        blobs: Sequence[Blob],
        threads: PushThreads,
        progress: Progress,
        *,
        mount_from: Sequence[str],
        jobs: int,
    ) -> None:
        self._blobs = blobs
        self._threads = threads
        self._progress = progress
        self._mount_from = mount_from
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
        sent = self._threads.map(
            lambda blob: self._send_blob(repository, blob), missing, self._jobs
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
        for text in self._mount_from:
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
