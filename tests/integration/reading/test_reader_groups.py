"""Readers of one group, and their ends: each event is handled, and no reader's share is another's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client

from celery_event_bridge.reader import Forked
from celery_event_bridge.testing import sample_events
from tests.support.reading import notes
from tests.support.servers import Kafka
from tests.support.servers.debian import PATIENCE, ROOT, until
from tests.support.streams import Stream, ids, in_kafka, in_redis, of_kind, some

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
            assert busy.alive()
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


def test_a_copy_in_a_forked_child_is_refused(stream: Stream, tmp_path: Path) -> None:
    """It hands out and commits nothing there, with a sentence; closing it leaves the parent's alone."""
    stream.write(some(300))
    with stream.reader("billing") as events:
        first = [next(events) for _ in range(5)]
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)  # a client that is used on both sides may wait for ever, in C
            try:
                said = []
                for use in (lambda: next(events), lambda: events.commit(first[-1]), events.alive):
                    try:
                        said.append(f"not refused: {use()}")
                    except Forked as exc:
                        said.append(str(exc))
                events.close()
                (tmp_path / "said").write_text("\n".join(said))
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        said = (tmp_path / "said").read_text().splitlines()
        assert [f"this reader was opened in process {os.getpid()}, before a fork"] * 3 == [
            line.partition(", and is")[0] for line in said
        ]
        assert events.commit(first[-1])
        rest = [next(events) for _ in range(295)]
        assert events.commit(rest[-1])
        assert {event.id for event in [*first, *rest]} == set(ids(some(300)))
