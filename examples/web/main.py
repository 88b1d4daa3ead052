"""A web service of the standard library. `PORT` says where it listens; 0 is any free port."""

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from examples.web.greeting import greeting


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = greeting(self.path).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    # The first process of a container ends at SIGTERM only if it says so.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with ThreadingHTTPServer(("", int(os.environ.get("PORT", "8000"))), Handler) as server:
        print(f"listening on port {server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
