"""A queue of ours that somebody deletes: made anew, and told of with its own cause."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.brokers.rabbitmq.upkeep import Upkeep
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.others import LIVE, SOON, publish_if_there
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore

pytestmark = [pytest.mark.fault]


def test_a_queue_that_was_deleted_is_made_anew_and_told_of(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """With what it held: a warning says which, and it is counted."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, **store.settings).await_ready()
    until(lambda: bridge.metric("queue_messages", queue=LIVE) == 0, 10, "the queues were looked at")
    assert not [line for line in bridge.log() if line["level"] == "warning"]
    # All at once, as it looks to the bridge: one that is deleted right before it is declared is found by nobody.
    bridge.process.send_signal(signal.SIGSTOP)
    try:
        with oracle.broker(broker_url) as connection:
            for queue in (f"{LIVE}.overflow", f"{LIVE}.rejected", LIVE):
                connection.channel().queue_delete(queue)
    finally:
        bridge.process.send_signal(signal.SIGCONT)
    until(lambda: bridge.metric("notices_total", kind="queue-made") == 3, SOON, "all are made anew")
    assert 3 == len(bridge.logged("was there before, was deleted, and is declared anew"))
    assert 1 == bridge.metric("gaps_total")
    numbers = itertools.count()
    until(lambda: publish_if_there(broker_url, next(numbers)) or store.count() > 0, SOON, "stored again")


def test_a_queue_that_was_made_anew_on_a_connection_that_was_lost_then_is_told_of(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next connection, though that finds it there."""
    upkeep = Upkeep(Topology.from_settings(Settings(broker_url=broker_url)), declares=True)
    see_to_it = Upkeep._look_at_exchange

    def lose(self: Upkeep, **given: bool) -> None:
        see_to_it(self, **given)
        raise BrokerUnavailable("connection lost")

    with oracle.broker(broker_url) as connection:
        upkeep.open(connection)
        connection.channel().queue_delete(f"{LIVE}.overflow")
        with monkeypatch.context() as patched:
            patched.setattr(Upkeep, "_look_at_exchange", lose)
            with pytest.raises(BrokerUnavailable):
                upkeep.open(connection)
        assert 0 == notices.NOTICES.counts()["queue-made"]
        upkeep.open(connection)
        assert 1 == notices.NOTICES.counts()["queue-made"]


def test_a_queue_that_was_deleted_and_declared_at_once_is_told_of(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """Though no look has found it missing, and RabbitMQ has a consumer on it."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, **store.settings).await_ready()
    live = Topology.from_settings(Settings(broker_url=broker_url)).live
    with oracle.broker(broker_url) as connection:
        channel = connection.channel()
        until(lambda: channel.queue_declare(live.name, passive=True).consumer_count == 1, 10, "it is consumed")
        channel.queue_delete(live.name)
        channel.queue_declare(live.name, durable=True, auto_delete=False, arguments=dict(live.arguments))
    until(lambda: bridge.metric("notices_total", kind="queue-made") >= 1, SOON, "it is told of")
    numbers = itertools.count()
    until(lambda: publish_if_there(broker_url, next(numbers)) or store.count() > 3, SOON, "events are stored again")
    # By the look, and by the connection that is made anew where that comes between.
    assert bridge.metric("gaps_total") in (1, 2)


def test_a_queue_that_is_made_anew_in_the_midst_of_a_look_is_told_of_by_the_next(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the look has found all there, and before it declares what it looked for."""
    topology = Topology.from_settings(Settings(broker_url=broker_url))
    upkeep, declare = Upkeep(topology, declares=True), Upkeep._declare
    with oracle.broker(broker_url) as connection:
        upkeep.open(connection)
        upkeep.look()

        def make_anew(self: Upkeep, **given: bool) -> None:
            monkeypatch.undo()
            others = connection.channel()
            others.queue_delete(LIVE)
            others.queue_declare(LIVE, durable=True, auto_delete=False, arguments=dict(topology.live.arguments))
            declare(self, **given)

        monkeypatch.setattr(Upkeep, "_declare", make_anew)
        upkeep.look()
        upkeep.look()
        assert 1 == notices.NOTICES.counts()["queue-made"]
        assert 1 == notices.NOTICES.counts()["gap"]
        upkeep.look()
        assert 1 == notices.NOTICES.counts()["queue-made"]
