"""Parking, against a broker."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import amqp
import pytest

from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.parking import AmqpParking
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology, declare_queue
from celery_event_bridge.contract import JSON, Rejection
from celery_event_bridge.contract.broker import BrokerUnavailable, Parcel
from tests.faults.proxy import Proxy
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.oracle import Published
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import PATIENCE, until
from tests.support.stores import SqliteStore

QUEUE = "celeryev.bridge.rejected"


def park_all(subject: AmqpParking, parcels: list[Parcel]) -> None:
    """Ask again and again, as the relay does, until all are confirmed."""
    waiting = list(parcels)
    deadline = time.monotonic() + 20 * PATIENCE
    while waiting:
        assert time.monotonic() < deadline
        for parcel in subject.park(waiting):
            waiting.remove(parcel)
        time.sleep(0.01)


def test_what_the_broker_does_not_take_is_not_parked(broker_url: str) -> None:
    """Without its queue the default exchange would drop it: that is an error, until the queue is there."""
    settings = Settings(broker_url=broker_url)
    subject = AmqpParking(settings, QUEUE)
    message = Delivered("lane", 1, b"no event", JSON, {}, exchange="celeryev", routing_key="task.multi")
    parcel = Parcel(message, Rejection("undecodable", "it is no JSON"))
    other = Parcel(message, parcel.why)
    with pytest.raises(BrokerUnavailable, match="the queue is not there"):
        park_all(subject, [parcel, other])
    with oracle.broker(broker_url) as connection:
        declare_queue(connection.channel(), Topology.from_settings(settings).rejected)
    park_all(subject, [parcel, other])
    subject.close()
    assert [b"no event"] * 2 == [bytes(parked.body) for parked in oracle.drain(broker_url, QUEUE)]


def test_headers_that_fill_a_frame_are_no_dead_end(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """A message that has no room for our headers is parked without its largest, and what comes after it is stored."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    headers = {"hostname": "w1@test", "filler": "x" * 130_900}
    bad = Published(b"no event", {"content_type": "text/plain", "application_headers": headers}, "task.sent")
    good = oracle.numbered(0, 100)
    oracle.publish(broker_url, [bad, *good])
    until(lambda: bridge.metric("messages_rejected_total") == 1, 20, "it is parked")
    until(lambda: store.count() == len(good), 20, "the others are stored")
    assert 0 == bridge.stop()
    (parked,) = oracle.drain(broker_url, QUEUE)
    assert b"no event" == bytes(parked.body)
    found = parked.properties["application_headers"]
    assert ("w1@test", ["filler"]) == (found["hostname"], found["x-bridge-headers-left-off"])


def test_what_can_never_be_parked_holds_nothing_up(
    start_bridge: Callable[..., Bridge], own_rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """Far more than a bridge may have in hand goes past it."""
    url = own_rabbitmq.new_vhost()
    vhost = urlsplit(url).path[1:]
    own_rabbitmq.ctl("add_user", "parker", "open-sesame")
    try:
        own_rabbitmq.ctl("set_permissions", "-p", vhost, "parker", ".*", "^(?!amq.default).*", ".*")
        mine = url.replace("guest:guest", "parker:open-sesame")
        with oracle.broker(url) as connection:
            Topology.from_settings(Settings(broker_url=url)).declare(connection.channel())
        store = SqliteStore(tmp_path)
        options = {
            "BRIDGE_DECLARE": "false",
            "BRIDGE_MAX_INFLIGHT_BYTES": "65536",
            "BRIDGE_RETRY_MAX_INTERVAL": "1",
        }
        bridge = start_bridge(**store.settings, **options, BRIDGE_BROKER_URL=mine).await_ready()
        bad = Published(b"no event", {"content_type": "text/plain"}, "task.sent")
        oracle.publish(url, [bad])
        until(lambda: bridge.logged("parking unavailable"), 20, "it cannot be parked")
        good = oracle.numbered(0, 300, size=1000)
        oracle.publish(url, good)
        until(lambda: store.count() == len(good), 60, "the others are stored")
        until(lambda: bridge.metric("inflight_messages") == 1, 20, "nothing else is in hand")
        own_rabbitmq.ctl("set_permissions", "-p", vhost, "parker", ".*", ".*", ".*")
        until(lambda: bridge.metric("messages_rejected_total") == 1, 60, "it is parked at last")
        assert 0 == bridge.stop()
    finally:
        own_rabbitmq.ctl("delete_user", "parker")


class Nested(amqp.Message):  # type: ignore[misc]
    """A message whose headers are tables in one another, so many that no client can write them field by field."""

    def __init__(self, body: bytes, depth: int) -> None:
        super().__init__(body)
        table = struct.pack(">I", 0)
        for _ in range(depth):
            inner = b"\x01aF" + table
            table = struct.pack(">I", len(inner)) + inner
        kind = b"text/plain"
        self._raw = struct.pack(">H", 1 << 15 | 1 << 13) + bytes([len(kind)]) + kind + table

    def _serialize_properties(self) -> bytes:
        return self._raw


@pytest.mark.parametrize("depth", [60, 500, 700])
def test_headers_that_cannot_be_written_again_end_no_bridge(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path, depth: int
) -> None:
    """They are left off and named; the message is parked, and what comes after it is stored."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    connection = oracle.broker(broker_url)
    connection.channel().basic_publish(Nested(b"no event", depth), "celeryev", "task.sent")
    connection.close()
    oracle.publish(broker_url, oracle.numbered(0, 20))
    until(lambda: store.count() == 20, 20, "the others are stored")
    until(lambda: bridge.metric("messages_rejected_total") == 1, 20, "it is parked")
    assert 0 == bridge.stop()
    (parked,) = oracle.drain(broker_url, QUEUE)
    assert ["a"] == parked.properties["application_headers"]["x-bridge-headers-left-off"]


@pytest.mark.parametrize("delay", [0.0, 0.1])
def test_a_refusal_from_far_away_is_heard(own_rabbitmq: RabbitMQ, delay: float) -> None:
    """However long an answer takes to come, the right that is missing is named."""
    url = own_rabbitmq.new_vhost()
    with oracle.broker(url) as connection:
        declare_queue(connection.channel(), Topology.from_settings(Settings(broker_url=url)).rejected)
    own_rabbitmq.ctl("add_user", "reader", "open-sesame")
    proxy = Proxy(urlsplit(url).port or 5672)
    proxy.delay = delay
    try:
        own_rabbitmq.ctl("set_permissions", "-p", urlsplit(url).path[1:], "reader", ".*", "^$", ".*")
        mine = url.replace("guest:guest", "reader:open-sesame").replace(f":{urlsplit(url).port}/", f":{proxy.port}/")
        subject = AmqpParking(Settings(broker_url=mine), QUEUE)
        message = Delivered("lane", 1, b"no event", JSON, {}, exchange="celeryev", routing_key="task.multi")
        with pytest.raises(BrokerUnavailable) as failure:
            park_all(subject, [Parcel(message, Rejection("undecodable", "it is no JSON"))])
        assert 403 == failure.value.code
    finally:
        proxy.close()
        own_rabbitmq.ctl("delete_user", "reader")


def test_a_connection_that_was_lost_while_nothing_was_parked_costs_no_attempt(broker_url: str) -> None:
    """It is looked at before it is used: after an attempt that fails a large message is tried a minute later."""
    with oracle.broker(broker_url) as connection:
        declare_queue(connection.channel(), Topology.from_settings(Settings(broker_url=broker_url)).rejected)
    port = urlsplit(broker_url).port or 5672
    proxy = Proxy(port)
    try:
        subject = AmqpParking(Settings(broker_url=broker_url.replace(f":{port}/", f":{proxy.port}/")), QUEUE)
        message = Delivered("lane", 1, b"no event", JSON, {}, exchange="celeryev", routing_key="task.multi")
        for _ in range(2):
            park_all(subject, [Parcel(message, Rejection("undecodable", "it is no JSON"))])
            proxy.cut()
        subject.close()
    finally:
        proxy.close()
    assert 2 == oracle.depth(broker_url, QUEUE)


def test_what_was_confirmed_before_a_refusal_is_parked_once(own_rabbitmq: RabbitMQ) -> None:
    """The confirm comes first, and the refusal is raised next time, also where both have come together."""
    url = own_rabbitmq.new_vhost()
    with oracle.broker(url) as connection:
        full_with_one = {"x-max-length": 1, "x-overflow": "reject-publish"}
        connection.channel().queue_declare(QUEUE, durable=True, auto_delete=False, arguments=full_with_one)
    subject = AmqpParking(Settings(broker_url=url), QUEUE)
    why = Rejection("undecodable", "it is no JSON")
    first, second = (
        Parcel(Delivered("lane", tag, b"no event", JSON, {}, exchange="celeryev", routing_key="task.multi"), why)
        for tag in (1, 2)
    )
    parked: list[Parcel] = []

    def refused() -> bool:
        try:
            parked.extend(subject.park([] if parked or subject.under_way else [first, second]))
        except BrokerUnavailable as exc:
            return "refused" in str(exc)
        if subject.under_way:
            until(lambda: oracle.depth(url, QUEUE) == 1, 10, "the first is in the queue")
        return False

    until(refused, 10, "the second is refused")
    assert [first] == parked
    subject.close()
