"""One repository of a registry, read."""

from __future__ import annotations

import re
from email.message import Message
from typing import Mapping, Optional

from nixoci.image.image import digest_of
from nixoci.image.manifest_format import (
    DOCKER,
    MEDIA_TYPE_DOCKER_MANIFEST_LIST,
    MEDIA_TYPE_INDEX,
    MEDIA_TYPE_MANIFEST,
)
from nixoci.image.reference import Reference
from nixoci.layer.blob_stream import BlobStream
from nixoci.layer.layer import Layer
from nixoci.registry.address import split_reference
from nixoci.registry.auth.search import CredentialSearch
from nixoci.registry.errors import ConnectionFailedError, ManifestUnknownError, printable
from nixoci.registry.http.answers import describe, failure
from nixoci.registry.http.connections import SILENCE_TIME_LIMIT, Connections
from nixoci.registry.http.exchange import Answer, Receiver
from nixoci.registry.http.retry import RETRYABLE_STATUSES, RetryPolicy
from nixoci.registry.session import Session
from nixoci.registry.settings import Registries

#: Bytes of a manifest, or of a config, that are read: what all registries should take, and many take at most
#: (distribution spec, "Pushing Manifests").
LONGEST_MANIFEST = 4 << 20

#: The other kinds are asked for too, since registries convert them, or deny that there is an image,
#: where a client does not know them. Whoever parses the manifest can say what is wrong with it.
_ACCEPT = ", ".join(
    (
        MEDIA_TYPE_MANIFEST,
        MEDIA_TYPE_INDEX,
        DOCKER.manifest,
        MEDIA_TYPE_DOCKER_MANIFEST_LIST,
    )
)

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")

#: So many bytes between two breaks of a connection make the next one the first again.
_GOOD_PROGRESS = 1 << 20


def reading_connections(
    environment: Mapping[str, str], silence_time_limit: float = SILENCE_TIME_LIMIT
) -> Connections:
    """Returns connections for `RepositoryReader`."""
    # One byte more than is taken shows that there are too many.
    return Connections(
        environment,
        silence_time_limit=silence_time_limit,
        longest_answer=LONGEST_MANIFEST + 1,
    )


class RepositoryReader:
    """Reads manifests and blobs. Threads can share it.

    :param repository: with its registry, as in references.
    :param connections: those of `reading_connections`. Nobody else may use them while a blob is read, since
        whoever gets it may talk to the same registry.
    :raises InvalidInputError: there is no such name of a repository.
    """

    def __init__(
        self,
        repository: str,
        *,
        connections: Connections,
        credentials: CredentialSearch,
        registries: Registries = Registries(),
        retry: RetryPolicy = RetryPolicy(),
    ) -> None:
        self.registry, self.name = split_reference(Reference(repository))
        self._session = Session(
            self.registry,
            self.name,
            registries=registries,
            connections=connections,
            credentials=credentials,
            retry=retry,
        )
        self._scopes = (f"repository:{self.name}:pull",)

    @property
    def full_name(self) -> str:
        """With its registry."""
        return f"{self.registry}/{self.name}"

    def manifest(self, name: str) -> bytes:
        """Returns a manifest, whatever kind it is of.

        :param name: a tag, or `sha256:<hex>`, which is verified.
        :raises ManifestUnknownError: there is no such one.
        :raises RegistryError: see its children.
        :raises CredentialsError: credentials cannot be read.
        """
        what = f"for the manifest {name}"
        answer = self._ask(f"manifests/{name}", what, {"Accept": _ACCEPT})
        if answer.status == 404:
            raise ManifestUnknownError(self.registry, self.name, name, describe(answer))
        content = self._content(what, answer)
        digest = digest_of(content)
        if name.startswith("sha256:"):
            if digest != name:
                raise self._session.unexpected(what, f"with one of the digest {digest}")
            return content
        said: str = answer.headers.get("Docker-Content-Digest", digest).strip()
        # Of another algorithm there is nothing to compare.
        if said != digest and said.startswith("sha256:"):
            raise self._session.unexpected(
                what, f"with the digest {printable(said, 80)}, not {digest}"
            )
        return content

    def small_blob(self, digest: str, size: int) -> bytes:
        """Returns a blob, verified.

        :raises RegistryError: also if it is larger than `LONGEST_MANIFEST`.
        """
        what = f"for the blob {digest}"
        content = self._content(what, self._ask(f"blobs/{digest}", what))
        found = digest_of(content)
        if (found, len(content)) != (digest, size):
            raise self._session.unexpected(
                what, f"with {len(content)} bytes of the digest {found}, not {size} of {digest}"
            )
        return content

    def copy_blob(self, layer: Layer, stream: BlobStream) -> None:
        """Reads a blob from where `stream` is to its end, in memory that does not grow with it.

        A connection that breaks is taken up again there. A registry that does not read from the midst of a blob
        (RFC 9110, section 14) sends its beginning once more, which is thrown away.

        :raises RegistryError: all attempts failed; the stream is as far as it got.
        :raises BlobDiffersError: these are too many bytes. What the receiver of `stream` raises passes
            through.
        """
        what = f"for the blob {layer.digest}"
        attempt = 0
        in_the_midst = True
        while not stream.is_complete:
            start = stream.received
            receiver = _BlobReceiver(layer, stream, self.full_name)
            headers = {"Range": f"bytes={start}-"} if start and in_the_midst else {}
            trouble: ConnectionFailedError | Answer
            try:
                answer = self._session.ask(
                    self._session.url(f"blobs/{layer.digest}"),
                    "GET",
                    self._scopes,
                    headers,
                    what=what,
                    attempts=1,
                    receiver=receiver,
                )
            except ConnectionFailedError as error:
                trouble = error
            else:
                if headers and (receiver.refused or answer.status == 416):
                    in_the_midst = False
                    continue
                if receiver.refused:
                    raise self._session.unexpected(what, receiver.refused)
                if not receiver.accepted and answer.status not in RETRYABLE_STATUSES:
                    raise failure(self.registry, self.name, what, answer, writes=False)
                if stream.is_complete:
                    return
                trouble = answer
                if receiver.accepted:
                    trouble = ConnectionFailedError(self.registry, "the answer was cut short")
            if stream.received - start >= _GOOD_PROGRESS:
                attempt = 0
            if attempt >= self._session.retry.attempts - 1:
                if isinstance(trouble, ConnectionFailedError):
                    raise trouble
                raise failure(self.registry, self.name, what, trouble, writes=False)
            self._session.pause(attempt, trouble)
            attempt += 1

    def _ask(self, path: str, what: str, headers: Mapping[str, str] = {}) -> Answer:
        return self._session.ask(
            self._session.url(path), "GET", self._scopes, headers, what=what
        )

    def _content(self, what: str, answer: Answer) -> bytes:
        if answer.status != 200:
            raise failure(self.registry, self.name, what, answer, writes=False)
        if len(answer.body) > LONGEST_MANIFEST:
            raise self._session.unexpected(what, f"with more than {LONGEST_MANIFEST} bytes")
        return answer.body


class _BlobReceiver(Receiver):
    """Takes a blob, or the rest of it.

    :param source: for errors.
    """

    def __init__(self, layer: Layer, stream: BlobStream, source: str) -> None:
        self._layer = layer
        self._stream = stream
        self._source = source
        self._skip = 0
        #: Whether there was a blob in the answer.
        self.accepted = False
        #: Why there was none, although the status says so.
        self.refused = ""

    def wants(self, status: int, headers: Message) -> bool:
        """Whether the answer is the blob."""
        if status == 206:
            self.refused = self._wrong_range(headers.get("Content-Range", ""))
        elif status == 200:
            length: Optional[str] = headers.get("Content-Length")
            if length is not None and length.strip() != str(self._layer.size):
                self.refused = f"with {printable(length, 20)} bytes, not {self._layer.size}"
            self._skip = self._stream.received
        else:
            return False
        self.accepted = not self.refused
        return self.accepted

    def write(self, part: memoryview) -> None:
        """Takes what is new of the next part."""
        skipped = min(self._skip, len(part))
        self._skip -= skipped
        self._stream.take(part[skipped:], self._source)

    def _wrong_range(self, text: str) -> str:
        found = _CONTENT_RANGE.fullmatch(text.strip())
        start, size = self._stream.received, self._layer.size
        if found and int(found[1]) == start > 0 and found[3] in ("*", str(size)):
            return ""
        return f"with the range {printable(text, 60)!r}, not one that begins at {start} of {size}"
