"""AMQP connections whose synchronous calls end: with an answer, or with a TimeoutError.

py-amqp waits for the next frame, and takes a heartbeat for one. A broker that sends heartbeats and no answer, as
RabbitMQ does to `basic.consume` while a quorum queue has no leader, would be waited for without end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import pyamqp

from celery_event_bridge.brokers.rabbitmq.frames import legible_names, tolerant_frame_handler

CALL_TIMEOUT = 5.0
"""Seconds that a synchronous call may take before the connection counts as lost."""


class BoundedChannel(pyamqp.Channel):
    """A channel of a BoundedConnection."""

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for a method's answer. Raises TimeoutError."""
        with self.connection.call():
            return super().wait(*args, **kwargs)

    def dispatch_method(self, method_sig: tuple[int, int], payload: Any, content: Any) -> Any:
        """Act on a method; a delivery whose names are no text is a delivery all the same."""
        return super().dispatch_method(method_sig, legible_names(method_sig, payload), content)


class BoundedConnection(pyamqp.Connection):
    """See the module's text."""

    Channel = BoundedChannel
    _call_ends = 0.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"frame_handler": tolerant_frame_handler, **kwargs})

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for a method's answer. Raises TimeoutError."""
        with self.call():
            return super().wait(*args, **kwargs)

    def blocking_read(self, timeout: float | None = None) -> Any:
        """Read a frame and act on it. Not `drain_events`, which calls this until a frame is no heartbeat."""
        if self._call_ends:
            timeout = self._call_ends - time.monotonic()
            if timeout <= 0:
                raise TimeoutError(f"no answer in {CALL_TIMEOUT:g} s")
        return super().blocking_read(timeout)

    @contextmanager
    def call(self) -> Iterator[None]:
        """While inside, all waiting together ends in time."""
        outermost = not self._call_ends
        if outermost:
            self._call_ends = time.monotonic() + CALL_TIMEOUT
        try:
            yield
        finally:
            if outermost:
                self._call_ends = 0.0
