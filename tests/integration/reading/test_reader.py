"""Reading back from real servers: what was stored, in groups that share the work, across kills and outages."""

from __future__ import annotations

import datetime
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from redis import Redis as Client

from celery_event_bridge.contract import Event, SinkUnavailable
from celery_event_bridge.reader import Forked, open_reader
from celery_event_bridge.testing import sample_events
from tests.support.reading import notes
from tests.support.servers import Kafka, Redis
from tests.support.servers.debian import PATIENCE, ROOT, until
from tests.support.streams import Stream, ids, in_kafka, in_redis, in_sqlite, of_kind, some


@pytest.fixture(params=["sqlite", "redis", "kafka"])
def stream(request: pytest.FixtureRequest) -> Iterator[Stream]:
    """Each kind in turn."""
    made = of_kind(request.param, request)
    yield made
    made.sink.close()


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
        with sqlite3.connect(stream.sink._path) as connection:
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


# Several readers, and their ends ------------------------------------------------------------------------------------


@pytest.fixture
def start_reader(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], Path]]]:
    """Starts readers as processes; they end with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(stream: Stream, every: int, pause: float = 0.0) -> tuple[subprocess.Popen[bytes], Path]:
        file = tmp_path / f"notes-{len(started)}"
        file.touch()
        arguments = [stream.url, "billing", str(file), str(stream.lease), str(every), str(pause)]
        process = subprocess.Popen([sys.executable, "-m", "tests.support.reading", *arguments], cwd=ROOT)
        started.append(process)
        return process, file

    yield start
    for process in started:
        process.kill()
        process.wait(60)


def test_one_of_two_readers_is_killed(
    stream: Stream, start_reader: Callable[..., tuple[subprocess.Popen[bytes], Path]]
) -> None:
    """Each event is handled at least once, again only what was not committed, and committed by one reader only."""
    warm = some(300, 100_000)
    readers = [start_reader(stream, 500, 0.0002) for _ in range(2)]

    def both_at_work() -> bool:
        # One at a time, so that both have a share; in SQLite one of them has it all.
        stream.write([warm.pop()])
        return all(notes(file).handled for _, file in readers) or stream.kind == "sqlite"

    until(both_at_work, 30, "both readers are at work", pause=0.1)
    events = some(10_000)
    stream.write(events)
    handled = [lambda file=file: notes(file).handled for _, file in readers]
    until(lambda: max(len(one()) for one in handled) > 1700, 30, "some are handled", pause=0.01)
    killed = max((0, 1), key=lambda number: len(handled[number]()))
    readers[killed][0].send_signal(signal.SIGKILL)
    until(lambda: set(ids(events)) <= {*handled[0](), *handled[1]()}, 40, "all is handled")
    dead, survivor = notes(readers[killed][1]), notes(readers[1 - killed][1])
    counts = Counter(dead.handled + survivor.handled)
    again = {event_id for event_id, count in counts.items() if count > 1}
    # The survivor, too, may have had something in hand of a share that went to the other one.
    assert again <= {*dead.left, *survivor.left}, "what was committed was handled again"
    committed = Counter(dead.committed + survivor.committed)
    assert {1} == set(committed.values()), "two commits of the same event"
    assert dead.committed
    assert again & set(dead.left), "nothing was in hand when it was killed: it proves little"
    readers[1 - killed][0].send_signal(signal.SIGTERM)
    assert 0 == readers[1 - killed][0].wait(60)


def test_a_reader_that_waits_or_is_busy_is_alive(redis_url: str) -> None:
    """Redis hears of it while nothing comes and while it handles a batch; and that takes nothing from the stream."""
    stream = in_redis(redis_url)
    events = some(40)
    stream.write(events[:20])
    with stream.reader("billing", lease=1.6) as busy:
        first = [next(busy).id for _ in range(10)]
        stream.write(events[20:])
        for _ in range(8):
            assert busy._reader.alive()
            time.sleep(0.4)  # the work on one event
            with Client.from_url(redis_url) as client:
                (consumer,) = client.xinfo_consumers("celery-events", "billing")
            assert (20, True) == (consumer["pending"], consumer["idle"] < 1600)
        first += [next(busy).id for _ in range(30)]
        idle: list[int] = []

        def wait() -> None:
            with Client.from_url(redis_url) as client:
                idle.append(client.xinfo_consumers("celery-events", "billing")[0]["idle"])
            if len(idle) == 3:
                busy.stop()

        busy.idle = wait
        assert [] == list(busy)
    assert ids(events) == first
    assert max(idle) < 2600


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_reader_that_stood_still_commits_nothing_of_another(kind: str, request: pytest.FixtureRequest) -> None:
    """Its share was taken over meanwhile: its commit passes it over, and the other one's is what counts."""
    stream = of_kind(kind, request)
    stream.write(some(50))
    asleep = stream.reader("billing", lease=0.2)
    taken = [next(asleep) for _ in range(10)]
    awake = stream.reader("billing", lease=0.2)
    found = [next(awake) for _ in range(50)]
    assert ids([event.record for event in taken]) == [event.id for event in found[:10]]
    assert not asleep.commit(taken[-1])
    assert awake.commit(found[-1])
    assert not asleep.commit(next(asleep)) if kind == "redis" else True
    asleep.close()
    awake.close()
    assert [] == stream.all("billing")


def test_in_kafka_a_revoked_partition_is_passed_over(kafka_server: Kafka) -> None:
    """A second reader takes its share: what the first has in hand of it is handled, and committed, by the second."""
    stream = in_kafka(kafka_server)
    events = some(90)
    stream.write(events)
    first = stream.reader("billing")
    mine = [next(first) for _ in events]
    second = stream.reader("billing")
    theirs: list[Any] = []
    working = threading.Event()

    def work() -> None:
        for event in second:
            theirs.append(event)
            working.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    first.idle = lambda: first.stop() if working.is_set() else None
    assert [] == list(first)
    assert not first.commit(mine[-1])
    first.close()
    extra = some(30, 1000)
    stream.write(extra)
    until(lambda: set(ids(extra)) <= {event.id for event in theirs}, 30, "the second one has all partitions")
    second.stop()
    thread.join(60)
    second._stopping.clear()
    assert second.commit(theirs[-1])
    second.close()
    kept = {event.id for event in mine} - {event.id for event in theirs}
    assert [] == stream.all("billing")
    assert kept, "the first one kept a partition, and its commit of that one counted"


def test_a_share_is_handed_on_at_once_by_a_close(stream: Stream) -> None:
    """The next reader does not wait for the lease."""
    stream.lease = 200.0
    events = some(20)
    stream.write(events)
    with stream.reader("billing") as reader:
        first = [next(reader).id for _ in range(10)]
    began = time.monotonic()
    assert sorted(ids(events)) == sorted(stream.all("billing"))
    assert time.monotonic() - began < 10 * PATIENCE
    assert len(first) == 10


# Outages ------------------------------------------------------------------------------------------------------------


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


def later(stream: Stream, events: Sequence[Event]) -> bool:
    stream.sink.open()
    stream.write(events)
    return True


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


# Redis's several streams --------------------------------------------------------------------------------------------


def test_shards_and_groups_of_types(redis_url: str) -> None:
    """Several streams are read as one, and committed each by itself."""
    stream = in_redis(redis_url, stream="celery-{group}", shards=3)
    stream.url += "?stream=celery-{group}&shards=3"
    events = sample_events(3000)
    stream.write(events)
    assert sorted(ids(events)) == sorted(stream.all())
    assert sorted(ids(events)) == sorted(stream.all("billing"))
    assert [] == stream.all("billing")
    with Client.from_url(redis_url) as client:
        names = list(client.keys("celery-*"))
        assert {0} == {client.xpending(name, "billing")["pending"] for name in names}
        assert {0} == {one["pending"] for name in names for one in client.xinfo_consumers(name, "billing")}


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


def test_a_copy_in_a_forked_child_is_refused(stream: Stream, tmp_path: Path) -> None:
    """It hands out and commits nothing there, with a sentence; closing it leaves the parent's alone."""
    stream.write(some(300))
    with stream.reader("billing") as events:
        first = [next(events) for _ in range(5)]
        child = os.fork()
        if child == 0:
            said = []
            for use in (lambda: next(events), lambda: events.commit(first[-1]), events.alive):
                try:
                    said.append(f"not refused: {use()}")
                except Forked as exc:
                    said.append(str(exc))
            events.close()
            (tmp_path / "said").write_text("\n".join(said))
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        said = (tmp_path / "said").read_text().splitlines()
        assert [f"this reader was opened in process {os.getpid()}, before a fork"] * 3 == [
            line.partition(", and is")[0] for line in said
        ]
        assert events.commit(first[-1])
        rest = [next(events) for _ in range(295)]
        assert events.commit(rest[-1])
        assert {event.id for event in [*first, *rest]} == set(ids(some(300)))
