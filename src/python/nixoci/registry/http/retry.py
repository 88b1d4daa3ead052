"""When to try again, and how long to wait before that."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import Callable, Optional

#: Answers that a second attempt may not get: time-out, too many requests, trouble in the registry
#: or in a proxy before it.
RETRYABLE_STATUSES = frozenset((408, 429, 500, 502, 503, 504))


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how fast.

    :param attempts: of one request, or of the upload of one blob, at least 1.
    :param first_delay: seconds between the first two attempts; each later delay is twice as long.
    :param longest_delay: seconds; a registry that asks for more gets this.
    :param wait: waits for seconds.
    """

    attempts: int = 5
    first_delay: float = 0.5
    longest_delay: float = 30.0
    wait: Callable[[float], object] = time.sleep

    def pause(self, attempt: int, retry_after: Optional[str] = None) -> None:
        """Waits after the attempt of this number, the first one being 0.

        :param retry_after: the header `Retry-After` of the answer.
        """
        asked = parse_retry_after(retry_after, time.time()) if retry_after else None
        if asked is None:
            # Several uploads that failed together should not come back together.
            asked = self.first_delay * 2.0**attempt * random.uniform(0.75, 1.25)
        self.wait(min(asked, self.longest_delay))


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
