"""Redis behind sentinels, as a sink and to read: whoever is the master."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from celery_event_bridge.contract import Outcome, SinkUnavailable
from celery_event_bridge.reader import open_reader
from celery_event_bridge.testing import deliver
from celery_event_sinks.redis.settings import RedisSettings
from celery_event_sinks.redis.sink import RedisStreamsSink
from tests.support.closing import close_later
from tests.support.sentinels import NAME, Sentinels, sentinels
from tests.support.servers.debian import until
from tests.support.streams import ids, some


@pytest.fixture
def watched() -> Iterator[Sentinels]:
    with sentinels() as made:
        yield made


def url(watched: Sentinels, name: str = NAME) -> str:
    return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in watched.ports)}/{name}/0"


def sink(at: str, **settings: Any) -> RedisStreamsSink:
    made = RedisStreamsSink(RedisSettings(url=at, **settings))
    close_later(made)
    return made


def test_events_go_to_whoever_is_the_master(watched: Sentinels) -> None:
    """The master is killed, the replica takes its place: what is confirmed by both is read back, all of it."""
    subject = sink(url(watched), wait=1)
    subject.open()
    assert NAME in subject.location()
    events = some(2000)
    assert [Outcome.STORED] == [verdict.outcome for verdict in deliver(subject, events[:1000], 30) if verdict.events]
    before = watched.master()
    next(server for server in watched.servers if server.port == before).kill()
    waiting = list(events[1000:])
    settings = RedisSettings(url=url(watched))
    after = sink(settings.url)  # with no replica left there is none to wait for

    def stored() -> bool:
        try:
            after.open()
            after.available()
        except SinkUnavailable:
            return False
        undone = [
            each
            for verdict in deliver(after, waiting, 30)
            if verdict.outcome is Outcome.RETRY
            for each in verdict.events
        ]
        waiting[:] = undone
        return not waiting

    until(stored, 60, "the rest is stored")
    assert before != watched.master()
    with open_reader(url(watched), follow=False) as reader:
        assert ids(events) == [record.id for record in reader]


def test_a_reader_goes_on_at_the_new_master(watched: Sentinels) -> None:
    """A group's reader is cut off, and hands out what is stored later, nothing twice."""
    subject = sink(url(watched), wait=1)
    subject.open()
    events = some(600)
    deliver(subject, events[:300], 30)
    with open_reader(url(watched), "billing") as reader:
        found = [next(reader) for _ in range(300)]
        assert reader.commit(found[-1])
        before = watched.master()
        next(server for server in watched.servers if server.port == before).kill()

        def write() -> None:
            later = sink(url(watched))
            until(lambda: later.open() is None and later.available() is None, 60, "it would store")
            deliver(later, events[300:], 30)

        writing = threading.Thread(target=write, daemon=True)
        writing.start()
        found += [next(reader) for _ in range(300)]
        writing.join(60)
    assert ids(events) == [record.id for record in found]


def test_a_server_that_is_no_master_is_not_written_to(watched: Sentinels) -> None:
    """Sentinels that have not heard of a failover name the old master, which is a replica by now."""
    subject = sink(url(watched))
    named = next(server for server in watched.servers if server.port == watched.master())
    with named.client() as client:
        client.replicaof("127.0.0.1", 9)
    with pytest.raises(SinkUnavailable, match="no master any more"):
        subject.open()


@pytest.mark.parametrize(
    ("name", "said"),
    [("nobody", "none knows a master of that name"), (NAME, "sentinels")],
)
def test_sentinels_that_do_not_help_are_said(name: str, said: str) -> None:
    """Of another name, or away: one line that says which."""
    if name == NAME:
        subject = sink("redis+sentinel://127.0.0.1:9/mymaster/0")
        with pytest.raises(SinkUnavailable, match=said):
            subject.open()
        return
    with sentinels() as made:
        subject = sink(url(made, name))
        with pytest.raises(SinkUnavailable, match=said):
            subject.open()
