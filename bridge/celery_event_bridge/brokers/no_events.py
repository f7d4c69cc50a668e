"""Silence of the events, told of once: another folder, database or exchange than Celery's is silent too."""

from __future__ import annotations

from celery_event_bridge.contract import LOOK_INTERVAL, notices

QUIET_AFTER = 60.0
"""Seconds without an event: a worker sends a heartbeat every two."""
A_DAY = 86_400.0


class NoEvents:
    """Follows how many events were heard. All times are monotonic, in seconds."""

    def __init__(self, where: str, same: str) -> None:
        """Begin; `where` they should come, such as `on channel x`, and what has to be the `same` as Celery's."""
        self._where, self._same = where, same
        self._heard = 0
        self._is_told = False
        self._since = self._due = 0.0
        """Time when the last event was seen to have come, or when listening began; and when to tell of it again."""

    def begin(self, now: float) -> None:
        """Listen from now on: there is a connection."""
        self._since = now

    def look(self, heard: int, now: float) -> None:
        """Tell of it once it has lasted, and when it is over; `heard`: number of the next event."""
        seconds = now - self._since
        if heard != self._heard:
            self._heard, self._since = heard, now
            if self._is_told:
                self._is_told = False
                notices.over("no-events", f"events come {self._where}", subject=self._where)
        elif seconds >= QUIET_AFTER and now >= self._due:
            self._due, self._is_told = now + LOOK_INTERVAL, True  # it is counted with each look
            notices.tell(
                "no-events",
                f"no event has come {self._where} for {seconds:.0f} s: do workers run, and with -E "
                f"(worker_send_task_events), and are {self._same} those of Celery?",
                subject=self._where,
                every=A_DAY,
            )
