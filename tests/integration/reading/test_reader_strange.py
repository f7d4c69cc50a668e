"""Reading a stream that is not as it should be: foreign rows, dead readers' shares, lost ends, no rights, no stream."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from redis import Redis as Client

from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.contract.notices import NOTICES
from celery_event_bridge.reader import open_reader
from tests.support.servers import Kafka
from tests.support.servers.debian import PATIENCE
from tests.support.streams import ids, in_kafka, in_redis, in_sqlite, some


def test_in_sqlite_what_is_no_event_is_handed_over(tmp_path: Path) -> None:
    """Rows of somebody else, whatever SQLite has let them write into the columns, in place; also by a time."""
    stream = in_sqlite(tmp_path)
    events = some(2)
    stream.write(events[:1])
    good: dict[str, Any] = {"type": "t", "source": "w", "subject": None, "time": 1, "data": b"{}"}
    good |= {"content_type": "application/json", "stored_at": 1}
    strange = [
        ("time", "2030-01-31"),
        ("time", 1.5),
        ("stored_at", "now"),
        ("type", b"t"),
        ("subject", b"7"),
        ("data", "{}"),
    ]
    with sqlite3.connect(tmp_path / "events.db") as connection:
        for number, (column, found) in enumerate([*strange, ("source", "not UTF-8")]):
            row = {"id": f"{number}", "key": "k", **good, column: found}
            connection.execute(
                f"INSERT INTO events ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()]
            )
        connection.execute("UPDATE events SET source = CAST(x'ff41' AS TEXT) WHERE source = 'not UTF-8'")
    connection.close()
    stream.write(events[1:])
    with stream.reader(follow=False) as reader:
        first, *foreign, last = reader
    assert [one.id for one in events] == [first.id, last.id]
    assert len(strange) + 1 == len(foreign)
    for event in foreign:
        assert "was not written by a bridge" in (event.problem or "")
        assert ("", "unknown", b"{}") == (event.type, event.source, event.data)
    assert events[1].id == stream.all(since="1h")[-1]


@pytest.mark.parametrize("days", [1, -1])
def test_in_sqlite_a_lease_ends_after_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, days: int
) -> None:
    """A reader whose clock was a day off is killed: the next one waits for the lease's length, and says for whom."""
    stream = in_sqlite(tmp_path)
    stream.write(some(10))
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + days * 86_400_000_000_000)
    killed = stream.reader("billing", lease=1.5)
    next(killed)
    monkeypatch.setattr(time, "time_ns", real)
    NOTICES.clear()
    began = time.monotonic()
    assert ids(some(10)) == stream.all("billing", lease=0.5)
    assert time.monotonic() - began < 10 * PATIENCE
    if days > 0:
        assert time.monotonic() - began > 1.4, "it was alive until then, as far as anybody knew"
        assert f":{os.getpid()}; waiting for its lease, which ends after " in caplog.text
        assert 1 <= NOTICES.counts()["waiting"]
    killed.close()


def test_in_sqlite_a_lease_that_is_renewed_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However far ahead the clock of the one who renews it is."""
    stream = in_sqlite(tmp_path)
    stream.write(some(10))
    real = time.time_ns
    alive = stream.reader("billing", lease=0.5)
    next(alive)
    other = stream.reader("billing", lease=0.2)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        monkeypatch.setattr(time, "time_ns", lambda: real() + 86_400_000_000_000)
        assert alive.alive()
        monkeypatch.setattr(time, "time_ns", real)
        assert not other._reader.fetch(1, 0.05).records
    alive.close()
    other.close()


def test_in_redis_the_end_is_not_reached_before_the_dead_ones_share(redis_url: str) -> None:
    """What a killed reader held is waited for until it may be taken over, though all the rest is read."""
    stream = in_redis(redis_url)
    events = some(50)
    stream.write(events)
    with Client.from_url(redis_url) as client:
        client.xgroup_create("celery-events", "billing", "0")
        client.xreadgroup("billing", "killed", {"celery-events": ">"}, 20)
    assert sorted(ids(events)) == sorted(stream.all("billing"))


def test_in_redis_a_lease_is_the_readers_own(redis_url: str) -> None:
    """What was left by a reader with a short lease goes at once to one with a long one."""
    stream = in_redis(redis_url)
    events = some(20)
    stream.write(events)
    with stream.reader("billing", lease=1.0) as reader:
        next(reader)
    began = time.monotonic()
    assert sorted(ids(events)) == sorted(stream.all("billing", lease=600.0))
    assert time.monotonic() - began < 15 * PATIENCE


def test_in_redis_two_that_commit_at_their_ends_do_not_wait_for_each_other(redis_url: str) -> None:
    """Each holds all that it has read until then, and is heard of."""
    stream = in_redis(redis_url)
    events = some(2000)
    stream.write(events)
    handed: list[str] = []

    def read() -> None:
        handed.extend(stream.all("billing", lease=4.0))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for one in readers:
        one.start()
    for one in readers:
        one.join(90)
        assert not one.is_alive()
    assert sorted(ids(events)) == sorted(handed)


def test_in_kafka_a_position_beyond_the_end_is_none(kafka_server: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    """The topic is not the one that was read: all of it is handed out, and the log says why."""
    stream = in_kafka(kafka_server)
    events = some(30)
    stream.write(events)
    topic = stream.url.rpartition("/")[2]
    consumer = Consumer({"bootstrap.servers": kafka_server.bootstrap, "group.id": "billing"})
    consumer.commit(offsets=[TopicPartition(topic, number, 1000) for number in range(3)], asynchronous=False)
    consumer.close()
    assert sorted(ids(events)) == sorted(stream.all("billing", since="latest"))
    assert [] == stream.all("billing")
    assert 3 == sum("before the position 1000" in one.getMessage() for one in caplog.records)


def test_no_stream_of_that_name(redis_url: str) -> None:
    """Who looks at what is there, and keeps no position, is told: a name that was mistyped is no empty stream."""
    stream = in_redis(redis_url)
    stream.write(some(1))
    with (
        pytest.raises(SinkUnavailable, match="there is no stream 'celery-event' in Redis"),
        open_reader(f"{redis_url}?stream=celery-event", follow=False, give_up_after=0) as reader,
    ):
        list(reader)


def test_a_stream_that_may_not_be_read(redis_url: str) -> None:
    """An outage like any other, though a connection can be made each time."""
    in_redis(redis_url).write(some(1))
    with Client.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", "blind", "on", ">blind", "~*", "+@all", "-xread")
        try:
            url = redis_url.replace("//", "//blind:blind@")
            with (
                pytest.raises(SinkUnavailable, match="NOPERM"),
                open_reader(url, follow=False, give_up_after=1) as reader,
            ):
                list(reader)
        finally:
            client.execute_command("ACL", "DELUSER", "blind")
