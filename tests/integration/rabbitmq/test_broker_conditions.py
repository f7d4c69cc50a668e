"""Conditions of the broker as a whole under which events are lost: told of by `run` and by `check`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from celery_event_bridge.brokers.rabbitmq.feature_flags import FlagWatch, is_off
from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.contract import notices
from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.servers.debian import until
from tests.support.servers.rabbitmq import NativeRabbitMQ
from tests.support.stores import SqliteStore

pytestmark = [pytest.mark.fault]

FLAGS_OF_3_8 = "quorum_queue,implicit_default_bindings,virtual_host_metadata,maintenance_mode_status,user_limits"


@pytest.fixture(scope="module")
def upgraded_rabbitmq() -> Iterator[NativeRabbitMQ]:
    """A node on which nobody has enabled what its upgrade brought."""
    node = NativeRabbitMQ(feature_flags=FLAGS_OF_3_8)
    try:
        node.start()
        yield node
    finally:
        node.remove()


def set_watermark(node: NativeRabbitMQ, share: str) -> None:
    node.ctl("eval", f"vm_memory_monitor:set_vm_memory_high_watermark({share}).")


def test_an_alarm_is_told_of_and_its_end(
    start_bridge: Callable[..., Bridge], upgraded_rabbitmq: NativeRabbitMQ, tmp_path: Path
) -> None:
    """By a bridge that parks nothing, with what waits stored meanwhile: no connection that consumes is blocked."""
    url = upgraded_rabbitmq.new_vhost()
    store = SqliteStore(tmp_path)
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=url).await_ready()
    oracle.publish(url, oracle.numbered(0, 3))
    until(lambda: store.count() == 3, 20, "events are stored")
    bridge.stop()
    oracle.publish(url, oracle.numbered(3, 3))
    set_watermark(upgraded_rabbitmq, "0.00001")
    try:
        bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=url).await_ready()
        line = bridge.await_log("RabbitMQ blocks who publishes (a memory or disk alarm)")
        assert (line["level"], line["kind"]) == ("warning", "alarm")
        until(lambda: store.count() == 6, 20, "what waits is stored")
        assert bridge.metric("notices_total", kind="alarm") >= 1
        assert not bridge.logged("the alarm is over")
    finally:
        set_watermark(upgraded_rabbitmq, "0.6")
    bridge.await_log("RabbitMQ takes messages again: the alarm is over")


def test_a_feature_flag_that_is_off_is_told_of_until_it_is_on(
    upgraded_rabbitmq: NativeRabbitMQ, tmp_path: Path
) -> None:
    """`check` fails and names the commands; what they do is that events which expire wait for overflow."""
    url = upgraded_rabbitmq.new_vhost()
    vhost = urlsplit(url).path[1:]
    given = SqliteStore(tmp_path).settings | {"BRIDGE_BROKER_URL": url, "BRIDGE_QUEUE_TTL": "0.2"}
    assert 0 == run_to_end("celery_event_bridge", "queues", "declare", **given).returncode
    with oracle.broker(url) as connection:
        connection.channel().queue_delete("celeryev.bridge.overflow")
        checked = run_to_end("celery_event_bridge", "check", **given)
        assert 1 == checked.returncode
        (line,) = [line for line in checked.stdout.splitlines() if "stream_queue" in line]
        assert line.startswith("FAIL RabbitMQ's feature flag `stream_queue` is off")
        assert "`rabbitmqctl enable_feature_flag all`" in line
        assert "`rabbitmqctl set_policy --apply-to queues celeryev.bridge '^celeryev\\.bridge' '{\"delivery" in line
        settings = Settings(broker_url=url)
        watch = FlagWatch(settings)
        watch.open(connection, url)
        watch.look()
        until(lambda: notices.NOTICES.counts()["feature-flag"] == 1, 20, "the bridge tells of it")
    upgraded_rabbitmq.ctl("enable_feature_flag", "all")
    policy = ["--apply-to", "queues", "celeryev.bridge", r"^celeryev\.bridge", '{"delivery-limit":1000000}']
    upgraded_rabbitmq.ctl("set_policy", "-p", vhost, *policy)
    assert not is_off(settings, url)
    oracle.publish(url, oracle.numbered(0, 10))

    def waiting() -> bool:
        listed = upgraded_rabbitmq.ctl("list_queues", "-p", vhost, "name", "messages", "messages_ready")
        return "celeryev.bridge\t10\t0" in listed

    until(waiting, 30, "they wait for overflow")
