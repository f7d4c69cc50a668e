"""`check` of the HTTP address, and of a SQLite file that is not there."""

from __future__ import annotations

import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.observe import http
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.sink import SqliteSink
from tests.support.bridges import Bridge
from tests.support.servers.debian import free_port
from tests.support.stores import SqliteStore


def test_an_address_that_another_program_has_fails() -> None:
    """The line names the setting and the way out; a free one, and none, are right."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = other.getsockname()[:2]
        found = http.finding(address)
    assert "FAIL" == found.verdict
    assert f"BRIDGE_HTTP=127.0.0.1:{address[1]}: cannot listen there: Address already in use" in found.text
    assert ("ok", True) == (http.finding(address).verdict, "free" in http.finding(address).text)
    assert "health and metrics: off" == http.finding(None).text


def test_the_address_of_a_bridge_that_runs_is_right(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """`check` beside it, with its settings, finds it there."""
    port = free_port()
    settings = SqliteStore(tmp_path).settings | {"BRIDGE_HTTP": f"127.0.0.1:{port}"}
    start_bridge(BRIDGE_BROKER_URL=broker_url, **settings).await_ready()
    found = http.finding(("127.0.0.1", port))
    assert ("ok", True) == (found.verdict, "a bridge is running there" in found.text)


def test_a_file_that_is_not_there_is_planned(tmp_path: Path) -> None:
    """Nothing is left of the trial; one that is there is tried itself, and keeps its events."""
    path = tmp_path / "events.db"
    subject = SqliteSink(SqliteSettings(path=path, retention=None))
    (found,) = subject.preview()
    assert ("ok", f"the file {path} is not there yet, run will make it") == (found.verdict, found.text)
    assert [] == [*tmp_path.iterdir()]
    subject.open()
    assert () == subject.preview()
    subject.close()


def test_a_file_that_cannot_be_made_is_found_out(tmp_path: Path) -> None:
    """In a folder that is not there, or that this user may not write: under its own name, not the trial's."""
    away = SqliteSink(SqliteSettings(path=tmp_path / "none" / "events.db", retention=None))
    with pytest.raises(SinkUnavailable, match=rf"BRIDGE_SQLITE_PATH={tmp_path}/none/events.db: ") as raised:
        away.preview()
    assert ".check" not in str(raised.value)
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "events.db").symlink_to(tmp_path / "gone" / "events.db")
    led_away = SqliteSink(SqliteSettings(path=folder / "events.db", retention=None))
    with pytest.raises(SinkUnavailable):
        led_away.preview()
    assert ["events.db"] == [file.name for file in folder.iterdir()]
    assert stat.S_ISLNK((folder / "events.db").lstat().st_mode)
