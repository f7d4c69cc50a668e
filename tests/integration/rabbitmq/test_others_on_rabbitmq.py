"""What others do to the exchange and the binding while bridges run: put right, said and counted."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import amqp
import pytest

from celery_event_bridge.brokers.rabbitmq import upkeep as upkeep_module
from celery_event_bridge.brokers.rabbitmq.connection import connect
from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.mark import SinkMark
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.source import AmqpSource
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.brokers.rabbitmq.upkeep import Upkeep
from celery_event_bridge.contract import JSON, notices
from tests.faults.proxy import Mode, Proxy
from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.load import Load
from tests.support.others import LIVE, SOON, delete_and_declare_exchange, delete_exchange, publish_if_there, unbind
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore

pytestmark = [pytest.mark.fault]


@pytest.mark.parametrize("change", [delete_and_declare_exchange, delete_exchange, unbind])
def test_a_way_that_others_have_cut_is_made_again(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path, change: Callable[[amqp.Channel], None]
) -> None:
    """Events are stored again within 15 s, and the gap is logged and counted; a guess from a silence as a guess."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, **store.settings).await_ready()
    numbers = itertools.count()
    until(lambda: publish_if_there(broker_url, next(numbers)) or store.count() > 3, 20, "events are stored")
    connection = oracle.broker(broker_url)
    change(connection.channel())
    connection.close()
    cut_at = store.count()
    # What was on its way before the cut may come still.
    until(lambda: publish_if_there(broker_url, next(numbers)) or store.count() > cut_at + 3, SOON, "stored again")
    kind = "silence" if change is unbind else "gap"
    until(lambda: bridge.metric("notices_total", kind=kind) == 1, SOON, "it is counted")
    assert int(kind == "gap") == bridge.metric("gaps_total")
    (line,) = bridge.logged("perhaps somebody had removed it" if kind == "silence" else "gap on the way")
    assert "'celeryev'" in line["event"]
    assert ("info" if kind == "silence" else "warning") == line["level"]


def test_nothing_is_taken_for_a_gap_that_is_none(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """A broken connection, another bridge's start and its stop cut nothing."""
    store = SqliteStore(tmp_path)
    bridges = [start_bridge(BRIDGE_BROKER_URL=broker_url, **store.settings).await_ready() for _ in range(2)]
    load = Load(broker_url, 20)
    load.start()
    until(lambda: store.count() > 20, 20, "events are stored")
    bridges[1].stop()
    until(lambda: store.count() > 20 * 25, 60, "two looks have gone by")
    load.finish()
    assert 0 == bridges[0].metric("gaps_total")


def test_a_way_that_was_cut_while_nobody_was_connected_is_told_of(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """The first look of a new connection comes before anything is declared again."""
    store = SqliteStore(tmp_path)
    port = urlsplit(broker_url).port or 5672
    proxy = Proxy(port)
    try:
        mine = broker_url.replace(f":{port}/", f":{proxy.port}/")
        bridge = start_bridge(BRIDGE_BROKER_URL=mine, **store.settings).await_ready()
        until(lambda: bridge.metric("queue_messages", queue=LIVE) == 0, 10, "it has looked")
        proxy.mode = Mode.REFUSE
        proxy.cut()
        bridge.await_log("broker unavailable")
        connection = oracle.broker(broker_url)
        delete_and_declare_exchange(connection.channel())
        connection.close()
        proxy.heal()
        until(lambda: bridge.metric("gaps_total") == 1, 30, "the gap is counted")
    finally:
        proxy.close()


def test_an_outage_of_the_stream_is_taken_for_no_gap(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While messages are in hand, or no consumer is on, that nothing comes says nothing of the binding."""
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(upkeep_module, "time", clock)
    settings = Settings(broker_url=broker_url)
    topology = Topology.from_settings(settings)
    with closing(AmqpSource(settings, topology)) as source:
        source.open()

        def pass_time(in_hand: int) -> None:
            for _ in range(10):
                clock.now += 10
                source.steer(in_hand, lambda: in_hand)
                source._watches.upkeep.look()

        pass_time(0)  # nothing is consumed: the sink is away
        source.consume()
        pass_time(1)  # and now some are in hand
        assert 0 == notices.NOTICES.counts()["no-events"] == notices.NOTICES.counts()["gap"]
        pass_time(0)  # nothing is, and nothing comes
        assert notices.NOTICES.counts()["no-events"]


def test_a_look_leaves_no_channel_behind(broker_url: str) -> None:
    """However often a question is refused: 2,047 channels are a connection's end."""
    topology = Topology.from_settings(Settings(broker_url=broker_url))
    with closing(connect(Settings(broker_url=broker_url), broker_url, role="test")) as connection:
        upkeep, mark = Upkeep(topology, declares=True), SinkMark(LIVE, lambda: "a stream")
        upkeep.open(connection)
        mark.open(connection)
        mark.look()
        connection.channel().exchange_delete(topology.witness)
        before = len(connection.channels)
        for _ in range(50):
            upkeep.look()
            mark.look()
            with pytest.raises(amqp.NotFound):
                connection.channel().queue_declare("nowhere", passive=True)
        assert len(connection.channels) <= before + 1


@pytest.mark.parametrize("change", [delete_and_declare_exchange, delete_exchange])
def test_a_way_that_was_cut_while_no_bridge_ran_is_told_of(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path, change: Callable[[amqp.Channel], None]
) -> None:
    """With the first look of the next one, before anything is declared again; another start tells of nothing."""
    settings = SqliteStore(tmp_path).settings | {"BRIDGE_BROKER_URL": broker_url}
    assert 0 == run_to_end("celery_event_bridge", "queues", "declare", **settings).returncode
    bridge = start_bridge(**settings).await_ready()
    assert 0 == bridge.metric("gaps_total")
    bridge.stop()
    with oracle.broker(broker_url) as connection:
        change(connection.channel())
    bridge = start_bridge(**settings).await_ready()
    until(lambda: bridge.metric("gaps_total") == 1, 10, "the gap is counted")
    bridge.stop()
    bridge = start_bridge(**settings).await_ready()
    until(lambda: bridge.metric("queue_messages", queue=LIVE) == 0, 10, "it has looked")
    assert 0 == bridge.metric("gaps_total")


def test_silences_that_an_outage_explains_are_no_gap(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is the time until those who publish are back; a silence on one connection that binding ends is one."""
    clock = SimpleNamespace(now=1000.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(upkeep_module, "time", clock)
    topology = Topology.from_settings(Settings(broker_url=broker_url))
    upkeep = Upkeep(topology, declares=True)
    event = Delivered(None, 0, b"{}", JSON, {}, exchange="celeryev")

    def come(times: int = 5) -> None:
        for _ in range(times):
            upkeep.arrived([event])
            clock.now += 0.1

    for _ in range(2):
        with oracle.broker(broker_url) as connection:
            upkeep.open(connection)
            upkeep.look()
            clock.now += 10
            upkeep.look()  # declares the binding just before the first events come
            come()
            upkeep.drop()
        clock.now += 30
    assert 0 == notices.NOTICES.counts()["silence"]
    upkeep = Upkeep(topology, declares=True)
    with oracle.broker(broker_url) as connection:
        upkeep.open(connection)
        for silences in (1, 2):  # the first hides no second one
            come()
            clock.now += 8
            upkeep.look()
            come()
            assert silences == notices.NOTICES.counts()["silence"]
    assert 0 == notices.NOTICES.counts()["gap"]


def test_a_standstill_is_said_once(broker_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where no event comes at all, the line asks for what is usually wrong; and it says when events come again."""
    caplog.set_level("INFO")
    topology = Topology.from_settings(Settings(broker_url=broker_url))
    upkeep = Upkeep(topology, declares=True, quiet_after=0.05)
    connection = oracle.broker(broker_url)
    upkeep.open(connection)
    until(lambda: upkeep.look() or notices.NOTICES.counts()["no-events"] > 1, 10, "it is counted with each look")
    told = [record.getMessage() for record in caplog.records if "no event has come" in record.getMessage()]
    assert 1 == len(told)
    assert "-E" in told[0]
    assert "BRIDGE_EVENT_EXCHANGE" in told[0]
    connection.close()


def test_a_right_that_is_withdrawn_is_said_again_and_the_binding_made_all_the_same(
    rabbitmq_server: RabbitMQ, broker_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once in an interval while it lasts; to bind takes other rights than to declare."""
    monkeypatch.setattr(notices, "INTERVAL", 0.0)
    vhost = urlsplit(broker_url).path[1:]
    upkeep = Upkeep(Topology.from_settings(Settings(broker_url=broker_url)), declares=True)
    with oracle.broker(broker_url) as connection:
        upkeep.open(connection)
    rabbitmq_server.ctl("set_permissions", "-p", vhost, "guest", "^$", ".*", ".*")
    with oracle.broker(broker_url) as connection:  # a channel remembers for a while what was permitted
        unbind(connection.channel())
        upkeep.open(connection)
        until(lambda: upkeep.look() or len(withdrawn(caplog)) >= 2, 10, "it is said again")
        oracle.publish(broker_url, oracle.numbered(0, 1))
        until(lambda: oracle.depth(broker_url, LIVE) == 1, 4, "it is bound")
    rabbitmq_server.ctl("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")


def withdrawn(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for record in caplog.records if "cannot declare the queues" in (text := record.getMessage())]
