"""A connection that was given up stays so, whoever still holds it."""

from __future__ import annotations

import pytest
from amqp.exceptions import RecoverableConnectionError

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
