"""Connections to RabbitMQ: what a client library would do by itself, or end the process by."""

from __future__ import annotations

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
