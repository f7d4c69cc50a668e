"""Errors of redis-py and the socket, as a line that says what to do."""

from __future__ import annotations

import pytest
from redis.exceptions import InvalidResponse

from celery_event_bridge.brokers.redis.errors import translated
from celery_event_bridge.contract.broker import BrokerUnavailable


def test_a_server_that_is_no_redis_is_told_of_with_what_to_look_at() -> None:
    """Such as a port of HTTP, whose answer means nothing to a reader."""
    with pytest.raises(BrokerUnavailable) as caught, translated("h:80"):
        raise InvalidResponse('Protocol error, got "H" as reply type byte')
    assert str(caught.value).startswith("Redis at h:80: Protocol error")
    assert str(caught.value).endswith("look at host and port in BRIDGE_BROKER_URL")
