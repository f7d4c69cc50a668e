"""AMQP connections whose synchronous calls end: with an answer, or with a TimeoutError.

py-amqp waits for the next frame, and takes a heartbeat for one. A broker that sends heartbeats and no answer, as
RabbitMQ does to `basic.consume` while a quorum queue has no leader, would be waited for without end.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from amqp.exceptions import RecoverableConnectionError, UnexpectedFrame
from kombu.transport import pyamqp

from celery_event_bridge.brokers.rabbitmq.frames import legible_names, tolerant_frame_handler
from celery_event_bridge.contract.deadline import Deadline

PLAIN = socket.socket
"""Class of a socket without TLS."""
CALL_TIMEOUT = 5.0
"""Seconds that a synchronous call may take before the connection counts as lost."""
CONNECT_TIMEOUT = 10.0
"""Seconds that the whole login may take, once the name is resolved; each step of it has the client's own time-out."""


def write_all(sock: socket.socket, data: memoryview | bytes) -> None:
    """Write as `sendall` does, which asks first whether there is room: there is, but for a broker that is stuck."""
    try:
        written = os.write(sock.fileno(), data)
    except BlockingIOError:
        written = 0
    if written < len(data):
        sock.sendall(data[written:])


class BoundedChannel(pyamqp.Channel):
    """A channel of a BoundedConnection."""

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for a method's answer. Raises TimeoutError."""
        with self.connection.call():
            return super().wait(*args, **kwargs)

    def _do_revive(self) -> None:
        """Let go of a channel that the broker has closed, and of its number.

        py-amqp opens it again, which waits for an answer in the midst of whatever was read; and who does not expect it
        leaves an open channel behind for each refusal.
        """
        self.collect()

    def dispatch_method(self, method_sig: tuple[int, int], payload: Any, content: Any) -> Any:
        """Act on a method; a delivery whose names are no text is a delivery all the same."""
        return super().dispatch_method(method_sig, legible_names(method_sig, payload), content)


class BoundedConnection(pyamqp.Connection):
    """See the module's text."""

    Channel = BoundedChannel
    _deadline: Deadline | None = None
    """Deadline of the outermost call under way."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"frame_handler": tolerant_frame_handler, **kwargs})

    @property
    def transport(self) -> Any:
        """Return the transport. Raises RecoverableConnectionError where there is none.

        py-amqp connects anew then, and logs in: on a connection that one thread has given up while another reads.
        """
        if self._transport is None:
            raise RecoverableConnectionError("the connection was given up")
        return self._transport

    @transport.setter
    def transport(self, transport: Any) -> None:
        self._transport = transport

    def connect(self, callback: Any = None) -> Any:
        """Connect and log in. Raises TimeoutError."""
        with self.call(CONNECT_TIMEOUT):
            return super().connect(callback)

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for a method's answer. Raises TimeoutError."""
        with self.call():
            return super().wait(*args, **kwargs)

    def Transport(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - py-amqp's hook
        """Make the transport, whose every read keeps to the deadline of the call: a peer may trickle."""
        transport = super().Transport(*args, **kwargs)
        set_up = transport._setup_transport

        def set_up_bounded() -> None:
            set_up()
            transport._quick_recv = partial(self._receive, transport, transport._quick_recv)
            if type(transport.sock) is PLAIN:
                transport._write = partial(write_all, transport.sock)

        transport._setup_transport = set_up_bounded
        return transport

    def _receive(self, transport: Any, receive: Callable[[int], bytes], size: int) -> bytes:
        if self._deadline is not None:
            transport.sock.settimeout(self._deadline.timeout())
        return receive(size)

    def _on_tune(self, channel_max: int, frame_max: int, server_heartbeat: int, argsig: str = "BlB") -> None:
        """Keep to our heartbeat where the broker would have a shorter one: a sink may take that long to answer.

        The broker takes what the client settles on.
        """
        if 0 < server_heartbeat < (self.client_heartbeat or 0):
            server_heartbeat = 0
        super()._on_tune(channel_max, frame_max, server_heartbeat, argsig)

    def on_inbound_method(self, channel_id: int, method_sig: tuple[int, int], payload: Any, content: Any) -> Any:
        """Hand a method to its channel. Raises UnexpectedFrame where there is none of that number.

        py-amqp raises a KeyError, which is no end of a connection to anybody.
        """
        if self.channels is not None and channel_id not in self.channels:
            raise UnexpectedFrame(f"method {method_sig} came on channel {channel_id}, which is not open")
        return super().on_inbound_method(channel_id, method_sig, payload, content)

    def drain_events(self, timeout: float | None = None) -> None:
        """Wait for a frame that is no heartbeat, and act on it. Raises TimeoutError after `timeout` seconds in all.

        Within a call, after what is left of that at the latest. With 0, as py-amqp asks before each publish, only what
        is there already is read.
        """
        if timeout is None:
            super().drain_events()
            return
        outer = self._deadline
        self._deadline = None
        if timeout > 0:
            self._deadline = Deadline(timeout if outer is None else min(timeout, outer.timeout()))
        try:
            super().drain_events(timeout)
        finally:
            self._deadline = outer

    def blocking_read(self, timeout: float | None = None) -> Any:
        """Read a frame and act on it, also a heartbeat."""
        if self._deadline is not None:
            timeout = self._deadline.timeout()
        return super().blocking_read(timeout)

    @contextmanager
    def call(self, seconds: float = CALL_TIMEOUT) -> Iterator[None]:
        """End all waiting inside, together, within `seconds`; a call within a call has the outer one's."""
        if self._deadline is not None:
            yield
            return
        self._deadline = Deadline(seconds)
        try:
            yield
        except TimeoutError as exc:
            raise TimeoutError(f"no answer within {seconds:g} s") from exc
        finally:
            self._deadline = None
