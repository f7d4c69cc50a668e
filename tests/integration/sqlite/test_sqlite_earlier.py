"""Files of the version before brokers had names: carried over, read as they are, and shared with bridges of it."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Callable
from contextlib import closing
from multiprocessing.context import SpawnProcess
from pathlib import Path

import msgspec
import pytest

from celery_event_bridge.contract import Event, SinkUnavailable
from celery_event_bridge.reader import Events, open_reader
from celery_event_bridge.testing import sample_events
from tests.support import oracle
from tests.support.earlier_sqlite import EarlierBridge, columns, made
from tests.support.sqlite_files import opened, store, through_sqlite, write_on
from tests.support.streams import ids, some

PATIENCE = 5.0
"""Seconds after which a reader gives up a file that it cannot read."""
spawn = multiprocessing.get_context("spawn")


def named(events: list[Event], broker: str = "eu") -> list[Event]:
    return [msgspec.structs.replace(event, broker=broker) for event in events]


def reader(path: Path, group: str | None = None, broker: str | None = None) -> Events:
    return open_reader(f"sqlite:///{path}", group, broker=broker, follow=False, lease=1.0, give_up_after=PATIENCE)


def read(path: Path, broker: str | None = None) -> dict[str, str | None]:
    """By id, the broker's name that a reader finds."""
    with reader(path, broker=broker) as events:
        return {event.id: event.broker for event in events}


def test_a_file_of_the_last_version_is_carried_over(path: Path) -> None:
    """Its rows are as they were, with no name; what is stored from now on has one, and a group goes on in its place."""
    before = sample_events(100)
    made(path, before, "billing", 60)
    rows = oracle.in_sqlite(path)
    subject = opened(path)
    after = named(sample_events(130)[100:])
    store(subject, [*before[:10], *after])
    subject.close()
    found = oracle.in_sqlite(path)
    assert [one | {"broker": None} for one in rows] == found[:100]
    assert [event.id for event in after] == [one["id"] for one in found[100:]]
    assert {"eu"} == {one["broker"] for one in found[100:]}
    with reader(path, "billing") as events:
        assert ids([*before[60:], *after]) == [event.id for event in events]


def test_a_reader_takes_a_file_of_the_last_version_as_it_is(path: Path) -> None:
    """For oneself and for a group; nothing has a broker's name, and the table gets no column by reading."""
    events = sample_events(50)
    made(path, events)
    there = columns(path)
    assert dict.fromkeys(ids(events)) == read(path)
    assert {} == read(path, "eu")
    with reader(path, "billing") as found:
        assert dict.fromkeys(ids(events)) == {event.id: event.broker for event in found}
    with open_reader(f"sqlite:///{path}", follow=False, newest=5, give_up_after=PATIENCE) as looking:
        found_before = [one for rows in looking.before(["task-started", "worker-heartbeat"]) for one in rows]
        assert ids(events[44::-1]) == [one.id for one in found_before]
    assert there == columns(path)
    assert "broker" not in there


def test_bridges_of_both_versions_write_one_file(path: Path) -> None:
    """In turns, as in a rolling update: the earlier one has it open while the table gets its column, and both read."""
    parts = [some(20, first) for first in range(0, 120, 20)]
    earlier = EarlierBridge(path)
    earlier.store(parts[0])
    subject = opened(path)
    store(subject, named(parts[1]))
    earlier.store(parts[2])
    store(subject, named(parts[3]))
    late = EarlierBridge(path)  # and one that is started after it
    late.store(parts[4])
    store(subject, named(parts[5]))
    everything = [event_id for part in parts for event_id in ids(part)]
    assert everything == earlier.read() == late.read() == list(read(path))
    assert ids([*parts[1], *parts[3], *parts[5]]) == list(read(path, "eu"))
    subject.close()
    earlier.store(some(1, 500))
    earlier.close()
    late.close()


def test_a_roll_back_goes_on_in_the_file(path: Path) -> None:
    """One that this version has made: the earlier one stores and reads, and back again."""
    subject = opened(path)
    store(subject, named(some(20)))
    subject.close()
    earlier = EarlierBridge(path)
    earlier.store(some(20, 20))
    assert ids(some(40)) == earlier.read()
    earlier.close()
    subject = opened(path)
    store(subject, named(some(20, 40), "us"))
    subject.close()
    assert ["eu"] * 20 + [None] * 20 + ["us"] * 20 == list(read(path).values())


def test_a_reader_sees_names_from_the_moment_on_that_there_are_any(path: Path) -> None:
    """One that has the file open while a bridge carries it over."""
    made(path, some(5))
    with open_reader(f"sqlite:///{path}", broker="eu", give_up_after=PATIENCE) as events:
        events.idle = events.stop
        assert [] == list(events)
    with open_reader(f"sqlite:///{path}", give_up_after=PATIENCE) as events:
        assert [None] * 5 == [next(events).broker for _ in range(5)]
        subject = opened(path)
        store(subject, named(some(5, 5)))
        assert ["eu"] * 5 == [next(events).broker for _ in range(5)]
        subject.close()


def test_an_earlier_copy_that_is_put_into_a_file_in_use_is_carried_over(path: Path, tmp_path: Path) -> None:
    """With `.restore`, under a running bridge: it stores there, and goes on."""
    copy = made(tmp_path / "copy.db", some(5))
    subject = opened(path)
    store(subject, named(some(5, 10)))
    with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
    store(subject, named(some(5, 20)))
    assert [None] * 5 + ["eu"] * 5 == list(read(path).values())
    subject.close()


def test_another_programs_table_gets_no_column(path: Path) -> None:
    """It is refused, and is as it was."""
    through_sqlite(path, "CREATE TABLE events (id TEXT UNIQUE, data BLOB)")
    with pytest.raises(SinkUnavailable, match="a table `events` of another program"):
        opened(path)
    assert ["id", "data"] == columns(path)


def test_a_column_that_somebody_has_added_before_is_used_as_it_is(path: Path) -> None:
    """What is no text in it is no name, and no reason to call the row another program's."""
    made(path, some(3))
    through_sqlite(path, "ALTER TABLE events ADD COLUMN broker", "UPDATE events SET broker = 7 WHERE seq = 1")
    through_sqlite(
        path, "UPDATE events SET broker = x'ff' WHERE seq = 2", "UPDATE events SET broker = 'us' WHERE seq = 3"
    )
    subject = opened(path)
    store(subject, named(some(1, 3)))
    subject.close()
    assert [None, None, "us", "eu"] == list(read(path).values())


def test_a_file_is_carried_over_once_by_whoever_comes_first(
    path: Path, spawned: Callable[..., SpawnProcess], tmp_path: Path
) -> None:
    """Several bridges at the same moment: each stores, and there is one column."""
    made(path, some(5, 900_000))
    stop = spawn.Event()
    pipes = [spawn.Pipe(duplex=False) for _ in range(3)]
    writers = [spawned(write_on, tmp_path, 1000 * number, stop, pipe[1]) for number, pipe in enumerate(pipes)]
    confirmed: list[str] = []
    for receiving, _ in pipes:
        assert receiving.poll(60)
        confirmed += receiving.recv()[1]
    stop.set()
    for (receiving, _), writer in zip(pipes, writers, strict=True):
        while receiving.poll(60) and (more := receiving.recv()) is not None:
            confirmed += more[1]
        writer.join(60)
        assert 0 == writer.exitcode
    assert 1 == columns(path).count("broker")
    assert set(confirmed) <= set(read(path))
