"""Questions that the management API alone answers, for a bridge that has one; its client is imported only then."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    from celery_event_bridge.brokers.rabbitmq.background import Background
    from celery_event_bridge.brokers.rabbitmq.migration_marks import Route
    from celery_event_bridge.brokers.rabbitmq.settings import Settings
    from celery_event_bridge.brokers.rabbitmq.topology import Topology

AT_MOST = 5.0
"""Seconds to wait for an answer with everything else going on."""
PROMPT = 1.0
"""Seconds to wait for one while a connection is made, with nothing else going on."""


class BindingWatch:
    """Asks, in a thread, whether the live queue is bound; without the API nothing is known."""

    def __init__(self, settings: Settings, topology: Topology) -> None:
        self._settings = settings
        self._topology = topology
        self._answers: list[Route | None] = []
        self._thread: threading.Thread | None = None
        self._until = 0.0

    def asked(self) -> bool:
        """Return whether there is nothing to wait for; begins to ask if nobody has. Returns at once."""
        thread = self._thread or self._begin()
        return thread is None or not thread.is_alive() or time.monotonic() >= self._until

    def route(self) -> Route | None:
        """Return whether the binding is there, by what was asked, or else asks now; None: nobody knows."""
        if self._thread is None and (thread := self._begin()) is not None:
            thread.join(PROMPT)
        self._thread = None  # one that has not answered in AT_MOST is not waited for again
        return self._answers[-1] if self._answers else None

    def _begin(self) -> threading.Thread | None:
        if self._settings.management_url is None:
            return None
        self._answers, self._until = [], time.monotonic() + AT_MOST
        self._thread = threading.Thread(target=self._ask, args=(self._answers,), name="binding", daemon=True)
        self._thread.start()
        return self._thread

    def _ask(self, answers: list[Route | None]) -> None:
        from celery_event_bridge.brokers.rabbitmq import management

        with suppress(BrokerUnavailable):  # the look at the policies tells
            answers.append(management.route(self._settings, self._topology))


def policy_watch(settings: Settings, topology: Topology) -> Background | None:
    """Return what looks at the policies again; None without the API."""
    if settings.management_url is None:
        return None
    from celery_event_bridge.brokers.rabbitmq.background import Background
    from celery_event_bridge.brokers.rabbitmq.management import WATCH_INTERVAL, tell_of_policies

    return Background(partial(tell_of_policies, settings, topology, set()), WATCH_INTERVAL)
