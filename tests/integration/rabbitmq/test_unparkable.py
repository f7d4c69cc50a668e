"""Messages that can be neither forwarded nor parked: they hold up nobody, are told of, and are parked at last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.oracle import Published
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore

pytestmark = [pytest.mark.fault]

QUEUE = "celeryev.bridge.rejected"
MIB = 2**20


def bad(number: int, size: int = 20) -> Published:
    """A message that nobody can decode, different from all others."""
    return Published(b"no event %d " % number + b"x" * size, {"content_type": "text/plain"}, "task.sent")


def set_max_message_size(server: RabbitMQ, size: int) -> None:
    """For channels opened from now on; 3.10 has it in the application's environment, 4.x as a persistent term."""
    both = f"application:set_env(rabbit, max_message_size, {size}), persistent_term:put(max_message_size, {size})."
    server.ctl("eval", both)


@contextmanager
def without_right_to_write(server: RabbitMQ, url: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """The URL of a user who may do everything but publish to a queue, and how to let it."""
    vhost, user = urlsplit(url).path[1:], "unparker"
    server.ctl("add_user", user, "open-sesame")
    try:
        server.ctl("set_permissions", "-p", vhost, user, ".*", "^(?!amq.default).*", ".*")
        with oracle.broker(url) as connection:
            Topology.from_settings(Settings(broker_url=url)).declare(connection.channel())
        grant = lambda: server.ctl("set_permissions", "-p", vhost, user, ".*", ".*", ".*")  # noqa: E731
        yield url.replace("guest:guest", f"{user}:open-sesame"), lambda: grant() and None
    finally:
        server.ctl("delete_user", user)


@pytest.mark.parametrize(("count", "size"), [(20, MIB), (3000, 20)], ids=["large", "many"])
def test_any_number_and_size_of_bad_ones_lets_the_good_ones_pass(
    start_bridge: Callable[..., Bridge], own_rabbitmq: RabbitMQ, tmp_path: Path, count: int, size: int
) -> None:
    """More than may be in hand, and than the prefetch allows: memory stays bounded, and all is parked at last."""
    url = own_rabbitmq.new_vhost()
    with without_right_to_write(own_rabbitmq, url) as (mine, grant):
        store = SqliteStore(tmp_path)
        options = {"BRIDGE_DECLARE": "false", "BRIDGE_RETRY_MAX_INTERVAL": "1", "BRIDGE_PREFETCH": "500"}
        bridge = start_bridge(**store.settings, **options, BRIDGE_BROKER_URL=mine).await_ready()
        before = bridge.rss_bytes()
        good = oracle.numbered(0, 300)
        messages = [bad(number, size) for number in range(count)]
        for first in range(0, 300, 30):
            share = slice(first * count // 300, (first + 30) * count // 300)
            oracle.publish(url, [*messages[share], *good[first : first + 30]])
        until(lambda: store.count() == len(good), 60, "the good ones are stored")
        until(lambda: bridge.metric("unparkable_messages") == count, 60, "the bad ones are counted")
        assert bridge.logged("can be neither forwarded nor parked")
        assert bridge.rss_bytes() - before < 60 * MIB
        assert 0 == bridge.metric("messages_rejected_total")
        grant()
        until(lambda: bridge.metric("messages_rejected_total") >= count, 90, "they are parked")
        until(lambda: bridge.metric("inflight_messages") == 0, 20, "nothing is in hand")
        assert 0 == bridge.metric("unparkable_messages")
        assert 0 == bridge.stop()
        parked = [bytes(message.body) for message in oracle.drain(url, QUEUE)]
        assert {message.body for message in messages} == set(parked)
        assert count == len(parked)


def test_a_message_larger_than_the_broker_takes_holds_nothing_up(
    start_bridge: Callable[..., Bridge], own_rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """It waited in the queue while max_message_size became less, as it does with an upgrade: the others go on."""
    url = own_rabbitmq.new_vhost()
    with oracle.broker(url) as connection:
        Topology.from_settings(Settings(broker_url=url)).declare(connection.channel())
    huge = bad(0, 17 * MIB)
    good = oracle.numbered(0, 25)
    oracle.publish(url, [huge, bad(1), *good])
    set_max_message_size(own_rabbitmq, 16 * MIB)
    try:
        store = SqliteStore(tmp_path)
        bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=url).await_ready()
        until(lambda: store.count() == len(good), 30, "the others are stored")
        until(lambda: bridge.metric("messages_rejected_total") == 1, 30, "the other bad one is parked")
        until(lambda: bridge.metric("unparkable_messages") == 1, 30, "it is counted")
        more = oracle.numbered(100, 300)
        oracle.publish(url, more)
        until(lambda: store.count() == len(good) + len(more), 30, "what comes later is stored")
        until(lambda: bridge.logged("cannot be parked"), 30, "it is told of")
        assert 0 == bridge.stop()
    finally:
        set_max_message_size(own_rabbitmq, 128 * MIB)
    again = start_bridge(**store.settings, BRIDGE_BROKER_URL=url).await_ready()
    until(lambda: again.metric("messages_rejected_total") == 1, 30, "it is parked when it can be")
    assert huge.body in [bytes(message.body) for message in oracle.drain(url, QUEUE)]


def test_an_alarm_parks_no_copies(start_bridge: Callable[..., Bridge], own_rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """What waits for a confirm when publishers are blocked is waited for on its connection, and not published again."""
    url = own_rabbitmq.new_vhost()
    store = SqliteStore(tmp_path)
    options = {"BRIDGE_RETRY_MAX_INTERVAL": "0.5", "BRIDGE_QUEUE_TTL": "60"}
    bridge = start_bridge(**store.settings, **options, BRIDGE_BROKER_URL=url).await_ready()
    messages = [bad(number) for number in range(100)]
    queue = "celeryev.bridge"
    bridge.process.send_signal(19)  # SIGSTOP: they wait in the queue until the alarm is there
    oracle.publish(url, messages)
    own_rabbitmq.ctl("set_vm_memory_high_watermark", "0.0001")
    try:
        until(lambda: "memory" in own_rabbitmq.ctl("eval", "rabbit_alarm:get_alarms()."), 20, "the alarm is there")
        bridge.process.send_signal(18)
        until(lambda: bridge.metric("unparkable_messages") >= 100, 30, "they cannot be parked")
        assert bridge.logged("blocks publishers")
        # As many attempts as would leave copies behind: the retries go on all the time.
        until(lambda: bridge.metric("queue_messages", queue=queue) == 0, 30, "two looks at the queues go by")
    finally:
        own_rabbitmq.ctl("set_vm_memory_high_watermark", "0.6")
    until(lambda: bridge.metric("messages_rejected_total") >= 100, 60, "they are parked")
    until(lambda: bridge.metric("inflight_messages") == 0, 20, "nothing is in hand")
    assert 0 == bridge.stop()
    parked = [bytes(message.body) for message in oracle.drain(url, QUEUE)]
    assert sorted(message.body for message in messages) == sorted(parked)
