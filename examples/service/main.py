"""A web service with requirements: one of them is all Python, and one has compiled code in it."""

from __future__ import annotations

import os
import signal
import sys

import numpy
from flask import Flask
from waitress import create_server

from examples.service.words import describe

app = Flask(__name__)


@app.get("/<int:count>")
def sums(count: int) -> str:
    """Answers with the sum of the first numbers."""
    return describe(count, int(numpy.arange(count + 1).sum()))


def main() -> None:
    """Serves at the port in `PORT`; 0 is any that is free."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = create_server(app, host="0.0.0.0", port=int(os.environ.get("PORT", "8000")))
    print(f"listening on port {server.effective_port}", flush=True)
    server.run()
