"""Streams of a Redis Cluster read back: all of them, through moved slots and lost masters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celery_event_bridge.contract import Outcome, SinkUnavailable, StreamMissing
from celery_event_bridge.reader import open_reader
from celery_event_bridge.testing import deliver
from tests.support.clusters import Cluster, cluster
from tests.support.redis_clusters import SHARDS, STREAMS, opened
from tests.support.servers.debian import until
from tests.support.streams import ids, some


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


def store(nodes: Cluster, count: int, first: int = 0) -> list[str]:
    events = some(count, first)
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(opened(nodes.url), events, 30)}
    return sorted(ids(events))


def url(nodes: Cluster) -> str:
    return f"{nodes.url}?shards={SHARDS}"


def test_all_streams_are_read_to_their_ends(nodes: Cluster) -> None:
    """By the URL as by the settings; with a group each event once, by two readers together."""
    stored = store(nodes, 2000)
    with open_reader(url(nodes), follow=False) as reader:
        assert stored == sorted(event.id for event in reader)
    environ = {"BRIDGE_SINK": "redis", "BRIDGE_REDIS_URL": nodes.url, "BRIDGE_REDIS_SHARDS": str(SHARDS)}
    with open_reader(environ=environ, follow=False) as reader:
        assert stored == sorted(event.id for event in reader)
    with open_reader(url(nodes), "billing") as one, open_reader(url(nodes), "billing") as other:
        found = [next(reader) for _ in range(500) for reader in (one, other)]
        assert one.commit(found[-2])
        assert other.commit(found[-1])
    with open_reader(url(nodes), "billing", follow=False) as rest:
        found += list(rest)
    assert stored == sorted(event.id for event in found)


def test_a_stream_that_is_not_there_is_an_empty_one(nodes: Cluster) -> None:
    """A few events are in a few of the streams; where none is there, that is said."""
    with pytest.raises(StreamMissing), open_reader(url(nodes), follow=False, give_up_after=0.5) as reader:
        next(reader)
    stored = store(nodes, 1)
    with open_reader(url(nodes), follow=False) as reader:
        assert stored == [event.id for event in reader]


def test_a_group_goes_on_while_slots_move_and_masters_die(nodes: Cluster) -> None:
    """What comes later is handed out, and nothing twice that was committed."""
    stored = store(nodes, 600)
    with open_reader(url(nodes), "billing") as reader:
        found = [next(reader) for _ in range(600)]
        assert reader.commit(found[-1])
        assert ["begun", "moved", "told"] == list(nodes.move(STREAMS[0], nodes.another(STREAMS[0])))
        stored += store(nodes, 600, 600)
        found += [next(reader) for _ in range(600)]
        assert reader.commit(found[-1])
        before = nodes.owner(STREAMS[1])
        until(nodes.is_whole, 20, "the replicas have all")
        before.kill()
        until(lambda: nodes.owner(STREAMS[1]) is not before, 60, "the replica has taken over")

        def goes_on() -> bool:
            try:
                opened(nodes.url)
            except SinkUnavailable:
                return False
            return True

        until(goes_on, 30, "the cluster stores")
        stored += store(nodes, 600, 1200)
        found += [next(reader) for _ in range(600)]
        assert reader.commit(found[-1])
    assert sorted(stored) == sorted(event.id for event in found)
