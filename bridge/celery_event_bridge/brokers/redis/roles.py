"""Roles of the replicas, told of as they change: who forwards, who stands by, and who stores elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery_event_bridge.brokers.redis.lease import Lease, Outcome
from celery_event_bridge.contract import notices

log = logging.getLogger("celery_event_bridge")


class Roles:
    """Knowledge of who forwarded when it was last told."""

    def __init__(self) -> None:
        self._standing_by_for = ""

    def tell(self, outcome: Outcome, lease: Lease, where: str, stored_in: Callable[[], str]) -> str:
        """Tell of what is new; return why the one that forwards does not do so for us, or an empty text."""
        if outcome.taken:
            self._standing_by_for = ""
            log.info("this bridge forwards the events of Redis at %s, and the others stand by", where)
        elif lease.holder and lease.holder not in (lease.owner, self._standing_by_for):
            self._standing_by_for = lease.holder
            log.info("another bridge forwards the events of Redis at %s: this one stands by", where)
        if outcome.lost:
            log.warning("another bridge has taken over the lease: this one stands by")
        if lease.holder in ("", lease.owner) or not lease.location or (ours := stored_in()) in ("", lease.location):
            return ""
        text = f"a bridge that stores in {lease.location} holds the lease, and this one stores in {ours}"
        notices.tell(
            "competitor",
            f"{text}: what that one forwards this one does not; give one of them a BRIDGE_QUEUE of its own",
            subject="lease",
        )
        return text
