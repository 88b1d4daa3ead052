"""The addresses of the read-only registry, and what is answered at each of them."""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional
from urllib.parse import parse_qs

from nixoci.errors import NixOciError
from nixoci.image.image import Manifest
from nixoci.image.layout import Blob
from nixoci.image.manifest_format import MEDIA_TYPE_INDEX
from nixoci.json_output import canonical_json
from nixoci.registry.server.byte_range import (
    ByteRange,
    RangeSentError,
    RangeSink,
    UnsatisfiableRangeError,
    parse_range,
)
from nixoci.registry.server.http_handler import ClientGoneError, HttpHandler
from nixoci.registry.server.served_images import ServedRepository

_ROUTE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<reference>[^/]+)")
_DIGEST = re.compile(r"[a-z0-9]+([+._-][a-z0-9]+)*:[A-Za-z0-9=_-]+")


class StreamFailedError(NixOciError):
    """The operating system refused something that making a blob takes, as to start Nix.

    :param digest: of the blob.
    """

    def __init__(self, digest: str, reason: str) -> None:
        self.digest = digest
        self.reason = reason
        super().__init__(f"The blob {digest} cannot be made: {reason}.")


class RequestHandler(HttpHandler):
    """Answers the requests of one connection, as the distribution specification says."""

    def do_GET(self) -> None:
        """Answers GET and HEAD; only what is sent after the headers differs."""
        if self.headers.get("Content-Length", "0").strip() != "0" or self.headers.get(
            "Transfer-Encoding"
        ):
            # What follows would be taken for the next request.
            self.close_connection = True
        path, _, query = self.path.partition("?")
        match = _ROUTE.fullmatch(path)
        if path in ("/v2", "/v2/"):
            self.send_json({})
        elif path == "/v2/_catalog":
            self._send_list("repositories", {}, list(self.server.repositories), path, query)
        elif match is None:
            self.refuse(404, "UNSUPPORTED", "There is nothing at this address.")
        else:
            repository = self.server.repositories.get(match["name"])
            if repository is None:
                self.refuse(404, "NAME_UNKNOWN", "This repository is not served.")
            elif match["kind"] == "manifests":
                self._send_manifest(repository.manifest(match["reference"]))
            elif match["kind"] == "blobs":
                self._send_blob(repository.blobs.get(match["reference"]))
            elif match["kind"] == "referrers":
                self._send_referrers(match["reference"], query)
            elif match["reference"] == "list":
                self._send_tags(match["name"], repository, path, query)
            else:
                self.refuse(404, "UNSUPPORTED", "There is nothing at this address.")

    do_HEAD = do_GET

    def _refuse_write(self) -> None:
        # The body stays unread.
        self.close_connection = True
        self.refuse(405, "UNSUPPORTED", "This registry is read-only.", {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_PATCH = do_DELETE = _refuse_write

    def _send_tags(self, name: str, repository: ServedRepository, path: str, query: str) -> None:
        self._send_list("tags", {"name": name}, list(repository.tags), path, query)

    def _send_referrers(self, digest: str, query: str) -> None:
        """Sends the index of what refers to a manifest (signatures and the like), which is empty."""
        if not _DIGEST.fullmatch(digest):
            self.refuse(400, "DIGEST_INVALID", "This is no digest.")
            return
        index = {"schemaVersion": 2, "mediaType": MEDIA_TYPE_INDEX, "manifests": []}
        filtered = {"OCI-Filters-Applied": "artifactType"} if "&artifactType=" in f"&{query}" else {}
        self.send(200, canonical_json("index", index), MEDIA_TYPE_INDEX, filtered)

    def _send_list(
        self, key: str, document: dict[str, Any], items: list[str], path: str, query: str
    ) -> None:
        """Sends a list, or a page of it (distribution specification, listing tags)."""
        values = parse_qs(query, max_num_fields=10) if query.count("&") < 10 else {}
        last = values.get("last", [""])[0]
        wanted = values.get("n", [""])[0]
        items = sorted(item for item in items if item > last)
        headers = {}
        if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 and int(wanted) < len(items):
            items = items[: int(wanted)]
            if items:
                headers["Link"] = f'<{path}?n={wanted}&last={items[-1]}>; rel="next"'
        self.send_json({**document, key: items}, headers=headers)

    def _send_manifest(self, manifest: Optional[Manifest]) -> None:
        if manifest is None:
            self.refuse(404, "MANIFEST_UNKNOWN", "There is no such image in this repository.")
            return
        headers = {"Docker-Content-Digest": manifest.digest, "ETag": f'"{manifest.digest}"'}
        self.send(200, manifest.content, manifest.media_type, headers)

    def _send_blob(self, blob: Optional[Blob]) -> None:
        if blob is None:
            self.refuse(404, "BLOB_UNKNOWN", "There is no such blob in this repository.")
            return
        headers = {
            "Docker-Content-Digest": blob.digest,
            "ETag": f'"{blob.digest}"',
            "Accept-Ranges": "bytes",
        }
        wanted = self.headers.get("Range")
        if self.headers.get("If-Range", headers["ETag"]) != headers["ETag"]:
            wanted = None
        try:
            part = parse_range(wanted, blob.size)
        except UnsatisfiableRangeError:
            headers["Content-Range"] = f"bytes */{blob.size}"
            self.refuse(416, "RANGE_INVALID", "The blob ends before this range.", headers)
            return
        status = 200
        if part is None:
            part = ByteRange(0, blob.size)
        else:
            status = 206
            headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{blob.size}"
        headers["Content-Type"] = "application/octet-stream"
        headers["Content-Length"] = str(part.size)
        if self.command == "HEAD":
            self.begin(status, headers)
        else:
            self._stream(blob, part, status, headers)
        self.log_request(status, part.size if self.command == "GET" else 0)

    def _stream(self, blob: Blob, part: ByteRange, status: int, headers: Mapping[str, str]) -> None:
        """Sends a part of a blob. The last byte of one that is not right is never sent."""

        def write(piece: memoryview) -> None:
            # Not earlier: what fails before its first byte can still be told to the client.
            if not self.begun:
                self.begin(status, headers)
            self.send_bytes(piece)

        sink = RangeSink(part, blob.size, write, self.require_client)
        try:
            blob.stream(sink.write)
            sink.finish()
        except RangeSentError:
            pass
        except ClientGoneError:
            self.log_message("%s was broken off by the client", _brief(blob.digest))
            raise
        except (NixOciError, OSError) as error:
            if not isinstance(error, NixOciError):
                error = StreamFailedError(blob.digest, error.strerror or str(error))
            self.server.failed(error)
            self.log_message("%s cannot be streamed: %s", _brief(blob.digest), error)
            # If it has begun, the client notices by the bytes that are missing.
            if not self.begun:
                self.refuse(500, "UNKNOWN", str(error))
            raise ClientGoneError from None


def _brief(digest: str) -> str:
    return digest[:19]
