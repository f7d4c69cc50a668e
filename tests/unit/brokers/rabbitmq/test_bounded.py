"""Connections to RabbitMQ: what a client library would do by itself, or end the process by."""

from __future__ import annotations

import socket
import struct
import threading

import pytest
from amqp.exceptions import RecoverableConnectionError, UnexpectedFrame

from celery_event_bridge.brokers.rabbitmq.bounded import BoundedConnection
from celery_event_bridge.brokers.rabbitmq.connection import abandon


def test_reading_from_a_connection_that_was_given_up_makes_no_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread reads while another gives it up: py-amqp connects anew on access, to log in where nobody wants it."""
    connection = BoundedConnection("localhost")
    made: list[object] = []
    monkeypatch.setattr(connection, "connect", lambda: made.append(connection))
    abandon(connection)
    with pytest.raises(RecoverableConnectionError):
        connection.drain_events(timeout=0.05)
    assert not made


def test_a_method_on_a_channel_that_is_not_open_is_an_error_of_the_connection() -> None:
    """py-amqp raises a KeyError, and the process would end by it."""
    connection = BoundedConnection("localhost")
    with pytest.raises(UnexpectedFrame, match="channel 3"):
        connection.on_inbound_method(3, (60, 60), b"", None)


def test_a_frame_that_trickles_in_ends_the_call_and_not_the_frame() -> None:
    """Each byte comes well within the time-out of the socket: it is the call's deadline that counts."""
    sent, over = [0], threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            peer, _ = listener.accept()
            with peer:
                for byte in struct.pack(">BHI", 1, 0, 92) + b"x" * 92 + b"\xce":
                    if over.wait(0.05):
                        return
                    peer.sendall(bytes([byte]))
                    sent[0] += 1

        thread = threading.Thread(target=trickle)
        thread.start()
        connection = BoundedConnection("127.0.0.1")
        transport = connection.Transport(f"127.0.0.1:{listener.getsockname()[1]}", connect_timeout=5, read_timeout=5)
        transport.connect()
        try:
            with pytest.raises(TimeoutError, match="no answer within"), connection.call(0.3):
                transport.read_frame()
            assert sent[0] < 100
        finally:
            over.set()
            thread.join(10)
            transport.close()
