"""A path that can never be a stream: a reader that gives up after some time ends at once, with the reason."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from celery_event_bridge.contract import StreamRefused
from celery_event_bridge.reader import open_reader
from tests.support.bridges import run_to_end

LONG = 5.0
"""Seconds of an outage that is waited out."""


def text_file(path: Path) -> None:
    path.write_text("a line of a note, which is no database\n" * 200)


def short_text_file(path: Path) -> None:
    path.write_text("note\n")


def directory(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE events (name TEXT)")


@pytest.mark.parametrize("group", [None, "billing"])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (text_file, "file is not a database: it is no SQLite file"),
        (short_text_file, "file is not a database: it is no SQLite file"),
        (directory, "it is a directory: name a file in it"),
        (pipe, "it is a device or a pipe, which keeps nothing"),
        (of_another_program, "its table `events` is another program's"),
    ],
)
def test_what_can_never_be_a_stream_is_refused(
    tmp_path: Path, make: Callable[[Path], None], reason: str, group: str | None
) -> None:
    """By the first attempt, whether a position is kept or not."""
    path = tmp_path / "events.db"
    make(path)
    with pytest.raises(StreamRefused, match=f"SQLite file {path}: ") as refusal:
        next(open_reader(f"sqlite:///{path}", group, follow=False, give_up_after=LONG))
    assert reason in str(refusal.value)


@pytest.mark.parametrize("command", ["tail", "audit"])
def test_a_command_ends_at_once(tmp_path: Path, command: str) -> None:
    """With one line, and no word of another attempt."""
    path = tmp_path / "events.db"
    text_file(path)
    done = run_to_end("celery_event_bridge", command, "--from", str(path))
    assert (1, "") == (done.returncode, done.stdout)
    assert [f"celery-event-bridge: SQLite file {path}: file is not a database: it is no SQLite file"] == (
        done.stderr.splitlines()
    )


def test_a_directory_given_as_a_path_is_told_apart_from_a_url(tmp_path: Path) -> None:
    """By what it is, whatever it is called."""
    done = run_to_end("celery_event_bridge", "tail", "--from", str(tmp_path))
    assert f"celery-event-bridge: SQLite file {tmp_path}: it is a directory" in done.stderr
