"""`tail -n`: the newest of a stream of several partitions, which go back as far as each has records."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from celery_event_bridge.cli import tail
from celery_event_bridge.cli.lines import Asked, Lines
from celery_event_bridge.cli.printer import Printer
from celery_event_bridge.contract import Batch, Reading, Record
from celery_event_bridge.reading.session import Events

SECOND = 1_000_000


class Partitions:
    """A stream in memory; a reader begins so many records before the end of each partition."""

    def __init__(self, **types: Sequence[tuple[int, str]]) -> None:
        self._partitions = types
        self.looks: list[int] = []

    def open_reader(self, _url: str | None, *, newest: int, **_: Any) -> Events:
        self.looks.append(newest)
        batches = [
            Batch([_record(name, at, kind) for at, kind in records[-newest:]])
            for name, records in self._partitions.items()
        ]
        return Events(_Reader(batches), Reading(ends=True))


class _Reader:
    def __init__(self, batches: list[Batch]) -> None:
        self._batches = batches

    def open(self) -> None:
        pass

    def fetch(self, limit: int, timeout: float) -> Batch:
        return self._batches.pop(0)

    def ended(self) -> bool:
        return not self._batches

    def renew_lease(self) -> bool:
        return True

    def commit(self, positions: Mapping[Hashable, Sequence[Any]]) -> bool:
        return True

    def close(self) -> None:
        pass


def _record(partition: str, at: int, kind: str) -> Record:
    stored = 1_700_000_000 * SECOND + at * SECOND
    return Record(partition, at, f"{partition}-{at}", kind, partition, None, stored, b"{}", stored=stored)


def printed(stream: Partitions, folder: Path, count: int, **asked: Any) -> list[str]:
    """The senders and times, in seconds, of what `tail -n` prints of it, as JSON."""
    context: Any = SimpleNamespace(meta={})
    with (folder / "out").open("w+") as output:
        printer = Printer(output, Lines(Asked(**asked), "json"), reverse=False, count=count)
        tail._newest(context, {"count": count, "url": None, "follow": False, "brokers": ()}, printer)
        printer.end()
        output.seek(0)
        return [line.partition('"id":"')[2].partition('"')[0] for line in output]


@pytest.fixture
def quiet_and_busy(monkeypatch: pytest.MonkeyPatch) -> Partitions:
    """One partition with ten old failures, and one with thousands of starts, in which a newer failure is far back."""
    busy = [(1000 + number, "task-failed" if number == 1400 else "task-started") for number in range(3000)]
    stream = Partitions(quiet=[(number, "task-failed") for number in range(10)], busy=busy)
    monkeypatch.setattr(tail, "open_reader", stream.open_reader)
    return stream


def test_the_newest_are_those_of_all_partitions(quiet_and_busy: Partitions, tmp_path: Path) -> None:
    """By their time: it looks further back until that brings nothing newer."""
    assert ["quiet-8", "quiet-9", "busy-2400"] == printed(quiet_and_busy, tmp_path, 3, types=["task-failed"])
    assert 1000 == quiet_and_busy.looks[0] < quiet_and_busy.looks[-1]


def test_what_comes_last_is_printed_last(quiet_and_busy: Partitions, tmp_path: Path) -> None:
    """Whichever partition it is in."""
    assert ["busy-3998", "busy-3999"] == printed(quiet_and_busy, tmp_path, 2)
    everything = printed(quiet_and_busy, tmp_path, 10_000)
    assert (3010, "quiet-0", "busy-3999") == (len(everything), everything[0], everything[-1])


def test_where_fewer_match_the_whole_stream_is_looked_through(quiet_and_busy: Partitions, tmp_path: Path) -> None:
    """And no more than that."""
    assert 11 == len(printed(quiet_and_busy, tmp_path, 12, types=["task-failed"]))
    assert [] == printed(quiet_and_busy, tmp_path, 3, types=["task-sent"])
    assert [1000, 8000] * 2 == quiet_and_busy.looks


def test_a_stream_that_grows_all_the_time_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look finds more than the one before."""
    growing = [(number, "task-started") for number in range(600)]
    stream = Partitions(busy=growing)

    def open_reader(url: str | None, **given: Any) -> Events:
        growing.extend((number, "task-started") for number in range(len(growing), len(growing) + 300))
        return stream.open_reader(url, **given)

    monkeypatch.setattr(tail, "open_reader", open_reader)
    assert [] == printed(stream, tmp_path, 3, types=["task-failed"])
    assert [1000, 8000] == stream.looks
