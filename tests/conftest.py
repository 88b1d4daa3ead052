"""Tests are the same whether they run in the foreground of a shell or not."""

from __future__ import annotations

import signal

# A shell without job control starts what runs in the background with SIGINT ignored, and each program
# hands that on to those that it starts. Tests send SIGINT to some of them, which have to end then.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
