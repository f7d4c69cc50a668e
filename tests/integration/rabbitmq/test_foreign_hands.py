"""Somebody purges overflow, or consumes a queue of ours: told of, and nothing is told of bridges' own doings."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import amqp
import pytest

from celery_event_bridge.brokers.rabbitmq import purged as purged_module
from celery_event_bridge.brokers.rabbitmq.presence import LOOKS, Presence
from celery_event_bridge.brokers.rabbitmq.purged import PurgeWatch, Trace, leave_trace
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.source import AmqpSource
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.contract import notices
from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.servers.rabbitmq import NativeRabbitMQ
from tests.support.stores import SqliteStore

pytestmark = [pytest.mark.fault]

LIVE, OVERFLOW = "celeryev.bridge", "celeryev.bridge.overflow"
LOOKED = 25.0
"""Seconds in which two looks have gone by."""


def purged() -> int:
    return notices.NOTICES.counts()["purged"]


def test_a_purge_of_overflow_in_an_outage_is_told_of(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """With the number of what is gone, by each bridge that waits for its sink."""
    store = SqliteStore(tmp_path)
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_QUEUE_TTL": "1"}
    start_bridge(**settings).await_ready().stop()
    store.stop()
    try:
        bridge = start_bridge(**settings)
        bridge.await_log("sink unavailable")
        oracle.publish(broker_url, oracle.numbered(0, 300))
        until(lambda: bridge.metric("queue_messages", queue=OVERFLOW) == 300, LOOKED, "it has seen them")
        with oracle.broker(broker_url) as connection:
            connection.channel().queue_purge(OVERFLOW)
        until(lambda: bridge.metric("notices_total", kind="purged") == 300, 4 * LOOKED, "it is counted")
        assert "300 messages are gone from queue 'celeryev.bridge.overflow'" in bridge.logged("are gone")[0]["event"]
    finally:
        store.start()


def test_what_other_bridges_have_taken_was_not_purged(broker_url: str) -> None:
    """Though they begin and leave between two looks: their trace says so, and is gone after a while."""
    topology = Topology.from_settings(Settings(broker_url=broker_url))
    watch = PurgeWatch(LIVE, OVERFLOW, trace_for=2.0)
    with oracle.broker(broker_url) as connection:
        channel = connection.channel()
        topology.declare(channel)
        confirms = oracle.Confirms(channel)
        confirms.publish([each._replace(routing_key=OVERFLOW) for each in oracle.numbered(0, 40)], "")
        confirms.wait()

        def look() -> None:
            found = connection.channel().queue_declare(OVERFLOW, passive=True)
            watch.look(connection, time.monotonic(), found.message_count, found.consumer_count)

        until(lambda: oracle.depth(broker_url, OVERFLOW) == 40, 10, "they are there")
        leave_trace(connection, LIVE, 2.0)
        look()
        for _ in range(10):  # by a bridge that comes and goes
            message = channel.basic_get(OVERFLOW)
            channel.basic_ack(message.delivery_tag)
        until(lambda: oracle.depth(broker_url, OVERFLOW) == 30, 10, "it has taken ten")
        leave_trace(connection, LIVE, 2.0)
        look()
        begin = time.monotonic()
        until(lambda: look() or time.monotonic() > begin + 4.0, 10, "the trace has gone, and looks have gone by")
        assert 0 == purged()
        channel.queue_purge(OVERFLOW)
        look()
        assert 30 == purged()
        until(lambda: look() or time.monotonic() > begin + 7.0, 10, "more looks have gone by")
        assert 30 == purged()


def is_traced(url: str) -> bool:
    """Return whether a trace is there; it is taken away."""
    with oracle.broker(url) as connection:
        try:
            connection.channel().exchange_declare(f"{LIVE}.drained", "fanout", passive=True)
        except amqp.NotFound:
            return False
        connection.channel().queue_delete(f"{LIVE}.drained")
    return True


def test_who_cannot_consume_overflow_leaves_no_trace(own_rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others would take a purge for its drain for as long as it tries, but for the first time."""
    monkeypatch.setattr(purged_module, "RENEWED_AFTER", 0.0)
    url = own_rabbitmq.new_vhost()
    topology = Topology.from_settings(Settings(broker_url=url))
    with oracle.broker(url) as connection:
        topology.declare(connection.channel())
    own_rabbitmq.ctl("add_user", "drainer", "open-sesame")
    try:
        vhost = urlsplit(url).path[1:]
        rights = ("set_permissions", "-p", vhost, "drainer", ".*", ".*")
        own_rabbitmq.ctl(*rights, rf"^(celeryev|{LIVE}|.*\.(witness.*|drained|bridges|stores-in.*))$")
        settings = Settings(broker_url=url.replace("guest:guest", "drainer:open-sesame"))
        source = AmqpSource(settings, topology)
        source.open()
        source.consume()
        assert source.held_up
        is_traced(url)
        source.let_go()
        source.consume()
        assert source.held_up
        assert not is_traced(url)
        own_rabbitmq.ctl(*rights, ".*")
        source.let_go()
        until(lambda: source.consume() or not source.held_up or source.let_go(), 30, "the right has come", pause=1.0)
        source.close()
    finally:
        own_rabbitmq.ctl("delete_user", "drainer")


def test_who_consumes_overflow_anew_leaves_no_new_trace_each_time(broker_url: str) -> None:
    """It is six round trips, and at the byte bound a bridge consumes anew many times a second."""
    trace = Trace(LIVE)
    with oracle.broker(broker_url) as connection:
        trace.leave(connection)
        assert is_traced(broker_url)
        trace.leave(connection)
        assert not is_traced(broker_url)
        trace.forget()
        trace.leave(connection)
        assert is_traced(broker_url)


def test_nothing_is_told_of_what_three_replicas_do(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """Through an outage, broken connections and the drain of overflow after it."""
    store = SqliteStore(tmp_path)
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_QUEUE_TTL": "1", "BRIDGE_LET_GO_AFTER": "1"}
    bridges = [start_bridge(**settings).await_ready() for _ in range(3)]
    store.stop()
    oracle.publish(broker_url, oracle.numbered(0, 2000))
    until(lambda: bridges[0].metric("queue_messages", queue=OVERFLOW) > 0, 2 * LOOKED, "it waits in overflow")
    bridges[1].kill()
    store.start()
    until(lambda: store.count() == 2000, 60, "all is stored")
    seen = [bridge.get("/metrics") and time.monotonic() for bridge in (bridges[0], bridges[2])]
    until(lambda: time.monotonic() > seen[-1] + 1.5 * 10, LOOKED, "a look has gone by since")
    for bridge in (bridges[0], bridges[2]):
        assert 0 == bridge.metric("notices_total", kind="purged")
        assert 0 == bridge.metric("notices_total", kind="competitor")


def consume(connection: amqp.Connection) -> None:
    channel = connection.channel()
    channel.basic_consume(LIVE, callback=lambda message: channel.basic_ack(message.delivery_tag))


def test_a_consumer_that_is_no_bridge_is_told_of(broker_url: str) -> None:
    """By how many bridges there are; two bridges and their comings and goings are told of nothing."""
    topology = Topology.from_settings(Settings(broker_url=broker_url))
    with oracle.broker(broker_url) as ours, oracle.broker(broker_url) as other, oracle.broker(broker_url) as somebody:
        topology.declare(ours.channel())
        first, second = Presence(LIVE), Presence(LIVE)
        for connection, presence in ((ours, first), (other, second)):
            presence.open(connection)
            consume(connection)

        def look() -> None:
            first.look(ours.channel().queue_declare(LIVE, passive=True).consumer_count)

        for _ in range(2 * LOOKS):
            look()
        assert 0 == notices.NOTICES.counts()["competitor"]
        consume(somebody)
        until(lambda: look() or notices.NOTICES.counts()["competitor"] >= 1, 10, "it is told of")


def test_bridges_whose_count_was_deleted_are_counted_again(broker_url: str) -> None:
    """None of them takes the others for somebody else's consumers, whoever looks first."""
    topology = Topology.from_settings(Settings(broker_url=broker_url))
    with oracle.broker(broker_url) as ours, oracle.broker(broker_url) as other, oracle.broker(broker_url) as late:
        topology.declare(ours.channel())
        presences = []
        for connection in (ours, other, late):
            presences.append(Presence(LIVE))
            presences[-1].open(connection)
            consume(connection)
        ours.channel().queue_delete(f"{LIVE}.bridges")
        for _ in range(2 * LOOKS):
            for presence in presences:
                presence.look(ours.channel().queue_declare(LIVE, passive=True).consumer_count)
        assert 0 == notices.NOTICES.counts()["competitor"]
        assert 3 == ours.channel().queue_declare(f"{LIVE}.bridges", passive=True).consumer_count


def test_a_bridge_and_check_tell_of_a_consumer_that_is_no_bridge(
    start_bridge: Callable[..., Bridge], managed_rabbitmq: NativeRabbitMQ, tmp_path: Path
) -> None:
    """With its tag and user where the management API is given, and not of bridges' own."""
    url = managed_rabbitmq.new_vhost()
    settings = SqliteStore(tmp_path).settings | {
        "BRIDGE_BROKER_URL": url,
        "BRIDGE_MANAGEMENT_URL": managed_rabbitmq.management_url,
    }
    bridge = start_bridge(**settings).await_ready()
    with oracle.broker(url) as connection:
        connection.channel().basic_consume(LIVE, consumer_tag="somebody", callback=lambda _: None)

        def shown() -> bool:
            found = run_to_end("celery_event_bridge", "check", **settings).stdout
            assert found.count("has a consumer that is no bridge") <= 1
            return f"warn queue '{LIVE}' has a consumer that is no bridge: tag 'somebody' of user 'guest'" in found

        until(shown, 40, "check says it")
        again = start_bridge(**settings)
        again.await_log("tag 'somebody'")
        assert again.metric("notices_total", kind="competitor") >= 1
        bridge.await_log("are bridges", timeout=60)
