"""Queues of ours that somebody has declared with other arguments: used where they can be, said, and moved from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import amqp
import pytest

from celery_event_bridge.brokers.rabbitmq.arguments import differences
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.target import BrokerTarget
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.contract.broker import WouldLoop
from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore

pytestmark = [pytest.mark.fault]

LIVE, OVERFLOW, REJECTED = "celeryev.bridge", "celeryev.bridge.overflow", "celeryev.bridge.rejected"
SHORT: dict[str, Any] = {"x-max-length": 1}
STREAM: dict[str, Any] = {"x-queue-type": "stream"}


def replace(connection: amqp.Connection, queue: str, arguments: dict[str, Any], *, exclusive: bool = False) -> None:
    """Delete it and declare it so: once more if a bridge that looks just then was faster."""

    def done() -> bool:
        channel = connection.channel()
        try:
            channel.queue_delete(queue)
            channel.queue_declare(queue, durable=True, auto_delete=False, exclusive=exclusive, arguments=arguments)
        except amqp.PreconditionFailed:
            return False
        channel.close()
        return True

    until(done, 10, "it is declared so")


def is_ours(url: str) -> bool:
    """Whether overflow has our arguments and a consumer."""
    overflow = Topology.from_settings(Settings(broker_url=url)).overflow
    assert overflow is not None
    with oracle.broker(url) as connection:
        if differences(connection, overflow.name, overflow.arguments):
            return False
        return bool(connection.channel().queue_declare(OVERFLOW, passive=True).consumer_count == 1)


def answer(bridge: Bridge) -> str:
    """The reason of a bridge that is not ready; empty if it is."""
    code, text = bridge.get("/readyz")
    return "" if code == 200 else text.strip()


@pytest.mark.parametrize(
    ("arguments", "exclusive", "said"),
    [
        (SHORT, False, "x-max-length=1 (the settings ask for none)"),
        (STREAM, False, "x-queue-type=stream (the settings ask for quorum)"),
        ({}, True, "belongs to somebody else's connection alone"),
    ],
    ids=["short", "stream", "exclusive"],
)
def test_live_events_are_stored_beside_an_overflow_queue_of_other_arguments(
    start_bridge: Callable[..., Bridge],
    broker_url: str,
    tmp_path: Path,
    arguments: dict[str, Any],
    exclusive: bool,
    said: str,
) -> None:
    """What differs is said, by a bridge that runs and by one that starts; once it is deleted it is ours again."""
    store = SqliteStore(tmp_path)
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url}
    bridge = start_bridge(**settings).await_ready()
    with oracle.broker(broker_url) as connection:
        channel = connection.channel()
        replace(connection, OVERFLOW, arguments, exclusive=exclusive)
        if not exclusive:
            held = amqp.Message(oracle.numbered(500, 1)[0].body, content_type="application/json")
            channel.basic_publish(held, "", OVERFLOW)
        oracle.publish(broker_url, oracle.numbered(0, 20))
        until(lambda: store.count() >= 20, 20, "live events are stored")
        until(lambda: bridge.metric("notices_total", kind="queue-differs") >= 1, 20, "it is counted")
        assert any(said in line["event"] for line in bridge.logged(OVERFLOW))
        assert 0 == bridge.stop()
        consumed = 0 if exclusive or arguments is STREAM else 1
        again = start_bridge(**settings)
        if consumed:
            again.await_ready()
        else:
            until(lambda: answer(again) == f"queue {OVERFLOW!r} cannot be consumed: what is in it waits", 30, "it says")
            assert 1 == again.metric("broker_connected")
        oracle.publish(broker_url, oracle.numbered(100, 20))
        until(lambda: store.count() == 40 + consumed, 20, "and after a start; and what it held, if it can be had")
        until(lambda: again.metric("notices_total", kind="queue-differs") >= 1, 20, "it is counted again")
        channel.queue_delete(OVERFLOW)
    until(lambda: is_ours(broker_url), 30, "it is declared anew, and consumed")
    again.await_ready()
    oracle.publish(broker_url, oracle.numbered(200, 20))
    until(lambda: store.count() == 60 + consumed, 20, "all is stored")


def test_a_live_queue_that_was_declared_anew_with_other_arguments_is_consumed(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """By a bridge that has seen its own there: events are stored, and what differs is said."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    with oracle.broker(broker_url) as connection:
        channel = connection.channel()
        replace(connection, LIVE, {"x-message-ttl": 60_000})
        until(lambda: bridge.metric("notices_total", kind="queue-differs") >= 1, 20, "it is told of")
        # It is told of before it is bound, and consumed after.
        until(lambda: channel.queue_declare(LIVE, passive=True).consumer_count == 1, 20, "it is consumed")
    oracle.publish(broker_url, oracle.numbered(0, 20))
    until(lambda: store.count() == 20, 20, "events are stored")
    assert "x-message-ttl=60000 (the settings ask for 5000)" in bridge.logged("with other arguments")[0]["event"]


def test_a_migration_works_from_an_overflow_queue_of_other_arguments(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """The remedy that is named moves all, with the bridge stopped, and a bridge of the new settings stores it."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    with oracle.broker(broker_url) as connection:
        replace(connection, OVERFLOW, {"x-max-length": 1000})
        until(lambda: bridge.logged("with other arguments"), 20, "it is said")
        assert f"queues migrate --from {LIVE}" in bridge.logged("with other arguments")[0]["event"]
        assert 0 == bridge.stop()
        messages = oracle.numbered(0, 30)
        oracle.publish(broker_url, messages)
        until(lambda: oracle.depth(broker_url, OVERFLOW) == 30, 20, "they are in overflow")
    new = {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_QUEUE": "celeryev.other"}
    moved = run_to_end("celery_event_bridge", "queues", "migrate", "--from", LIVE, "--wait", "1", **new)
    # Without the management API: all is moved, and the old queues stay for what may be held back or in hand.
    assert "`queues remove --force` 190 s from now" in moved.stderr
    assert 0 == oracle.depth(broker_url, OVERFLOW)
    start_bridge(**store.settings, **new).await_ready()
    until(lambda: store.count() == 30, 20, "all is stored")
    assert {message.body for message in messages} == set(store.bodies())


def test_a_migration_from_a_stream_is_refused_in_a_sentence(broker_url: str) -> None:
    """A stream hands out no single message: nothing is changed, and nothing is lost."""
    with oracle.broker(broker_url) as connection:
        channel = connection.channel()
        Topology.from_settings(Settings(broker_url=broker_url)).declare(channel)
        replace(connection, OVERFLOW, STREAM)
        done = run_to_end(
            *("celery_event_bridge", "queues", "migrate", "--from", LIVE),
            BRIDGE_BROKER_URL=broker_url,
            BRIDGE_QUEUE="celeryev.other",
        )
        assert 1 == done.returncode
        assert f"queue {OVERFLOW} is a stream" in done.stderr
        assert "Traceback" not in done.stderr
        with pytest.raises(amqp.NotFound):
            channel.queue_declare("celeryev.other", passive=True)


def test_a_queue_that_is_another_connections_alone_is_taken_for_the_bridges_own(broker_url: str) -> None:
    """By `replay`, which would publish into it: the refusal says so, with the ways out."""
    settings = Settings(broker_url=broker_url)
    with oracle.broker(broker_url) as connection:
        connection.channel().queue_declare(LIVE, exclusive=True)
        with pytest.raises(WouldLoop, match="it would get its own events again"):
            BrokerTarget(settings, again=False)
    BrokerTarget(settings, again=False).close()


def test_all_differences_are_found_and_nothing_is_declared(rabbitmq_server: RabbitMQ, broker_url: str) -> None:
    """Of each kind of argument; and where there is no such queue, there is none afterwards."""
    ours = Topology.from_settings(Settings(broker_url=broker_url)).live
    with oracle.broker(broker_url) as connection:
        channel = connection.channel()
        other = {"x-message-ttl": 7, "x-max-length": 9, "x-single-active-consumer": True, "x-queue-mode": "lazy"}
        channel.queue_declare("q", durable=False, auto_delete=True, arguments=other)
        found = differences(connection, "q", ours.arguments)
        assert ("7", "5000") == found["x-message-ttl"]
        assert ("none", "quorum") == found["x-queue-type"] or ("classic", "quorum") == found["x-queue-type"]
        assert {*other, "durable", "auto_delete", "x-overflow", "x-dead-letter-exchange"} <= set(found)
        assert {} == differences(connection, "nothing", ours.arguments)
        with pytest.raises(amqp.NotFound):
            channel.queue_declare("nothing", passive=True)
