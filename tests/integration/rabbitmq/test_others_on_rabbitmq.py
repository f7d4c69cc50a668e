"""What others do to the exchange, the binding and the queues while bridges run: put right, said and counted."""

from __future__ import annotations

import itertools
import signal
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
from celery_event_bridge.contract.broker import BrokerUnavailable
from tests.faults.proxy import Mode, Proxy
from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.load import Load
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore

pytestmark = [pytest.mark.fault]

LIVE = "celeryev.bridge"
SOON = 15.0
"""Seconds after which a gap has to be closed: the look comes every ten."""


def delete_and_declare_exchange(channel: amqp.Channel) -> None:
    channel.exchange_delete("celeryev")
    channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)


def delete_exchange(channel: amqp.Channel) -> None:
    channel.exchange_delete("celeryev")


def unbind(channel: amqp.Channel) -> None:
    channel.queue_unbind(LIVE, "celeryev", "#")


def publish_if_there(url: str, number: int) -> None:
    """One event; where the exchange is gone it is lost, as a worker's would be."""
    connection = oracle.broker(url)
    try:
        confirms = oracle.Confirms(connection.channel())
        confirms.publish(oracle.numbered(number, 1))
        confirms.wait()
    except amqp.NotFound:
        return
    finally:
        connection.close()


@pytest.mark.parametrize("change", [delete_and_declare_exchange, delete_exchange, unbind])
def test_a_way_that_others_have_cut_is_made_again(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path, change: Callable[[amqp.Channel], None]
) -> None:
    """Events are stored again within 15 s, and the gap is logged and counted."""
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
    until(lambda: bridge.metric("gaps_total") == 1, SOON, "the gap is counted")
    assert 1 == bridge.metric("notices_total", kind="gap")
    (line,) = bridge.logged("gap on the way")
    assert "'celeryev'" in line["event"]
    assert "warning" == line["level"]


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
        source._upkeep = Upkeep(topology, declares=True, quiet_after=60)
        source.open()

        def pass_time(in_hand: int) -> None:
            for _ in range(10):
                clock.now += 10
                source.steer(in_hand, lambda: in_hand)
                source._upkeep.look()

        pass_time(0)  # nothing is consumed: the sink is away
        source.consume()
        pass_time(1)  # and now some are in hand
        assert 0 == notices.NOTICES.counts()["no-events"] == notices.NOTICES.counts()["gap"]
        pass_time(0)  # nothing is, and nothing comes
        assert notices.NOTICES.counts()["no-events"]


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


def test_bridges_that_store_elsewhere_are_told_of_each_other(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """On both sides; and replicas that store in one stream are not told of anything."""
    # With names that are not ASCII, since a refusal is cut in the midst of a character.
    folders = [tmp_path / f"{'日本語' * 12}{name}" for name in "ab"]
    for folder in folders:
        folder.mkdir()
    first, second = map(SqliteStore, folders)
    ours = [start_bridge(BRIDGE_BROKER_URL=broker_url, **first.settings).await_ready() for _ in range(2)]
    theirs = start_bridge(BRIDGE_BROKER_URL=broker_url, **second.settings).await_ready()
    for bridge, folder in ((theirs, folders[1]), *((each, folders[0]) for each in ours)):
        line = bridge.await_log("take events off queue 'celeryev.bridge' as well", timeout=2 * SOON)["event"]
        (file,) = (each.stat() for each in folder.glob("*.db"))
        assert f"(device {file.st_dev}, inode {file.st_ino}): each event reaches" in line  # numbers with their names
    theirs.stop()
    again = start_bridge(BRIDGE_BROKER_URL=broker_url, **first.settings).await_ready()
    until(lambda: again.metric("queue_messages", queue=LIVE) == 0, 10, "it has looked")
    assert [] == again.logged("as well")


def test_bridges_that_want_other_types_are_told_of_each_other(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """Though they store in one stream, on both sides and by `check`; the order of the patterns makes no difference."""
    given = {"BRIDGE_BROKER_URL": broker_url, **SqliteStore(tmp_path).settings}
    all_types = start_bridge(**given).await_ready()
    some = [
        start_bridge(**given, BRIDGE_EVENT_TYPES=types).await_ready()
        for types in ("task-failed,task-sent", "task-sent,+task-failed")
    ]
    for bridge in (all_types, *some):
        bridge.await_log("with another BRIDGE_EVENT_TYPES, take events off queue", timeout=2 * SOON)
    done = run_to_end("celery_event_bridge", "check", **given)
    assert (1, True) == (done.returncode, "with another BRIDGE_EVENT_TYPES, consume queue" in done.stdout)
    assert 0 == all_types.stop()
    again = start_bridge(**given, BRIDGE_EVENT_TYPES="task-sent,task-failed").await_ready()
    until(lambda: again.metric("queue_messages", queue=LIVE) == 0, 10, "it has looked")
    assert [] == again.logged("as well")


def test_standard_output_takes_nothing_away_from_others(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """`run` refuses it where bridges store elsewhere, and not beside its like."""
    start_bridge(BRIDGE_BROKER_URL=broker_url, **SqliteStore(tmp_path).settings).await_ready()
    refused = run_to_end("celery_event_bridge", "run", "--sink", "stdout", BRIDGE_BROKER_URL=broker_url)
    assert 2 == refused.returncode
    assert "BRIDGE_SINK=stdout would take events away from bridges that store in sqlite" in refused.stderr
    alike = {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_QUEUE": "a-look", "BRIDGE_SINK": "stdout"}
    for _ in range(2):
        start_bridge(**alike).await_ready()


def test_a_mark_that_cannot_be_had_costs_no_connection(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """Somebody's queue of another kind has its name: the bridge goes on without."""
    connection = oracle.broker(broker_url)
    for name in ("stores-in", "stores-in.other"):
        connection.channel().queue_declare(f"{LIVE}.{name}", exclusive=True)
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, **SqliteStore(tmp_path).settings).await_ready()
    until(lambda: bridge.metric("queue_messages", queue=LIVE) == 0, 10, "it has looked")
    assert [] == bridge.logged("broker unavailable")
    connection.close()


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
    assert 0 == notices.NOTICES.counts()["gap"]
    upkeep = Upkeep(topology, declares=True)
    with oracle.broker(broker_url) as connection:
        upkeep.open(connection)
        for gaps in (1, 2):  # the first hides no second one
            come()
            clock.now += 8
            upkeep.look()
            come()
            assert gaps == notices.NOTICES.counts()["gap"]


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
    return [text for record in caplog.records if "cannot see to the queues" in (text := record.getMessage())]
