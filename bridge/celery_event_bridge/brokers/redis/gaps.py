"""Word to the operator on what is lost."""

from __future__ import annotations

from celery_event_bridge.brokers.redis.held import Hole
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.values import counted


def tell_of(hole: Hole, where: str) -> None:
    """Tell of a hole in what is forwarded of that server, and count it."""
    where = f"Redis at {where}"
    if hole.seconds:
        notices.tell(
            "gap",
            f"no bridge was subscribed to the events of {where} for {hole.seconds:.3g} s: what was published in "
            "that time is lost. More replicas make that less likely",
            subject="subscription",
            seconds=hole.seconds,
        )
    if hole.dropped:
        notices.tell(
            "dropped",
            f"{counted(hole.dropped, 'event')} of {where} dropped: the sink took none for so long that "
            "BRIDGE_MAX_INFLIGHT_BYTES was used up, and Redis keeps no events",
            subject="memory",
            count=hole.dropped,
        )
