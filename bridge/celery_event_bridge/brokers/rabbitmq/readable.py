"""Poller of a connection's socket, which also sees what TLS has decrypted already."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import amqp


class Readable:
    """Tells whether anything has arrived on a connection."""

    def __init__(self, connection: amqp.Connection) -> None:
        self._socket = connection.transport.sock
        self._poller = select.poll()
        self._poller.register(self._socket, select.POLLIN)

    def within(self, timeout: float) -> bool:
        """Return whether something arrives within `timeout` seconds."""
        pending = getattr(self._socket, "pending", None)  # bytes that TLS has decrypted already
        return bool(pending and pending()) or bool(self._poller.poll(timeout * 1000))
