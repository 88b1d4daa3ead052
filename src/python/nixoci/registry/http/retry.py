"""When to try again, and how long to wait before that."""

from __future__ import annotations

import random
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Callable, Optional

from nixoci.secrets import without_secrets

#: Answers that a second attempt may not get: time-out, too many requests, trouble in the registry
#: or in a proxy before it.
RETRYABLE_STATUSES = frozenset((408, 429, 500, 502, 503, 504))


#: Seconds after which it is told again that a host has the same trouble.
_NEWS_AGAIN = 60.0


def tell_on_stderr(line: str) -> None:
    """Writes a line for the user, over the one that shows on a terminal how far a push is."""
    start = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(f"{start}nixoci: {line}", file=sys.stderr, flush=True)


class Notices:
    """Tells what is waited for: many requests that wait for the same thing get one line.

    :param tell: takes a line.
    """

    def __init__(self, tell: Callable[[str], object] = tell_on_stderr) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str], float] = {}

    def tell(self, host: str, why: str, rest: str) -> None:
        """Tells once in a while that something is wrong with a host, and what is done about it."""
        now = time.monotonic()
        with self._lock:
            if now - self._told.get((host, why), -_NEWS_AGAIN) < _NEWS_AGAIN:
                return
            self._told[host, why] = now
        self._tell(without_secrets(f"{host}: {why}; {rest}"))


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how fast.

    :param attempts: of one request, or of the upload of one blob, at least 1.
    :param first_delay: seconds between the first two attempts; each later delay is twice as long.
    :param longest_delay: seconds; a registry that asks for more gets this.
    :param wait: waits for seconds; it may raise, also for 0 seconds, where all is given up.
    :param notices: tell the user.
    """

    attempts: int = 5
    first_delay: float = 0.5
    longest_delay: float = 30.0
    wait: Callable[[float], object] = time.sleep
    notices: Notices = field(default_factory=Notices, compare=False)

    def pause(
        self, attempt: int, retry_after: Optional[str] = None, *, host: str = "", why: str = ""
    ) -> None:
        """Waits after the attempt of this number, the first one being 0.

        :param retry_after: the header `Retry-After` of the answer.
        :param host: what is waited for, which the user is told.
        :param why: what is wrong with it.
        """
        asked = parse_retry_after(retry_after, time.time()) if retry_after else None
        if asked is None:
            # Several uploads that failed together should not come back together.
            asked = self.first_delay * 2.0**attempt * random.uniform(0.75, 1.25)
        delay = min(asked, self.longest_delay)
        if host:
            # What failed because all is given up is no news.
            self.wait(0)
            self.notices.tell(host, why, self._plan(attempt, delay))
        self.wait(delay)

    def _plan(self, attempt: int, delay: float) -> str:
        left = max(self.attempts - 1 - attempt, 1)
        later = sum(
            min(self.first_delay * 2.0**number, self.longest_delay)
            for number in range(attempt + 1, attempt + left)
        )
        if left == 1:
            return f"trying again once more in {delay:.1f} s"
        return (
            f"trying again in {delay:.1f} s, up to {left} times (about {delay + later:.0f} s in all)"
        )


def parse_retry_after(value: str, now: float) -> Optional[float]:
    """Returns the seconds that a `Retry-After` header asks for (RFC 9110, section 10.2.3).

    :param now: seconds since the epoch, which a date in the header is compared to.
    :returns: never negative; None if it is neither a number of seconds nor a date.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        # Python reads a very long number slowly, and all of them mean "long".
        return float(text[:9]) if len(text) <= 9 else 1e9
    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=timezone.utc)
        return max(0.0, date.timestamp() - now)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
