"""Reading across outages: servers that are killed, replies that are lost, streams that are not there yet."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from pathlib import Path

import pytest

from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.reader import open_reader
from tests.support.servers import Kafka, Redis
from tests.support.servers.debian import until
from tests.support.streams import ids, in_kafka, in_redis, in_sqlite, later, some


def test_redis_is_killed_and_comes_back(own_redis: Redis) -> None:
    """The reader goes on by itself, and hands out nothing twice and nothing less."""
    stream = in_redis(own_redis.url)
    events = some(3000)
    stream.write(events[:1500])
    with stream.reader("billing", lease=30.0) as reader:
        found = [next(reader) for _ in range(1500)]
        assert reader.commit(found[-1])
        own_redis.kill()
        threading.Timer(0.5, own_redis.start).start()
        late = threading.Thread(
            target=lambda: until(lambda: later(stream, events[1500:]), 30, "the rest is stored"), daemon=True
        )
        late.start()
        found += [next(reader) for _ in range(1500)]
        late.join(90)
        assert reader.commit(found[-1])
    assert ids(events) == [event.id for event in found]
    assert [] == stream.all("billing")


def test_kafka_is_killed_and_comes_back(own_kafka: Kafka) -> None:
    """The same; what the reader had in hand of partitions that it keeps is not handed out again."""
    stream = in_kafka(own_kafka)
    events = some(3000)
    stream.write(events[:1500])
    with stream.reader("billing", lease=30.0) as reader:
        found = [next(reader) for _ in range(1500)]
        assert reader.commit(found[999])
        own_kafka.kill()
        restart = threading.Thread(target=own_kafka.start, daemon=True)
        restart.start()
        assert reader.commit(found[1499])
        restart.join(180)
        stream.write(events[1500:])
        found += [next(reader) for _ in range(1500)]
        assert reader.commit(found[-1])
    assert sorted(ids(events)) == sorted(event.id for event in found)
    assert [] == stream.all("billing")


def test_a_reply_of_redis_that_is_lost(own_redis: Redis) -> None:
    """Entries that Redis has given to this reader, which never got them, are handed out when it is back."""
    stream = in_redis(own_redis.url)
    events = some(300)
    stream.write(events[:100])
    with stream.reader("billing", lease=60.0) as reader:
        found = [next(reader) for _ in range(100)]
        stream.write(events[100:])
        group = reader._reader._group
        with own_redis.client() as client:  # as if the connection had broken between the command and its reply
            client.xreadgroup("billing", group._consumer, {"celery-events": ">"}, count=150)
            client.client_kill_filter(_type="normal", skipme=True)
        found += [next(reader) for _ in range(200)]
        assert reader.commit(found[-1])
    assert sorted(ids(events)) == sorted(event.id for event in found)
    assert [] == stream.all("billing")


def test_sqlite_is_busy_or_replaced(tmp_path: Path) -> None:
    """A lock of somebody else's is waited for; another file of that name is read from its own beginning."""
    stream = in_sqlite(tmp_path)
    events = some(20)
    stream.write(events)
    with stream.reader("billing") as reader:
        found = [next(reader) for _ in range(20)]
        lock = sqlite3.connect(tmp_path / "events.db", isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN IMMEDIATE")
        threading.Timer(0.3, lambda: lock.execute("ROLLBACK")).start()
        assert reader.commit(found[9])
        lock.close()
        stream.sink.close()
        for file in tmp_path.glob("events.db*"):
            file.unlink()
        other = in_sqlite(tmp_path)
        other.write(some(5, 500))
        assert ids(some(5, 500)) == [next(reader).id for _ in range(5)]
        assert not reader.commit(found[-1])


@pytest.mark.parametrize("group", [None, "billing"])
@pytest.mark.parametrize("url", ["sqlite:////nowhere/x.db", "redis://127.0.0.1:9/0", "kafka://127.0.0.1:9/topic"])
def test_nobody_there(url: str, group: str | None) -> None:
    """One line that says where, when it is not to be waited for."""
    with pytest.raises(SinkUnavailable) as failure, open_reader(url, group, follow=False, give_up_after=2) as reader:
        list(reader)
    assert 1 == len(str(failure.value).splitlines())
    where = "/nowhere/x.db" if url.startswith("sqlite") else "127.0.0.1:9" if url.startswith("redis") else "Kafka"
    assert where in str(failure.value)


def test_a_stream_that_nobody_has_written_yet(redis_url: str, kafka_server: Kafka) -> None:
    """A reader may be there before the first bridge is."""
    with open_reader(redis_url, "billing") as reader:
        stream = in_redis(redis_url)
        stream.write(some(1))
        assert ids(some(1)) == [next(reader).id]
    topic = f"new-{uuid.uuid4().hex[:8]}"
    with open_reader(f"kafka://{kafka_server.bootstrap}/{topic}", "billing") as reader:
        in_kafka(kafka_server, topic).write(some(1))
        assert ids(some(1)) == [next(reader).id]
