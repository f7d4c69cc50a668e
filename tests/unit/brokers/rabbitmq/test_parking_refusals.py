"""Refusals of what is to be parked, as RabbitMQ and its client raise them."""

from __future__ import annotations

import struct

import pytest
from amqp.exceptions import AccessRefused, PreconditionFailed

from celery_event_bridge.brokers.rabbitmq.parking import refusals_of
from celery_event_bridge.contract.broker import BrokerUnavailable, MessageRefused

TOO_LARGE = PreconditionFailed("PRECONDITION_FAILED - message size 17 is larger than configured max size 16", (60, 40))


@pytest.mark.parametrize("raised", [TOO_LARGE, struct.error("too long"), RecursionError("too deep"), ValueError("no")])
def test_a_message_that_can_never_be_parked_is_refused_as_such(raised: Exception) -> None:
    """Refused by the broker for its size, or one that the client cannot write: the code stays RabbitMQ's own affair."""
    with pytest.raises(MessageRefused, match=r"^parking: "), refusals_of("parking"):
        raise raised


@pytest.mark.parametrize("raised", [AccessRefused("no right", (60, 40)), OSError("reset"), BrokerUnavailable("away")])
def test_other_failures_of_parking_are_no_refusal_of_a_message(raised: Exception) -> None:
    """A right that is missing and a lost connection have all of them wait: no message is set aside for them."""
    with pytest.raises(BrokerUnavailable) as failure, refusals_of("parking"):
        raise raised
    assert not isinstance(failure.value, MessageRefused)
