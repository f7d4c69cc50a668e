"""Ways out that an error names work: each is gone by, on a real RabbitMQ, and the bridge stores afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import amqp
import pytest

from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore

LIVE, REJECTED = "celeryev.bridge", "celeryev.bridge.rejected"


def declare_exchange(**different: Any) -> Callable[[amqp.Channel], None]:
    def declare(channel: amqp.Channel) -> None:
        kind = different.pop("type", "topic")
        channel.exchange_declare("celeryev", kind, **{"durable": True, "auto_delete": False} | different)

    return declare


def declare_stream(channel: amqp.Channel) -> None:
    channel.queue_declare(LIVE, durable=True, auto_delete=False, arguments={"x-queue-type": "stream"})


def delete_exchange(channel: amqp.Channel) -> None:
    channel.exchange_delete("celeryev")


def delete_queue(channel: amqp.Channel) -> None:
    channel.queue_delete(LIVE)


def nothing(_: amqp.Channel) -> None:
    """Another name is the way out."""


@pytest.mark.parametrize(
    ("before", "said", "way_out", "settings"),
    [
        (declare_exchange(durable=False), "delete it, if it is the one that", delete_exchange, {}),
        (declare_exchange(auto_delete=True), "delete it, if it is the one that", delete_exchange, {}),
        (declare_exchange(type="direct"), "delete it, if it is the one that", delete_exchange, {}),
        (declare_stream, "is a stream, which forgets nothing", delete_queue, {}),
        (declare_stream, "choose another name with BRIDGE_QUEUE", nothing, {"BRIDGE_QUEUE": "celeryev.other"}),
    ],
    ids=["transient", "auto-delete", "direct", "a stream", "a stream, another name"],
)
def test_the_way_out_of_what_somebody_has_declared_works(
    start_bridge: Callable[..., Bridge],
    broker_url: str,
    tmp_path: Path,
    before: Callable[[amqp.Channel], None],
    said: str,
    way_out: Callable[[amqp.Channel], None],
    settings: dict[str, str],
) -> None:
    """`check` and `run` say the same, and what they say helps."""
    store = SqliteStore(tmp_path)
    given = {**store.settings, "BRIDGE_BROKER_URL": broker_url}
    with oracle.broker(broker_url) as connection:
        before(connection.channel())
        done = run_to_end("celery_event_bridge", "check", **given)
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
        assert said in line
        ended = run_to_end("celery_event_bridge", "run", **given, BRIDGE_HTTP="off")
        assert (2, True) == (ended.returncode, said in ended.stderr)
        way_out(connection.channel())
    start_bridge(**given, **settings).await_ready()
    oracle.publish(broker_url, oracle.numbered(0, 10))
    until(lambda: store.count() == 10, 20, "all is stored")


def test_a_name_that_is_rabbitmqs_own_is_refused(broker_url: str) -> None:
    """Before anything is asked of the broker."""
    done = run_to_end("celery_event_bridge", "check", BRIDGE_BROKER_URL=broker_url, BRIDGE_QUEUE="amq.bridge")
    assert 2 == done.returncode
    assert "BRIDGE_QUEUE=amq.bridge: names that begin with amq. are RabbitMQ's own" in done.stdout + done.stderr


def test_a_deleted_parking_queue_is_declared_by_the_command_that_is_named(broker_url: str) -> None:
    """And not put down to a setting that is as it should be."""
    given = {"BRIDGE_BROKER_URL": broker_url}
    assert 0 == run_to_end("celery_event_bridge", "queues", "declare", **given).returncode
    with oracle.broker(broker_url) as connection:
        connection.channel().queue_delete(REJECTED)
    done = run_to_end("celery_event_bridge", "rejected", "list", **given)
    assert 0 != done.returncode
    assert "BRIDGE_DECLARE=false" not in done.stderr
    assert "queues declare" in done.stderr
    assert 0 == run_to_end("celery_event_bridge", "queues", "declare", **given).returncode
    assert 0 == run_to_end("celery_event_bridge", "rejected", "list", **given).returncode
