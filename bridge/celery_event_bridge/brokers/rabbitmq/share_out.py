"""Part of a source that has shards: an even share for each replica, and a consumer of ours on every shard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from celery_event_bridge.brokers.rabbitmq.balance import BALANCE_INTERVAL, LAST, Balance
from celery_event_bridge.brokers.rabbitmq.lane import Lane
from celery_event_bridge.brokers.rabbitmq.questions import Questions
from celery_event_bridge.brokers.rabbitmq.shard_lane import ShardLane
from celery_event_bridge.contract.broker import GivenBack

LEAVE_WITHIN = 10.0
"""Seconds in which a shard that is handed over has nothing in hand any more, or all that is in hand goes back."""


class ShareOut:
    """Looks at the shares, each second, and hands over what is too much."""

    def __init__(self, shards: Sequence[str], presence: str, reopen: Callable[[Lane], None]) -> None:
        """`presence`: the queue that each bridge consumes; `reopen` closes a lane and opens another one instead."""
        self._shards = shards
        self._presence = presence
        self._reopen = reopen
        self._balance = Balance(shards)
        self._due = 0.0

    def priority(self, shard: str) -> int:
        """Return the priority of our consumer there."""
        return self._balance.priorities.get(shard, LAST)

    def see_to(self, lanes: Sequence[Lane], asking: Questions) -> None:
        """Look, if it is time to. Raises GivenBack, and what the client raises."""
        now = time.monotonic()
        ordered = [lane for lane in lanes if isinstance(lane, ShardLane)]
        if self._is_handing_over(ordered, now) or now < self._due:
            return
        self._due = now + BALANCE_INTERVAL
        own = {lane.queue: lane for lane in lanes if isinstance(lane, ShardLane) and lane.queue in self._shards}
        active = [queue for queue, lane in own.items() if lane.progresses(now)]
        for queue in self._balance.surplus(active, self._replicas(asking)):
            own[queue].leave()
        consumers = {shard: asking.consumers.get(shard, 0) for shard in self._shards if asking.depth(shard) is not None}
        for queue in self._balance.lacking(consumers):
            if queue in own:
                own[queue].leave()
                self._reopen(own[queue])

    def _replicas(self, asking: Questions) -> int:
        """Return how many bridges there are; 1 where none may tell of itself, as with BRIDGE_DECLARE=false."""
        return asking.consumers[self._presence] if asking.depth(self._presence) is not None else 1

    def _is_handing_over(self, lanes: Iterable[ShardLane], now: float) -> bool:
        """Hand over those that have nothing in hand any more; return whether others still have."""
        still = False
        for lane in lanes:
            if (leaving := lane.leaving_for(now)) is None:
                continue
            if lane.empty:
                self._reopen(lane)
            elif leaving > LEAVE_WITHIN:
                raise GivenBack(f"queue {lane.queue!r}: not handed over within {LEAVE_WITHIN:g} s: given back")
            else:
                still = True
        return still
