"""One repository of a registry: what a push needs of the distribution specification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Mapping, Optional, Union
from urllib.parse import quote

from nixoci.image.image import digest_of
from nixoci.image.layout import Blob
from nixoci.layer.mismatch import BlobDiffersError
from nixoci.registry.address import Url, resolve_location, with_query
from nixoci.registry.errors import (
    ConnectionFailedError,
    RegistryError,
    RepositoryUnknownError,
    printable,
)
from nixoci.registry.http.answers import describe, failure
from nixoci.registry.http.exchange import Answer, Body
from nixoci.registry.http.retry import RETRYABLE_STATUSES
from nixoci.registry.session import Session

#: The upload that a Location leads to is not there (any more): it must be started again.
_LOST_UPLOAD_STATUSES = frozenset((404, 416))

#: Answers to a question that is only there to save work: a registry (or a gateway before it) that does
#: not let one ask so, or tells nobody what it lacks. Whether one may write shows when one does.
_NO_ANSWER_STATUSES = frozenset((400, 403, 405, 501))

#: Takes the number of bytes that were sent, or taken back (negative) when an upload starts again.
Advance = Callable[[int], object]


@dataclass(frozen=True)
class Upload:
    """An upload that a registry is ready for."""

    url: Url


class Repository:
    """A repository that is pushed to. Threads can share it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.registry = session.registry
        self.name = session.repository
        self._scopes = (f"repository:{self.name}:pull,push",)

    @property
    def full_name(self) -> str:
        """With its registry, as in references."""
        return f"{self.registry}/{self.name}"

    def manifest_digest(self, tag: str, media_type: str) -> Optional[str]:
        """Returns the digest of what the tag names; None if there is nothing, or it is not told.

        Registries that answer no HEAD, or answer it without a digest, are asked for the manifest itself.

        :raises RegistryError: as all methods.
        """
        what = f"for the tag {tag}"
        url = self._session.url(f"manifests/{tag}")
        answer = self._ask(url, "HEAD", {"Accept": media_type}, what=what)
        digest = answer.headers.get("Docker-Content-Digest")
        if answer.status in _NO_ANSWER_STATUSES or (answer.status == 200 and digest is None):
            answer = self._ask(url, "GET", {"Accept": media_type}, what=what)
            digest = answer.headers.get("Docker-Content-Digest") or _digest_of_body(answer)
        if answer.status == 404 or answer.status in _NO_ANSWER_STATUSES:
            return None
        if answer.status != 200:
            raise self._failure(what, answer)
        return digest and digest.strip()

    def has_blob(self, digest: str, size: int) -> bool:
        """Whether the repository is known to have a blob: False if it does not tell."""
        what = f"for the blob {digest}"
        answer = self._ask(self._session.url(f"blobs/{digest}"), "HEAD", what=what)
        if answer.status == 404 or answer.status in _NO_ANSWER_STATUSES:
            return False
        if answer.status != 200:
            raise self._failure(what, answer)
        self._require_digest(what, answer, digest)
        length = answer.headers.get("Content-Length")
        if length is not None and length.strip() != str(size):
            raise self._session.unexpected(
                what, f"that it has {printable(length, 20)} bytes, not {size}"
            )
        return True

    def mount(self, digest: str, size: int, source: str) -> Optional[Upload]:
        """Asks for a blob that another repository of the registry may have.

        It is asked once: what does not come this way is uploaded.

        :param size: of the blob.
        :param source: name of the repository in the registry.
        :returns: None if the blob is here now; else an upload, or an error if mounting is refused.
        """
        scopes = tuple(sorted((f"repository:{source}:pull", *self._scopes)))
        query = f"mount={digest}&from={quote(source, safe='/')}"
        what = f"to take over the blob {digest} from {source}"
        url = self._session.url(f"blobs/uploads/?{query}")
        answer = self._session.ask(url, "POST", scopes, what=what, attempts=1)
        if not _is_good(answer):
            raise self._failure(what, answer)
        if answer.status == 201:
            self._require_digest(what, answer, digest)
            return None
        # Those that the specification does not have may mean either.
        if answer.status != 202 and self.has_blob(digest, size):
            return None
        return self._upload(what, answer)

    def start_upload(self) -> Upload:
        """Starts the upload of a blob."""
        what = "to take an upload"
        answer = self._ask(self._session.url("blobs/uploads/"), "POST", what=what)
        if answer.status == 404:
            raise RepositoryUnknownError(self.registry, self.name, describe(answer))
        if not _is_good(answer):
            raise self._failure(what, answer)
        return self._upload(what, answer)

    def upload(self, blob: Blob, upload: Optional[Upload], advance: Advance) -> bool:
        """Streams a blob into the repository; starts again where the registry fails on the way.

        :param upload: if one was started already.
        :param advance: gets the number of bytes that were sent.
        :returns: False if the blob turned out to be there when an attempt had failed.
        :raises RegistryError: all attempts failed. What `blob.stream` raises passes through; no
            blob has come to be then, and the registry was told to keep nothing.
        """
        attempt = -1
        while True:
            attempt += 1
            last = attempt >= self._session.retry.attempts - 1
            # An answer that was lost may have been a good one.
            if attempt and self.has_blob(blob.digest, blob.size):
                return False
            current, upload = upload or self.start_upload(), None
            counter = _Counter(blob, advance)
            try:
                answer = self._put(blob, current, counter)
            except ConnectionFailedError as error:
                counter.take_back()
                self.cancel(current)
                if last:
                    raise
                self._session.pause(attempt, error)
                continue
            except BlobDiffersError:
                # Whoever had these bytes is not asked again.
                counter.take_back()
                self.cancel(current)
                if last:
                    raise
                continue
            except BaseException:
                # These bytes must never become a blob, and the registry should not keep them.
                self.cancel(current)
                raise
            if _is_good(answer):
                self._require_digest(self._what(blob), answer, blob.digest)
                return True
            counter.take_back()
            self.cancel(current)
            if last or answer.status not in RETRYABLE_STATUSES | _LOST_UPLOAD_STATUSES:
                raise self._failure(self._what(blob), answer)
            self._session.pause(attempt, answer)

    def put_manifest(self, name: str, manifest: bytes, media_type: str, digest: str) -> None:
        """Writes a manifest.

        :param name: a tag, or `digest` for a manifest without one.
        """
        what = f"to write the manifest {name}"
        url = self._session.url(f"manifests/{name}")
        headers = {"Content-Type": media_type}
        answer = self._ask(url, "PUT", headers, Body.of_bytes(manifest), what=what)
        if not _is_good(answer):
            raise self._failure(what, answer)
        self._require_digest(what, answer, digest)
        # The specification knows 201 only, and some registries say 202. A web server that is no registry
        # may say 200 to everything.
        if answer.status not in (201, 202) and "Docker-Content-Digest" not in answer.headers:
            found = self.manifest_digest(name, media_type)
            if found is not None and found != digest:
                raise self._session.unexpected(
                    what,
                    f"{describe(answer)}, but has {printable(found, 80)} there, not {digest}",
                )

    def _put(self, blob: Blob, upload: Upload, counter: _Counter) -> Answer:
        target = with_query(upload.url.target, f"digest={quote(blob.digest, safe=':')}")
        url = Url(upload.url.origin, target)
        headers = {"Content-Type": "application/octet-stream"}
        body = Body(blob.size, counter.stream)
        # One attempt: an upload that broke off cannot take the same bytes a second time.
        return self._ask(url, "PUT", headers, body, what=self._what(blob), attempts=1)

    def cancel(self, upload: Upload) -> None:
        """Tells the registry that an upload is over. It would find out by itself, days later."""
        try:
            self._ask(upload.url, "DELETE", what="to end an upload", attempts=1)
        except RegistryError:
            # What made the upload end is what the user must hear of.
            return

    def _upload(self, what: str, answer: Answer) -> Upload:
        location = answer.headers.get("Location", "")
        url = resolve_location(answer.url, location)
        if url is None:
            raise self._session.unexpected(
                what, f"with a Location that is none: {printable(location, 100)!r}"
            )
        return Upload(url)

    def _require_digest(self, what: str, answer: Answer, digest: str) -> None:
        found = answer.headers.get("Docker-Content-Digest")
        # The header is optional in the specification, so only a wrong one is an error.
        if found is not None and found.strip() != digest:
            raise self._session.unexpected(
                what, f"with the digest {printable(found, 80)}, not {digest}"
            )

    def _failure(self, what: str, answer: Answer) -> RegistryError:
        return failure(self.registry, self.name, what, answer)

    def _what(self, blob: Blob) -> str:
        return f"to take the blob {blob.digest}"

    def _ask(
        self,
        url: Url,
        method: str,
        headers: Mapping[str, str] = {},
        body: Optional[Body] = None,
        *,
        what: str,
        attempts: Optional[int] = None,
    ) -> Answer:
        return self._session.ask(
            url, method, self._scopes, headers, body, what=what, attempts=attempts
        )


def _digest_of_body(answer: Answer) -> Optional[str]:
    """None if not all of it was read."""
    length = answer.headers.get("Content-Length", "").strip()
    return digest_of(answer.body) if length in ("", str(len(answer.body))) else None


def _is_good(answer: Answer) -> bool:
    """Registries differ in which of the good answers they give (RFC 9110, section 15.3)."""
    return 200 <= answer.status < 300


class _Counter:
    """Streams a blob and tells how far it is."""

    def __init__(self, blob: Blob, advance: Advance) -> None:
        self._blob = blob
        self._advance = advance
        self._sent = 0

    def stream(self, write: Callable[[Union[bytes, memoryview]], None]) -> None:
        # A request that was sent in vain (status 401, a redirect) is sent again from the start.
        self.take_back()

        def write_and_count(data: Union[bytes, memoryview]) -> None:
            write(data)
            self._sent += len(data)
            self._advance(len(data))

        self._blob.stream(write_and_count)

    def take_back(self) -> None:
        self._advance(-self._sent)
        self._sent = 0
