"""Signs of life of `run` in its log: that it consumes, its first event, then a line a minute with rates."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

import structlog

from celery_event_bridge.contract import notices

log = structlog.get_logger("celery_event_bridge")

INTERVAL = 60.0
"""Seconds between two lines with rates; none where nothing was stored meanwhile."""
NO_TASKS_AFTER = 60.0
"""Seconds from the first event of a worker after which it is said that none of a task has come."""
A_DAY = 86_400.0


class Pulse:
    """Follows the relay; `turn` is called with each turn of its loop, and costs a comparison."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._consumes = False
        self._first = False
        """True once the first event was told of."""
        self._due = self._began = clock()
        self._counted = 0
        """Events stored until the last line."""
        self._alone_since: float | None = None
        """Time when the first event came, while none of a task has."""
        self._task_seen = self._told = False

    def consuming(self) -> None:
        """Tell, the first time, that both ends are there."""
        if not self._consumes:
            self._consumes = True
            log.info("consuming: broker and sink are there")

    def received(self, types: Collection[str]) -> None:
        """Take note of the types that have come."""
        if self._task_seen:
            return
        if any(each.startswith("task-") for each in types):
            self._task_seen, self._alone_since = True, None
            notices.over("no-task-events", "events of tasks come")
        elif self._alone_since is None and types:
            self._alone_since = self._clock()

    def turn(self, stored: int, in_hand: int, waiting: Mapping[str, int]) -> None:
        """Say what there is to say; `stored` are the events since the start, `waiting` ready messages by queue."""
        if stored and not self._first:
            self._first = True
            self._began, self._due = self._clock(), self._clock() + INTERVAL
            log.info("first events are stored", events=stored)
            self._counted = stored
        now = self._clock()
        if self._alone_since is not None and not self._told and now - self._alone_since >= NO_TASKS_AFTER:
            self._told = True
            notices.tell(
                "no-task-events",
                f"workers send events, and for {NO_TASKS_AFTER:.0f} s none of a task is among them: is there work, and "
                "do the workers run with -E (worker_send_task_events)?",
                every=A_DAY,
            )
        if now < self._due or not self._first:
            return
        events, seconds = stored - self._counted, now - self._began
        self._began, self._due, self._counted = now, now + INTERVAL, stored
        if events:
            left = {name: count for name, count in waiting.items() if count}
            log.info(
                "events stored",
                events=events,
                per_second=round(events / seconds, 1),
                in_hand=in_hand,
                **({"waiting": left} if left else {}),
            )
