"""`replay` never feeds a bridge its own events, whatever the name of that bridge's queue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import amqp
import pytest

from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.replaying import Receiver, happened, replay
from tests.support.stores import SqliteStore
from tests.support.streams import Stream, in_sqlite

OTHER = {"BRIDGE_QUEUE": "celeryev.other"}
LOOP = "it would get its own events again from exchange 'celeryev'"


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    """A SQLite file with three events."""
    found = in_sqlite(tmp_path)
    found.write(happened(3))
    return found


def queues(url: str, *arguments: str, **settings: str) -> None:
    done = run_to_end("celery_event_bridge", "queues", *arguments, BRIDGE_BROKER_URL=url, **settings)
    assert (0, "") == (done.returncode, done.stderr)


def test_not_where_the_queue_has_another_name(broker_url: str, stream: Stream) -> None:
    """As after a migration: who replays with other settings is refused, until the last bridge's queue is gone."""
    receiver = Receiver(broker_url)
    queues(broker_url, "declare", **OTHER)
    done = replay("--from", stream.url, "--to", broker_url)
    assert (2, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert "a bridge's queue, whatever its name, is bound to exchange celeryev of amqp://guest:**@" in done.stderr
    assert LOOP in done.stderr
    assert 0 == receiver.depth()
    queues(broker_url, "remove", "--force", **OTHER)
    assert 0 == replay("--from", stream.url, "--to", broker_url).returncode
    assert 3 == len(receiver.messages())


def test_not_where_a_bridge_with_another_queue_runs(
    start_bridge: Callable[..., Bridge], broker_url: str, stream: Stream, tmp_path: Path
) -> None:
    """It has declared its queue itself, and may be stopped again."""
    (tmp_path / "bridge").mkdir()
    store = SqliteStore(tmp_path / "bridge")
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url, BRIDGE_QUEUE_TTL="0", **OTHER)
    bridge.await_ready()
    for running in (True, False):
        if not running:
            bridge.stop()
        done = replay("--from", stream.url, "--to", broker_url)
        assert 2 == done.returncode
        assert LOOP in done.stderr
    assert 0 == replay("--from", stream.url, "--to", broker_url, "--again").returncode
    assert 3 == oracle.depth(broker_url, "celeryev.other")


def test_what_a_bridge_that_died_at_its_start_has_left_refuses_nobody(broker_url: str, stream: Stream) -> None:
    """The mark that no queue is bound to is removed."""
    with oracle.broker(broker_url) as connection:
        channel = connection.channel()
        channel.exchange_declare("celeryev.bridged", "fanout", durable=True, auto_delete=True)
        receiver = Receiver(broker_url)
        assert 0 == replay("--from", stream.url, "--to", broker_url).returncode
        assert 3 == len(receiver.messages())
        with pytest.raises(amqp.NotFound):
            channel.exchange_declare("celeryev.bridged", "fanout", passive=True)
