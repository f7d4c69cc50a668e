"""Target of a replay: a broker that stored events go back to, or another sink."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from celery_event_bridge.contract.event import Event


class Decided(msgspec.Struct, frozen=True, gc=False):
    """Outcome for one event that was handed over."""

    number: int
    """The one that it was handed over with."""
    refused: str | None = None
    """Reason why it never will be taken; None where it is confirmed."""


class Target(Protocol):
    """A place where events go, in order. After BrokerUnavailable or SinkUnavailable of `put` and `wait` it is over."""

    where: str
    """As a message names it. Contains no secret."""

    @property
    def returned(self) -> int:
        """Return how many arrived and that nobody has received."""

    @property
    def owed(self) -> int:
        """Return how many are handed over and undecided."""

    @property
    def full(self) -> bool:
        """Return whether to wait before the next one."""

    @property
    def received(self) -> bool:
        """Return whether anybody has received anything: until then nothing counts as done."""

    def put(self, number: int, event: Event) -> None:
        """Hand one over. May return before anything is sent."""

    def wait(self, timeout: float) -> None:
        """Send what was handed over, and see what comes back, for up to `timeout` seconds; less if something does."""

    def take(self) -> Sequence[Decided]:
        """Return what was decided since the last call. Never raises, also after `put` or `wait` has."""

    def close(self) -> None:
        """Release everything. Never raises."""
