"""Stands between Pants and a server of the remote execution API, passes all on, and watches.

    python reapi_proxy.py TARGET DIRECTORY

It runs with the Python of BuildGrid's virtualenv. It listens on a free port of 127.0.0.1, which it
writes to DIRECTORY/port once TARGET answers, and has files there besides:

    log       a line for each request to the action cache that was answered: `get` or `update`, the
              digest of the action, and `OK` or the name of the error; and for each blob that was
              read: `read`, its digest, and likewise
    hidden    digests of actions, one a line; whoever asks for their results gets NOT_FOUND
    lost      digests of blobs, one a line, which the store has no more: they are missing, and cannot
              be read, though results of actions name them
"""

from __future__ import annotations

import itertools
import re
import sys
import threading
from concurrent import futures
from pathlib import Path
from typing import Any, Iterator

import grpc
from buildgrid._protos.build.bazel.remote.execution.v2 import remote_execution_pb2

_ACTION_CACHE = "/build.bazel.remote.execution.v2.ActionCache/"
_WATCHED = {
    f"{_ACTION_CACHE}GetActionResult": ("get", remote_execution_pb2.GetActionResultRequest),
    f"{_ACTION_CACHE}UpdateActionResult": ("update", remote_execution_pb2.UpdateActionResultRequest),
}

#: Of the content-addressable store: what reads blobs, and what asks which ones there are.
_READ = "/google.bytestream.ByteStream/Read"
_FIND_MISSING = "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs"

_NO_LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Proxy(grpc.GenericRpcHandler):
    """Passes on messages of all methods as bytes.

    Every call is taken for a stream of messages in both directions: what a single message is in HTTP/2
    is the same thing.
    """

    def __init__(self, target: str, directory: Path) -> None:
        self._channel = grpc.insecure_channel(target, _NO_LIMITS)
        grpc.channel_ready_future(self._channel).result(timeout=60)
        self._hidden = directory / "hidden"
        self._lost = directory / "lost"
        self._log = (directory / "log").open("a", buffering=1)
        self._lock = threading.Lock()

    def service(self, call: Any) -> grpc.RpcMethodHandler:
        def handle(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            return self._handle(call.method, messages, context)

        return grpc.stream_stream_rpc_method_handler(handle)

    def _handle(
        self, method: str, messages: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        what = action = ""
        if method in _WATCHED:
            what, request_type = _WATCHED[method]
            first = next(messages)
            messages = itertools.chain([first], messages)
            action = request_type.FromString(first).action_digest.hash
            if what == "get" and action in self._hidden.read_text().split():
                self._write(what, action, "HIDDEN")
                context.abort(grpc.StatusCode.NOT_FOUND, "hidden")
        if method in (_READ, _FIND_MISSING):
            first = next(messages)
            messages = itertools.chain([first], messages)
            # A resource name of ByteStream and a serialized digest both have it as plain text.
            lost = [digest for digest in self._lost.read_text().split() if digest.encode() in first]
            if method == _READ:
                what = "read"
                action = re.findall(rb"/([0-9a-f]{64})/", first)[-1].decode()
                if lost:
                    self._write(what, action, "LOST")
                    context.abort(grpc.StatusCode.NOT_FOUND, "lost")
            elif lost:
                yield self._find_missing(first, lost, context)
                return
        answers = self._channel.stream_stream(method)(
            messages, metadata=context.invocation_metadata()
        )
        try:
            yield from answers
        except grpc.RpcError as error:
            self._write(what, action, error.code().name)
            context.abort(error.code(), error.details())
        self._write(what, action, "OK")

    def _find_missing(
        self, request: bytes, lost: list[str], context: grpc.ServicerContext
    ) -> bytes:
        answer = self._channel.unary_unary(_FIND_MISSING)(
            request, metadata=context.invocation_metadata()
        )
        missing = remote_execution_pb2.FindMissingBlobsResponse.FromString(answer)
        found = {digest.hash for digest in missing.missing_blob_digests}
        asked = remote_execution_pb2.FindMissingBlobsRequest.FromString(request)
        missing.missing_blob_digests.extend(
            digest
            for digest in asked.blob_digests
            if digest.hash in lost and digest.hash not in found
        )
        return missing.SerializeToString()

    def _write(self, what: str, action: str, verdict: str) -> None:
        if what:
            with self._lock:
                self._log.write(f"{what} {action} {verdict}\n")


def main() -> None:
    target, directory = sys.argv[1], Path(sys.argv[2])
    (directory / "hidden").touch()
    (directory / "lost").touch()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=30), options=_NO_LIMITS)
    server.add_generic_rpc_handlers((Proxy(target, directory),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    # It appears whole: whoever waits for the file must not read half of a number.
    (directory / "port.new").write_text(str(port))
    (directory / "port.new").rename(directory / "port")
    server.wait_for_termination()


if __name__ == "__main__":
    main()
