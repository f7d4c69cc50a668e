"""The time by which entries are removed for their age: Redis's own, and never that of the machine the bridge runs on.

A replica whose clock is days ahead would remove what was stored a moment ago. Redis gives each entry the time of its
own clock, so it is that clock which says how old an entry is. Should it jump ahead itself, what was stored before the
jump is not older for it: the time before the jump goes on, by the monotonic clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from celery_event_bridge.contract import notices
from celery_event_sinks.redis.client import RedisClient

JUMP = 60.0
"""Seconds by which two clocks may differ, or one step, before it is told of."""


class StreamClock:
    """Pure but for the clocks, which can be given."""

    def __init__(
        self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] | None = None
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._behind: float | None = None
        """Redis's time less the monotonic clock, in seconds: the least that was ever seen, but for steps of seconds."""
        self._last: float | None = None
        """The same, as it was seen last."""

    def saw(self, seconds: float, where: str) -> None:
        """Take note of the answer to `TIME`; tells of a jump, and of this machine's clock where it differs."""
        behind = seconds - self._monotonic()
        if self._last is not None and abs(jump := behind - self._last) > JUMP:
            notices.tell(
                "clock",
                f"the clock of Redis at {where} has jumped by {jump:+.0f} s: entries are removed for their age by "
                "the time before a jump ahead; set the server's clock right",
                subject=f"jump {where}",
            )
        apart = (time.time() if self._wall is None else self._wall()) - seconds
        if abs(apart) > JUMP:
            notices.tell(
                "clock",
                f"this machine's clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} that of Redis at "
                f"{where}: set the wrong one right; entries are removed for their age by that of Redis alone",
                subject=f"apart {where}",
            )
        else:
            notices.over(
                "clock", f"the clocks of Redis at {where} and of this machine agree again", subject=f"apart {where}"
            )
        self._last = behind
        if self._behind is None or behind - self._behind <= JUMP:
            self._behind = behind

    def ask(self, client: RedisClient) -> int | None:
        """Ask Redis for its time; returns `milliseconds`. Raises SinkUnavailable."""
        reply = client.ask("TIME")
        if isinstance(reply, list) and len(reply) == 2:  # not so for a user who may not ask
            self.saw(int(reply[0]) + int(reply[1]) / 1e6, client.where)
        return self.milliseconds()

    def ahead(self, milliseconds: int) -> float:
        """Return by how many seconds a time is ahead of Redis's clock now; 0 where that is not known."""
        return 0.0 if self._last is None else milliseconds / 1000 - self._last - self._monotonic()

    def milliseconds(self) -> int | None:
        """Return the time in milliseconds since 1970; None before Redis has said it."""
        return None if self._behind is None else round((self._behind + self._monotonic()) * 1000)
