"""Names of tasks that were received before what `tail` begins with: looked up in the stream, where that can be."""

from __future__ import annotations

import datetime
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from celery_event_bridge.contract import JSON, Event, LooksBack, Reading
from celery_event_bridge.forward.decode import decode
from celery_event_sinks.sqlite.reader import SqliteReader
from celery_event_sinks.sqlite.settings import SqliteSettings
from tests.support.streams import Stream, in_sqlite, some
from tests.support.tailing import tail

BETWEEN = 20_000
"""Events between a task's reception and its end: more than `tail -n` reads at first."""


def of_task(event_type: str, uuid: str, **fields: object) -> Event:
    body = msgspec.json.encode({"type": event_type, "hostname": "w1", "uuid": uuid, **fields})
    return decode(body, JSON, {}).events[0]


@pytest.fixture
def file(tmp_path: Path) -> Stream:
    """Return a file in which two tasks were received long before they end."""
    stream = in_sqlite(tmp_path)
    stream.write(
        [
            of_task("task-received", "one", name="billing.close"),
            of_task("task-received", "two", name="mail.send"),
            *some(BETWEEN),
            of_task("task-succeeded", "one"),
            of_task("task-succeeded", "two"),
            of_task("task-succeeded", "unknown"),
        ]
    )
    stream.sink.close()
    return stream


def test_lines_have_the_names_of_tasks_that_were_received_before(file: Stream) -> None:
    """A name that is nowhere has no place there."""
    done = tail("--from", file.url, "-n", "3", "--type", "task-succeeded")
    names = [line.split()[3] for line in done.stdout.splitlines()]
    assert ["billing.close", "mail.send", "-"] == names


def test_a_task_is_found_by_a_name_that_was_stored_before(file: Stream) -> None:
    """By --task, whose name stands before --since alone; and where no name is found it is said."""
    stream = in_sqlite(Path(file.url.removeprefix("sqlite:///")).parent)
    time.sleep(0.01)
    since = datetime.datetime.now(datetime.UTC).isoformat()
    stream.write([of_task("task-started", one) for one in ("one", "two", "unknown")])
    stream.sink.close()
    done = tail("--from", file.url, "--since", since, "--task", "mail.*")
    (line,) = done.stdout.splitlines()
    assert ["task-started", "mail.send", "two", "w1"] == line.split()[2:]
    assert "1 event is left out by --task, for want of the task's name" in done.stderr


def test_the_file_is_read_backwards_in_small_steps(file: Stream) -> None:
    """From where reading began, the newest first, and nothing of what is read anyway."""
    path = Path(file.url.removeprefix("sqlite:///"))
    reader = SqliteReader(SqliteSettings(path=path), Reading(ends=True, newest=3))
    with closing(reader):
        reader.open()
        assert isinstance(reader, LooksBack)
        steps = list(reader.before(["task-received"]))
        assert ["two", "one"] == [record.subject for step in steps for record in step]
        assert len(steps) > 2
        assert 3 == len(reader.fetch(100, 0.1).records)
        assert [] == [record for step in reader.before(["task-succeeded"]) for record in step]
