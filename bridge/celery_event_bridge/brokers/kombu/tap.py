"""Look at the live events on the transport `filesystem`, by a queue that ends with the look."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from celery_event_bridge.brokers.kombu.folder import TAP, FolderQueue
from celery_event_bridge.contract.deadline import Deadline

if TYPE_CHECKING:
    from celery_event_bridge.brokers.envelope import Heard
    from celery_event_bridge.brokers.kombu.settings import Settings

MOST_MESSAGES = 500


class Tap:
    """See the protocol `celery_event_bridge.contract.broker_plugin.LiveEvents`. Connects when made.

    The queue of one that was killed is deleted by the next one, or by a bridge.
    """

    def __init__(self, settings: Settings) -> None:
        """Bind a queue. Raises BrokerUnavailable."""
        self._most_bytes = settings.max_inflight_bytes
        self._queue = FolderQueue(settings, tap=f"{TAP}{uuid.uuid4().hex[:12]}")
        self._tag = 0
        try:
            self._queue.open()
        except BaseException:
            self._queue.drop()
            raise

    def messages(self, timeout: float) -> Sequence[Heard]:
        """Return those that have arrived, after up to `timeout` seconds. Raises BrokerUnavailable."""
        deadline = Deadline(timeout)
        while not (taken := self._queue.take(self, self._tag + 1, MOST_MESSAGES, self._most_bytes)):
            if deadline.passed:
                return ()
            time.sleep(min(self._queue.pause, deadline.left()))
        for name, heard in taken:
            self._tag = heard.tag
            self._queue.forget(name)
        return [heard for _, heard in taken]

    def close(self) -> None:
        """Delete the queue. Never raises."""
        self._queue.drop()
