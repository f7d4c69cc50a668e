"""A Redis Cluster as a sink: three masters, three replicas, and what becomes of the slots."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from celery_event_bridge.contract import Outcome
from celery_event_bridge.testing import deliver
from celery_event_sinks.redis.timed import REPLY_TIMEOUT
from tests.support.clusters import Cluster, cluster
from tests.support.driven import Driven
from tests.support.order import order_of
from tests.support.redis_clusters import STREAMS, opened
from tests.support.servers.debian import until
from tests.support.servers.redis import NativeRedis
from tests.support.streams import ids, some

BOTH = pytest.mark.parametrize("ordered", [False, True], ids=["at will", "in order"])


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


def missing(nodes: Cluster, load: Driven, *, ordered: bool) -> list[str]:
    """Return the ids that are in no stream; in order, nothing overtakes."""
    found = nodes.entries(STREAMS)
    there = {fields[b"id"].decode() for entries in found.values() for fields in entries}
    if ordered:
        assert [] == order_of([fields[b"data"] for fields in entries] for entries in found.values()).overtaken
    assert {event.id for event in load.handed} == load.stored
    return [event.id for event in load.handed if event.id not in there]


@BOTH
def test_events_go_to_the_node_of_their_stream(nodes: Cluster, ordered: bool) -> None:
    """Each stream is at its master, and each event in one of them, once."""
    subject = opened(nodes.url, ordered=ordered)
    assert {} == subject.troubles
    events = some(3000)
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(subject, events, 30)}
    assert 3 == len({nodes.owner(stream).port for stream in STREAMS})
    found = nodes.entries(STREAMS)
    assert sorted(ids(events)) == sorted(fields[b"id"].decode() for each in found.values() for fields in each)
    assert all(found.values())


@BOTH
def test_a_stream_is_stored_while_its_slot_is_on_its_way(nodes: Cluster, ordered: bool) -> None:
    """Before its key goes, after that, and with the slot at its new owner; no outage, and nothing is waited for."""
    subject = opened(nodes.url, ordered=ordered, shards=1)
    events = some(400)
    deliver(subject, events[:100], 30)
    for number, _ in enumerate(nodes.move(b"celery-events", nodes.another(b"celery-events")), 1):
        verdicts = deliver(subject, events[100 * number : 100 * (number + 1)], 30)
        assert {Outcome.STORED} == {verdict.outcome for verdict in verdicts}
    assert ids(events) == [each[b"id"].decode() for each in nodes.entries([b"celery-events"])[b"celery-events"]]


def test_what_comes_back_in_a_look_is_not_overtaken(nodes: Cluster) -> None:
    """A look settles what is on its way; what comes next waits behind that."""
    subject = opened(nodes.url, ordered=True, shards=1)
    events = some(20)
    deliver(subject, events[:5], 30)
    with nodes.owner(b"celery-events").client() as client:
        client.config_set("maxmemory", "1")
        subject.send(events[5:10])
        client.config_set("maxmemory", "0")
    subject.look()
    subject.send(events[10:])
    undecided = 15

    def decided() -> bool:
        nonlocal undecided
        undecided -= sum(len(each.events) for each in subject.verdicts(0.1) if each.outcome is Outcome.STORED)
        return not undecided

    until(decided, 20, "all are stored")
    assert ids(events) == [each[b"id"].decode() for each in nodes.entries([b"celery-events"])[b"celery-events"]]


@BOTH
def test_a_slot_is_moved_under_load(nodes: Cluster, ordered: bool) -> None:
    """What comes while its key is on its way goes to where it is (ASK), and later to the new owner (MOVED)."""
    subject = opened(nodes.url, ordered=ordered)
    load = Driven(subject, ordered=ordered)

    def move() -> None:
        for target in (nodes.nodes[1], nodes.nodes[2], nodes.nodes[0]):
            if target is nodes.owner(STREAMS[0]):
                continue
            for step in nodes.move(STREAMS[0], target):
                seen = len(load.stored)
                until(lambda seen=seen: len(load.stored) > seen + 2000, 20, "the others go on")
                if step == "moved":
                    until(lambda target=target: _asked(target) > 0, 20, "the stream goes on at its new node")

    load.run(move)
    assert [] == missing(nodes, load, ordered=ordered)
    assert load.outage.reason is None
    assert load.longest < 2


def _asked(node: NativeRedis) -> int:
    with node.client() as client:
        return int(client.info("commandstats").get("cmdstat_asking", {"calls": 0})["calls"])


@BOTH
def test_a_master_is_killed_and_its_replica_takes_over(nodes: Cluster, ordered: bool) -> None:
    """The streams of the others go on meanwhile; what its replica has confirmed is there."""
    subject = opened(nodes.url, ordered=ordered, wait=1)
    load = Driven(subject, ordered=ordered)
    before = nodes.owner(STREAMS[0])

    def kill() -> None:
        time.sleep(0.5)
        before.kill()
        until(lambda: nodes.owner(STREAMS[0]) is not before, 60, "the replica has taken over")
        before.start()
        until(nodes.is_whole, 60, "the cluster is whole again")

    load.run(kill)
    assert [] == missing(nodes, load, ordered=ordered)


@BOTH
def test_a_master_that_stands_still_holds_up_the_others_for_one_call(nodes: Cluster, ordered: bool) -> None:
    """Its streams go on at its replica; nobody waits for it a stream at a time."""
    subject = opened(nodes.url, ordered=ordered)
    load = Driven(subject, ordered=ordered)
    before = nodes.owner(STREAMS[0])
    assert before is nodes.owner(STREAMS[4])

    def stop() -> None:
        until(lambda: len(load.stored) > 1000, 20, "it is under way")
        before.pause()
        try:
            # The replies are waited for so long; those of the other connection are not.
            until(lambda: before is not nodes.owner(STREAMS[0], but=before), 20, "the replica has taken over")
            time.sleep(REPLY_TIMEOUT + 2)
        finally:
            before.resume()
        until(nodes.is_whole, 60, "the cluster is whole again")

    load.run(stop)
    missing(nodes, load, ordered=ordered)  # without WAIT the last ones may be
    assert load.blocked < 2 * REPLY_TIMEOUT - 1
