"""What is deleted beside the live queue, and not the bridge's to declare or to read, costs it no connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import amqp
import pytest

from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.source import AmqpSource
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable, Message
from tests.support import oracle
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import until

pytestmark = [pytest.mark.fault]

LIVE = "celeryev.bridge"
OVERFLOW, REJECTED, MARK = f"{LIVE}.overflow", f"{LIVE}.rejected", f"{LIVE}.stores-in"


@pytest.fixture
def permit(rabbitmq_server: RabbitMQ, broker_url: str) -> Iterator[Callable[[str, str, str], None]]:
    """Sets what the user may configure, write and read in the vhost; all again after the test."""
    vhost = urlsplit(broker_url).path[1:]

    def permit(configure: str, write: str, read: str) -> None:
        rabbitmq_server.ctl("set_permissions", "-p", vhost, "guest", configure, write, read)

    yield permit
    permit(".*", ".*", ".*")


def declared(url: str, *, without: str = "") -> None:
    """Declare the bridge's queues, all but one."""
    with oracle.broker(url) as connection:
        Topology.from_settings(Settings(broker_url=url)).declare(connection.channel())
        if without:
            connection.channel().queue_delete(without)


def consuming(url: str, *, declare: bool = True) -> AmqpSource:
    settings = Settings(broker_url=url, declare=declare)
    source = AmqpSource(settings, Topology.from_settings(settings), lambda: "a stream", look_interval=0.0)
    source.open()
    source.consume()
    return source


def turn(source: AmqpSource, timeout: float = 0.1) -> Sequence[Message]:
    """Poll; a connection that is lost fails the test at once, also within `until`, which tries again."""
    try:
        return source.poll(timeout)
    except BrokerUnavailable as exc:
        pytest.fail(f"the connection is lost: {exc}")


def while_turning(source: AmqpSource, action: Callable[[], object]) -> None:
    """Do what may take longer than RabbitMQ waits for a heartbeat, and poll meanwhile as a bridge does."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(action)
        until(lambda: turn(source) or done.done(), 60, "it is done")
        done.result()


def received(source: AmqpSource, count: int) -> bool:
    """Take in what comes until it is so much."""
    messages: list[Message] = []
    until(lambda: messages.extend(turn(source)) or len(messages) >= count, 10, "events are received")
    return len(messages) == count


@pytest.mark.parametrize("may_declare", [True, False])
@pytest.mark.parametrize("queue", [OVERFLOW, REJECTED])
def test_a_queue_that_the_bridge_cannot_declare_is_told_of_and_live_events_are_received(
    broker_url: str,
    permit: Callable[[str, str, str], None],
    caplog: pytest.LogCaptureFixture,
    queue: str,
    may_declare: bool,
) -> None:
    """Neither right nor setting lets it: it goes on with each look, and says so once the queue is there."""
    caplog.set_level("INFO")
    declared(broker_url, without=queue)
    if may_declare:
        permit("^$", ".*", ".*")
    with closing(consuming(broker_url, declare=may_declare)) as source:
        oracle.publish(broker_url, oracle.numbered(0, 20))
        assert received(source, 20)
        assert notices.NOTICES.counts()["queue-missing"] >= 1
        assert 0 == notices.NOTICES.counts()["queue-made"] == notices.NOTICES.counts()["queue-declared"]
        assert (source.held_up is None) == (queue == REJECTED)
        while_turning(source, lambda: permit(".*", ".*", ".*"))
        # Not while the source looks: RabbitMQ 3.10 answers 541 to one of two who ask about a queue in the making.
        declared(broker_url)
        until(lambda: turn(source) or f"queue {queue!r} is there" in caplog.text, 10, "it is seen")
        until(lambda: turn(source) or source.held_up is None, 10, "it is consumed")
        assert (f"queue {queue!r} is consumed again" in caplog.text) == (queue == OVERFLOW)


def test_a_mark_that_somebody_deletes_is_taken_again(broker_url: str) -> None:
    """The broker's word that its consumer is gone is no error of the connection."""
    with closing(consuming(broker_url)) as source, oracle.broker(broker_url) as connection:
        turn(source, 0.0)
        connection.channel().queue_delete(MARK)

        def held() -> bool:
            turn(source)
            try:
                return bool(connection.channel().queue_declare(MARK, passive=True).consumer_count == 1)
            except amqp.NotFound:
                return False

        until(held, 10, "there is another one")
        oracle.publish(broker_url, oracle.numbered(0, 20))
        assert received(source, 20)


def test_overflow_that_may_not_be_read_and_gets_shorter_is_no_error(
    rabbitmq_server: RabbitMQ, broker_url: str, permit: Callable[[str, str, str], None]
) -> None:
    """How many are left in it nobody can tell then, so nothing is told of a purge."""
    declared(broker_url)
    with oracle.broker(broker_url) as connection:
        channel = connection.channel()
        for _ in range(20):
            channel.basic_publish(amqp.Message(b"{}"), "", OVERFLOW)
        until(lambda: oracle.depth(broker_url, OVERFLOW) == 20, 10, "they are there")
        permit(".*", ".*", f"^(?!{OVERFLOW}$).*")
        with closing(consuming(broker_url)) as source:
            until(lambda: turn(source, 0.0) or source.depths.get(OVERFLOW) == 20, 10, "they are seen")
            vhost = urlsplit(broker_url).path[1:]
            while_turning(source, lambda: rabbitmq_server.ctl("purge_queue", "-p", vhost, OVERFLOW))
            until(lambda: turn(source, 0.0) or source.depths.get(OVERFLOW) == 0, 10, "they are gone")
            begin = time.monotonic()
            until(lambda: turn(source) or time.monotonic() > begin + 0.5, 10, "some more looks")
            assert 0 == notices.NOTICES.counts()["purged"]
