"""`replay` to a broker: what a receiver gets is what Celery sends, and a second run goes on where one ended."""

from __future__ import annotations

import datetime
import signal
import time
from collections import Counter
from typing import Any

import pytest
from celery import Celery
from celery.events import EventDispatcher

from celery_event_bridge.forward.decode import decode
from tests.support import oracle
from tests.support.bridges import run_to_end
from tests.support.replaying import (
    COUNT,
    HAPPENED,
    INTERRUPTED,
    Receiver,
    as_sent,
    committed,
    happened,
    replay,
    start_replay,
)
from tests.support.servers import Kafka, RabbitMQ
from tests.support.servers.debian import until
from tests.support.stores import FULL
from tests.support.streams import Stream, captured, in_kafka, in_redis


def sent_by_celery(url: str) -> list[Any]:
    """Single events from Celery's own dispatcher, in JSON and in msgpack, as a plain queue gets them."""
    receiver = Receiver(url)
    app = Celery(broker=url, set_as_current=False)
    with app.connection_for_write() as connection:
        for serializer in ("json", "msgpack"):
            with EventDispatcher(
                connection,
                f"w-{serializer}@host",
                app=app,
                serializer=serializer,
                buffer_while_offline=False,  # else it swallows whatever goes wrong
            ) as dispatcher:
                dispatcher.send("worker-online", freq=2.0, sw_ident="py-celery")
                dispatcher.send("task-sent", uuid="u1", name="shop.pay", args="('ž',)", kwargs="{}")
                dispatcher.send("task-succeeded", uuid="u1", result="NaN", runtime=float("nan"))
                dispatcher.send("our-own-event-type", colour="red")
    until(lambda: receiver.depth() == 8, 20, "Celery's events have arrived")
    return receiver.messages()


def test_an_event_is_as_celery_sends_it(rabbitmq_server: RabbitMQ, stream: Stream) -> None:
    """Body, routing key, content type, content encoding, delivery mode, priority and headers, and nothing else."""
    sent = sent_by_celery(rabbitmq_server.new_vhost())
    assert 8 == len(sent)
    events = [decode(one.body, one.properties["content_type"], one.headers).events[0] for one in sent]
    stream.write(events)
    url = rabbitmq_server.new_vhost()
    receiver = Receiver(url)
    done = replay("--from", stream.url, "--to", url)
    assert (0, "") == (done.returncode, done.stderr)
    assert "8 events sent to exchange celeryev of amqp://guest:**@" in done.stdout
    assert list(map(as_sent, sent)) == list(map(as_sent, receiver.messages()))


def test_what_workers_have_sent(broker_url: str, stream: Stream) -> None:
    """The captured messages: each event of a list on its own, in order, as if it had been sent alone."""
    expected = captured()
    stream.write(expected)
    receiver = Receiver(broker_url)
    assert 0 == replay("--from", stream.url, "--to", broker_url).returncode
    found = receiver.messages()
    assert [event.data for event in expected] == [message.body for message in found]
    assert [event.type.replace("-", ".") for event in expected] == [one.delivery_info["routing_key"] for one in found]
    singles = {one.body: one for one in oracle.captured() if one.routing_key != "task.multi"}
    compared = 0
    for message in found:
        if (single := singles.get(message.body)) is not None:
            compared += 1
            assert (single.routing_key, single.properties) == as_sent(message)[1:]
    assert compared > 100


def test_what_is_picked(broker_url: str, stream: Stream) -> None:
    """By type, and by the time when it happened, whenever it was stored."""
    events = happened(100)
    stream.write([*events[50:], *events[:50]])
    stream.write(captured())
    receiver = Receiver(broker_url)
    since, before = "2020-09-13T12:26:50Z", "2020-09-13T12:27:40+00:00"
    assert (10, 60) == (time_of(since) - HAPPENED, time_of(before) - HAPPENED)
    done = replay("--from", stream.url, "--to", broker_url, "--since", since, "--until", before)
    assert 0 == done.returncode, done.stderr
    found = [message.body for message in receiver.messages()]
    assert [event.data for event in [*events[50:60], *events[10:50]]] == found
    assert 0 == replay("--from", stream.url, "--to", broker_url, "--type", "task-failed").returncode
    assert {"task.failed"} == {one.delivery_info["routing_key"] for one in receiver.messages()}


def time_of(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def test_partitions_are_put_in_order(broker_url: str, kafka_server: Kafka) -> None:
    """Kafka has three partitions, and a receiver gets the events in the order in which they happened."""
    stream = in_kafka(kafka_server)
    events = happened(3000)
    stream.write(events)
    receiver = Receiver(broker_url)
    assert 0 == replay("--from", stream.url, "--to", broker_url).returncode
    assert [event.data for event in events] == [message.body for message in receiver.messages()]


def test_the_pace(broker_url: str, stream: Stream) -> None:
    """An hour of events in the rhythm in which they happened: none comes before it is due."""
    stream.write(happened(5, apart=900))
    receiver = Receiver(broker_url)
    began = time.monotonic()
    process = start_replay("--from", stream.url, "--to", broker_url, "--speed", "1800")
    until(lambda: receiver.depth() >= 1, 20, "the first has come", pause=0.02)
    process.communicate(timeout=120)
    assert 0 == process.returncode
    assert time.monotonic() - began >= 2.0, "four pauses of half a second"
    assert 5 == len(receiver.messages())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT] if FULL else [signal.SIGTERM])
def test_a_second_run_goes_on(broker_url: str, stream: Stream, number: int) -> None:
    """Stopped in the middle, then run again: each event once, in order."""
    events = happened(COUNT, apart=0.001)
    stream.write(events)
    receiver = Receiver(broker_url)
    arguments = ["--from", stream.url, "--to", broker_url, "--group", "night"]
    process = start_replay(*arguments, "--speed", "1")
    until(lambda: receiver.depth() >= 500, 30, "some have come", pause=0.02)
    process.send_signal(number)
    said, complaint = process.communicate(timeout=120)
    assert (INTERRUPTED, "") == (process.returncode, complaint)
    assert "stopped: --group night goes on there" in said
    before = receiver.depth()
    assert 500 <= before < COUNT
    assert committed(stream) == before
    assert f"{before} events sent" in said
    assert 0 == replay(*arguments).returncode
    assert [event.data for event in events] == [message.body for message in receiver.messages()]
    done = replay(*arguments)
    assert (0, True) == (done.returncode, done.stdout.startswith("0 events sent"))


def test_killed_and_run_again(broker_url: str, stream: Stream) -> None:
    """After SIGKILL none is missing, and only those after the last commit come twice."""
    events = happened(COUNT, apart=0.001)
    stream.write(events)
    receiver = Receiver(broker_url)
    arguments = ["--from", stream.url, "--to", broker_url, "--group", "night"]
    process = start_replay(*arguments, "--speed", "1", module="tests.support.impatient")
    until(lambda: committed(stream) > 0, 30, "something is committed", pause=0.02)
    process.kill()
    process.communicate(timeout=120)
    place = committed(stream)
    assert 0 < place < COUNT
    # In its own time the first one's lease runs out.
    assert 0 == run_to_end("tests.support.impatient", "replay", *arguments).returncode
    found = Counter(message.body for message in receiver.messages())
    assert {event.data for event in events} == set(found)
    twice = [position for position, event in enumerate(events, 1) if found[event.data] > 1]
    assert all(position > place for position in twice)


@pytest.mark.parametrize("kind", ["redis", "kafka"])
def test_a_second_run_goes_on_with_a_shared_stream(broker_url: str, request: pytest.FixtureRequest, kind: str) -> None:
    """A group of Redis, and one of Kafka, whose partitions are read ahead: none is missing, each task is in order."""
    if kind == "redis":
        stream = in_redis(request.getfixturevalue("redis_url"))
    else:
        stream = in_kafka(request.getfixturevalue("kafka_server"))
    events = happened(COUNT, apart=0.001, tasks=50)
    stream.write(events)
    receiver = Receiver(broker_url)
    arguments = ["--from", stream.url, "--to", broker_url, "--group", "night"]
    process = start_replay(*arguments, "--speed", "1")
    until(lambda: receiver.depth() >= 500, 30, "some have come", pause=0.02)
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=120)
    assert (INTERRUPTED, "") == (process.returncode, complaint)
    before = receiver.depth()
    assert before < COUNT
    done = replay(*arguments)
    assert (0, "") == (done.returncode, done.stderr)
    found = [message.body for message in receiver.messages()]
    assert {event.data for event in events} == set(found)
    if kind == "redis":
        assert [event.data for event in events] == found
    else:
        assert len(found) < COUNT + before
    first = list(dict.fromkeys(found))
    for task in {event.subject for event in events}:
        own = {event.data: None for event in events if event.subject == task}
        assert list(own) == [data for data in first if data in own]
