"""Reading back from real servers: what was stored, by types, ages and groups."""

from __future__ import annotations

import datetime
import sqlite3
import threading
import time
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer
from redis import Redis as Client

from celery_event_bridge.testing import sample_events
from tests.support.servers import Kafka
from tests.support.streams import Stream, ids, in_kafka, in_redis, of_kind, some

# What is handed out -------------------------------------------------------------------------------------------------


def test_each_event_is_read_back(stream: Stream) -> None:
    """All of it once, as it was stored, a task's events in order, and then it ends."""
    events = sample_events(3000)
    stream.write(events)
    with stream.reader(follow=False) as reader:
        found = {event.id: event for event in reader}
    assert set(ids(events)) == set(found)
    for event in events:
        read = found[event.id]
        assert (event.type, event.source, event.subject) == (read.type, read.source, read.subject)
        assert (event.data, event.content_type, None) == (read.data, read.content_type, read.problem)
        assert isinstance(read.json(), dict)
        assert read.stored is not None
        assert abs(read.stored.timestamp() - time.time()) < 120
        if event.time is not None:
            assert read.time is not None
            assert event.time // 1000 == round(read.time.timestamp() * 1e6) // 1000
    by_source: dict[str, list[str]] = {}
    for event in events:
        by_source.setdefault(event.key, []).append(event.id)
    order = {event_id: place for place, event_id in enumerate(found)}
    for same_key in by_source.values():
        assert same_key == sorted(same_key, key=order.__getitem__)


def test_an_empty_stream_ends_at_once(stream: Stream) -> None:
    """For oneself and for a group."""
    if stream.kind == "redis":
        with Client.from_url(stream.url) as client:
            client.xadd("celery-events", {"soon": "gone"})
            client.xtrim("celery-events", maxlen=0)
    assert [] == stream.all()
    assert [] == stream.all("billing")


def test_what_comes_later_is_read_too(stream: Stream) -> None:
    """A reader that follows waits for it, until it is stopped from another thread."""
    early, late = some(10), some(10, 10)
    stream.write(early)
    with stream.reader() as reader:
        assert set(ids(early)) == {next(reader).id for _ in early}
        stream.write(late)
        assert set(ids(late)) == {next(reader).id for _ in late}
        threading.Timer(0.2, reader.stop).start()
        assert [] == list(reader)


def test_the_end_is_that_of_the_start(stream: Stream) -> None:
    """What is stored while it is read is not handed out without `follow`."""
    early = some(3000)
    stream.write(early)
    with stream.reader(follow=False) as reader:
        found = [next(reader).id]
        stream.write(some(500, 3000))
        found += [event.id for event in reader]
    assert sorted(ids(early)) == sorted(found)


def test_types_are_picked(stream: Stream) -> None:
    """By the same patterns as the bridge's."""
    events = sample_events(300)
    stream.write(events)
    heartbeats = [event.id for event in events if event.type == "worker-heartbeat"]
    assert heartbeats == stream.all(types="worker-*,!worker-online")
    assert set(ids(events)) - set(heartbeats) == set(stream.all("tasks", types=["!worker-*"]))
    assert [] == stream.all("tasks")


# Where it begins ----------------------------------------------------------------------------------------------------


def test_a_group_goes_on_after_its_position(stream: Stream) -> None:
    """What is not committed is handed out again, what is committed is not; groups do not touch each other."""
    events = some(2000)
    stream.write(events)
    first: list[str] = []
    with stream.reader("billing", follow=False) as reader:
        for number, event in enumerate(reader, start=1):
            first.append(event.id)
            if number == 700:
                assert reader.commit(event)
            if number == 1000:
                break
    again = stream.all("billing")
    assert set(ids(events)) - set(first[:700]) == set(again)
    assert len(again) == 1300
    assert sorted(ids(events)) == sorted(stream.all("other"))
    assert [] == stream.all("billing")


def test_since_is_for_groups_without_a_position(stream: Stream) -> None:
    """Which is decided once, when the group begins, though nothing be committed; a position wins over it."""
    stream.write(some(10))
    assert [] == stream.all("late", since="latest")
    later = some(10, 10)
    stream.write(later)
    assert sorted(ids(later)) == sorted(stream.all("late", since="latest"))
    assert [] == stream.all("late", since="earliest")


def test_since_an_age_or_a_time(stream: Stream, tmp_path: Path) -> None:
    """The events from an hour ago on, not those of yesterday."""
    old, new = aged(stream, 86400, 0), aged(stream, 60, 100)
    for since in ("1h", datetime.timedelta(hours=1), datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)):
        assert sorted(new) == sorted(stream.all(since=since))
    assert sorted(new) == sorted(stream.all("billing", since="1h"))
    assert sorted(old + new) == sorted(stream.all(since="2d"))
    assert [] == stream.all(since="10s")


def aged(stream: Stream, seconds: int, first: int) -> list[str]:
    """Events that were stored so long ago, as far as the stream can tell."""
    events = some(20, first)
    at = round((time.time() - seconds) * 1e6)
    if stream.kind == "redis":
        with Client.from_url(stream.url) as client:
            for number, event in enumerate(events):
                fields = {"data": event.data, "id": event.id, "type": event.type, "source": event.source}
                client.xadd("celery-events", fields, id=f"{at // 1000}-{number}")
        return ids(events)
    stream.write([msgspec.structs.replace(event, time=at) for event in events])
    if stream.kind == "sqlite":
        with sqlite3.connect(stream.url.removeprefix("sqlite:///")) as connection:
            marks = ",".join("?" * len(events))
            connection.execute(f"UPDATE events SET stored_at = ? WHERE id IN ({marks})", (at, *ids(events)))
        connection.close()
    return ids(events)


# Duplicates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["redis", "kafka"])
def test_duplicates_are_dropped_across_a_restart(kind: str, request: pytest.FixtureRequest) -> None:
    """A copy that was stored after its original was handled, by a reader that is gone; nothing else is dropped."""
    stream = of_kind(kind, request)
    events, new = some(3000), some(5, 5000)
    stream.write(events)
    stream.write(events[:50])
    assert sorted(ids(events)) == sorted(stream.all("billing"))
    stream.write(events[1000:2000])
    stream.write(new)
    assert sorted(ids(new)) == sorted(stream.all("billing"))
    stream.write(events[:10])
    assert [] == stream.all("billing")
    assert sorted(ids(events[:10])) == sorted(set(stream.all("small", window=2)) & set(ids(events[:10])))
    stream.sink.close()


# What is no record of a bridge --------------------------------------------------------------------------------------


def test_in_redis_what_is_no_event_is_handed_over(redis_url: str) -> None:
    """Entries of somebody else, in place, with what is wrong with them."""
    stream = in_redis(redis_url)
    events = some(2)
    stream.write(events[:1])
    with Client.from_url(redis_url) as client:
        client.xadd("celery-events", {"temperature": "21"})
        client.xadd("celery-events", {"data": b"\xff\r\n", "id": "x", "type": b"\xff", "source": "w"})
    stream.write(events[1:])
    with stream.reader(follow=False, types="task-*") as reader:
        first, foreign, torn, last = reader
    assert [events[0].id, events[1].id] == [first.id, last.id]
    assert foreign.problem is not None
    assert "was not written by a bridge: it has no field b'data'" in foreign.problem
    assert (b'{"temperature": "21"}', "") == (foreign.data, foreign.type)
    assert torn.problem is not None
    assert b"\xff\r\n" == torn.data


def test_in_kafka_what_is_no_event_is_handed_over(kafka_server: Kafka) -> None:
    """Records without our headers, and deletions."""
    stream = in_kafka(kafka_server)
    stream.write(some(1))
    producer = Producer({"bootstrap.servers": kafka_server.bootstrap})
    topic = stream.url.rpartition("/")[2]
    producer.produce(topic, b"hello", "k", partition=0)
    producer.produce(topic, None, "k", partition=0, headers=[("ce_id", b"1")])
    assert producer.flush(20) == 0
    with stream.reader(follow=False, types="task-*") as reader:
        found = {event.data: event for event in reader}
    assert 3 == len(found)
    assert "was not written by a bridge: it has no header 'ce_id'" in (found[b"hello"].problem or "")
    assert "it has no header 'ce_type'" in (found[b""].problem or "")
