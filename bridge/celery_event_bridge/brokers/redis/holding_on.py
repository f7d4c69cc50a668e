"""Holder of the lease while the server takes no writes: it cannot be renewed, and nobody else can take it.

See `lease`. PUB/SUB goes on meanwhile, and so the others are told: who takes the lease later than that waits.
"""

from __future__ import annotations

import re

from celery_event_bridge.brokers.redis.lease import LEASE

_NO_WRITES = re.compile(r"\b(?:MISCONF|NOREPLICAS)\b")


def is_without_writes(error: str) -> bool:
    """Return whether the server refuses every write, by whomever."""
    return _NO_WRITES.search(error) is not None


class HoldingOn:
    """Record of what this replica has said of it, and heard of another one. All times are monotonic, in seconds."""

    def __init__(self) -> None:
        self.begun = False
        """True once a renewal of ours was refused."""
        self.told_at: float | None = None
        """Time from which on all who listen have been told."""
        self._mark: str | None = None
        """The first mark that says so."""
        self._another_at = float("-inf")

    def said(self, mark: str) -> bool:
        """Return whether the next mark is to say so."""
        if self.begun and self._mark is None:
            self._mark = mark
        return self.begun

    def heard(self, mark: str, now: float) -> None:
        """Take note of a mark of ours that has come back."""
        if mark == self._mark and self.told_at is None:
            self.told_at = now

    def another(self, now: float) -> None:
        """Take note that another one holds on."""
        self._another_at = now

    def consequence(self, now: float, *, ours: bool) -> str:
        """Say who forwards meanwhile."""
        if ours:
            return "this bridge forwards on, and no other one could take over"
        if now - self._another_at < LEASE:
            return "the one that forwards goes on, and this one could not take over"
        return (
            "nobody can take it, and so nobody forwards: events wait here, within BRIDGE_MAX_INFLIGHT_BYTES and "
            "BRIDGE_SPOOL, and past that they are dropped"
        )
