"""The plug-in of Redis does what every broker's has to; but PUB/SUB cannot keep what is not acknowledged."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

import msgspec
import pytest

from celery_event_bridge.brokers.envelope import Heard, sealed
from celery_event_bridge.brokers.redis.plugin import RedisBroker
from celery_event_bridge.brokers.redis.settings import Settings
from celery_event_bridge.contract.broker import Message
from celery_event_bridge.testing.brokers import BrokerContract
from tests.support.servers import Redis


class TestRedisBroker(BrokerContract):
    """See `BrokerContract`."""

    redelivers = False

    @pytest.fixture
    def make_broker(self, own_redis: Redis) -> Callable[[], RedisBroker]:
        return lambda: RedisBroker(Settings(broker_url=own_redis.url))

    @pytest.fixture
    def publish(self, own_redis: Redis) -> Callable[[Sequence[bytes]], None]:
        def publish(bodies: Sequence[bytes]) -> None:
            with own_redis.client() as client:
                for body in bodies:
                    message = sealed(body, "application/json", {}, "celeryev", "task.sent")
                    client.publish("/0.celeryev/task.sent", message)

        return publish

    @pytest.fixture
    def parked(self, own_redis: Redis) -> Callable[[], list[bytes]]:
        def parked() -> list[bytes]:
            with own_redis.client() as client:
                entries = client.lrange("celeryev.bridge.rejected", 0, -1)
            return [base64.b64decode(msgspec.json.decode(entry)["body"]) for entry in entries]

        return parked

    def message(self, content: bytes) -> Message:
        return Heard("a lane", 1, content, "application/json", {}, routing_key="task.sent")
