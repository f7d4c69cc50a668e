"""Waits before the next attempt. Nothing else in the house knows tenacity."""

from __future__ import annotations

import random
from typing import Any

from tenacity import RetryCallState, Retrying, wait_exponential

FIRST_INTERVAL = 0.25
"""Seconds that the first wait takes at most; each further one up to twice as long, as far as the setting allows."""
LEAST = 0.6
"""Part of a wait that is always waited; the rest is drawn. So there are ten attempts at most in the first 30 s of an
outage with the pauses of the defaults, and replicas still do not come all at once."""


class Backoff:
    """Waits that grow with each failure in a row, with jitter; an outage has no number of attempts."""

    def __init__(self, max_interval: float) -> None:
        self._wait = wait_exponential(multiplier=FIRST_INTERVAL, max=max_interval)
        self._attempt = _Attempt()
        self.failures = 0
        """Failures since the last success."""

    def failed(self) -> float:
        """Count a failure; returns the seconds to wait before the next attempt."""
        self.failures += 1
        self._attempt.attempt_number = self.failures
        return self._wait(self._attempt) * random.uniform(LEAST, 1.0)  # noqa: S311 - no secret

    def succeeded(self) -> None:
        """Start again from the shortest wait."""
        self.failures = 0


class _Attempt(RetryCallState):
    """Attempt as a wait strategy of tenacity looks at it: its number."""

    def __init__(self) -> None:
        super().__init__(Retrying(), fn=None, args=(), kwargs=dict[str, Any]())
