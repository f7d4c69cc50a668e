"""Numbers that a seed sets, so small that what they bound is reached: what happens once a week happens every minute.

The technique is that of FoundationDB's simulation, which calls them so.
"""

from __future__ import annotations

import random
from typing import NamedTuple, Self

from celery_event_bridge.forward import ledger

BUDGET, SMALL_BUDGET = 300_000, 65_536
"""Bytes that a replica may have in hand."""
LARGEST, LARGER = 8_000, 60_000
"""Bytes of a message."""
PREFETCH, LARGE_PREFETCH = 40, 200


class Knobs(NamedTuple):
    """What a play has instead of what a bridge has."""

    max_message_bytes: int = LARGEST
    """Bytes past which a message is parked; an event with a large result has three eighths of them."""
    many_lanes: int = ledger.MANY_LANES
    """See `celery_event_bridge.forward.ledger`."""
    max_inflight_bytes: int = BUDGET
    prefetch: int = PREFETCH
    may_declare: bool = True
    """False where the bridge's user may not configure: somebody else has declared the queues."""

    @classmethod
    def drawn(cls, seed: str, *, scarce: bool, restricted: bool) -> Self:
        """Return what a seed draws; with `scarce`, memory may be so for its messages; `restricted`, rights missing."""
        draw = random.Random(f"knobs {seed}")
        return cls(
            max_message_bytes=draw.choice((LARGEST, LARGEST, LARGER if scarce else LARGEST)),
            many_lanes=draw.choice((1, 2, ledger.MANY_LANES)),
            max_inflight_bytes=draw.choice((BUDGET, BUDGET, SMALL_BUDGET if scarce else BUDGET)),
            prefetch=draw.choice((PREFETCH, PREFETCH, LARGE_PREFETCH)),
            may_declare=draw.random() < 0.75 or not restricted,
        )

    @property
    def roomy(self) -> bool:
        """Return whether memory is never scarce."""
        return self.max_message_bytes == LARGEST and self.max_inflight_bytes == BUDGET

    def in_place(self) -> list[tuple[object, str, object]]:
        """Return what has to be replaced for the length of a play: an object, its attribute, and the value."""
        return [(ledger, "MANY_LANES", self.many_lanes)]
