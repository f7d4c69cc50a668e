"""Questions that the management API alone answers, for a bridge that has one; its client is imported only then."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery_event_bridge.brokers.rabbitmq.management import PolicyWatch
    from celery_event_bridge.brokers.rabbitmq.topology import Topology
    from celery_event_bridge.config.settings import Settings


def is_unbound(settings: Settings, topology: Topology) -> bool:
    """Return whether the live queue is known to be unbound; without the API nothing is known."""
    if settings.management_url is None:
        return False
    from celery_event_bridge.brokers.rabbitmq import management

    return management.is_unbound(settings, topology)


def policy_watch(settings: Settings, topology: Topology) -> PolicyWatch | None:
    """Return what looks at the policies again; None without the API."""
    if settings.management_url is None:
        return None
    from celery_event_bridge.brokers.rabbitmq.management import PolicyWatch, tell_of_policies

    return PolicyWatch(partial(tell_of_policies, settings, topology))
