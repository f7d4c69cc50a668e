"""A Redis Cluster that stores nothing, or not all: what `check` says, and what goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from celery_event_bridge.cli.check import sink_findings
from celery_event_bridge.contract import Outcome, notices
from celery_event_bridge.testing import deliver
from celery_event_sinks.redis.plugin import PLUGIN
from celery_event_sinks.redis.settings import RedisSettings
from tests.support.clusters import Cluster, cluster
from tests.support.redis_clusters import SHARDS, STREAMS, opened, sink
from tests.support.servers import Redis
from tests.support.servers.debian import until
from tests.support.streams import some

ROOT = Path(__file__).parents[3]


@pytest.fixture
def small() -> Iterator[Cluster]:
    """Without replicas."""
    with cluster(replicas=0) as made:
        yield made


@pytest.fixture
def partly() -> Iterator[Cluster]:
    """One that serves what it can."""
    with cluster("--cluster-require-full-coverage", "no", replicas=0) as made:
        yield made


def said(url: str, **settings: Any) -> list[str]:
    """Return what `check` says of the sink."""
    given = RedisSettings(url=url, **{"shards": SHARDS, **settings})
    return [f"{finding.verdict} {finding.text}" for finding in sink_findings("redis", PLUGIN, given)]


def uncover(nodes: Cluster, stream: bytes) -> None:
    """Let nobody serve the slot of that stream."""
    for node in nodes.nodes:
        with node.client() as client:
            client.execute_command("CLUSTER", "DELSLOTS", key_slot(stream))


def test_a_whole_cluster_is_well(small: Cluster) -> None:
    """With the advice on its nodes' settings said once, not a time for each."""
    found = said(small.url)
    assert "ok sink redis: stores" == found[0]
    assert 1 == sum("appendfsync" in line for line in found)


def test_a_server_that_is_in_no_cluster_is_said(own_redis: Redis) -> None:
    """With the scheme that it has."""
    address = own_redis.url.removeprefix("redis://").removesuffix("/0")
    (found,) = said(f"redis+cluster://{address}")
    assert found.startswith("FAIL")
    assert "it is in no Redis Cluster: redis:// instead of redis+cluster://" in found


def test_nobody_there_is_said() -> None:
    """In one line."""
    (found,) = said("redis+cluster://127.0.0.1:9,127.0.0.1:10")
    assert found.startswith("FAIL sink redis: Redis at the cluster 127.0.0.1:9,127.0.0.1:10")
    assert "onnection refused" in found


def test_slots_that_nobody_serves_are_named(small: Cluster) -> None:
    """A cluster that wants all of them served stores nothing."""
    uncover(small, STREAMS[0])
    slot = key_slot(STREAMS[0])
    until(lambda: f"no node serves the slots {slot}" in said(small.url)[0], 20, "it is noticed")
    assert said(small.url)[0].startswith("FAIL")


def test_a_stream_without_a_node_waits_while_the_others_store(partly: Cluster) -> None:
    """Its events come back after a while, and it is told of and named until it stores again."""
    subject = sink(partly.url)
    subject.open()
    uncover(partly, STREAMS[0])
    assert any(f"FAIL sink redis: Redis at the cluster {partly.where}" in line for line in said(partly.url))
    before = notices.NOTICES.counts()["stream-down"]
    verdicts = deliver(subject, some(600), 60)
    stored = {event.id for verdict in verdicts if verdict.outcome is Outcome.STORED for event in verdict.events}
    back = [event for verdict in verdicts if verdict.outcome is Outcome.RETRY for event in verdict.events]
    assert set(subject._names.of(back)) == {STREAMS[0]}
    assert len(stored) + len(back) == 600
    assert [STREAMS[0].decode()] == list(subject.troubles)
    assert before + 1 == notices.NOTICES.counts()["stream-down"]
    subject.look()
    with partly.nodes[0].client() as client:
        client.execute_command("CLUSTER", "ADDSLOTS", key_slot(STREAMS[0]))

    def mended() -> bool:
        subject.look()
        return not subject.troubles

    until(mended, 30, "it stores again")
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(subject, back, 30)}


def test_a_user_without_the_right_to_ask_is_told(small: Cluster) -> None:
    """Which right it is."""
    for node in small.nodes:
        with node.client() as client:
            client.execute_command("ACL", "SETUSER", "bridge", "on", ">pw", "~*", "+@all", "-cluster")
    (found,) = said(small.url.replace("://", "://bridge:pw@"))
    assert "cluster" in found
    assert "permissions" in found
    assert "pw" not in found


@pytest.mark.parametrize("ordered", [False, True], ids=["at will", "in order"])
def test_the_rights_of_the_page_suffice(small: Cluster, ordered: bool) -> None:
    """For storing, and while a slot is on its way."""
    rights = "+xadd +ping +info +xlen +xinfo +xrange +time +ttl +persist +role"
    more = "+multi +exec +cluster|info +cluster|slots +asking"
    page = (ROOT / "docs/how-to/rights.md").read_text().replace("\\|", "|")
    assert all(f"{each}" in page for each in (rights, *more.split()))
    for node in small.nodes:
        with node.client() as client:
            command = ["ACL", "SETUSER", "bridge", "on", ">pw", "~celery-events*", *rights.split(), *more.split()]
            client.execute_command(*command)
    subject = opened(small.url.replace("://", "://bridge:pw@"), ordered=ordered)
    subject.look()
    for number, _ in enumerate(small.move(STREAMS[0], small.another(STREAMS[0]))):
        verdicts = deliver(subject, some(300, 300 * number), 30)
        assert {Outcome.STORED} == {verdict.outcome for verdict in verdicts}
    assert 900 == sum(len(each) for each in small.entries(STREAMS).values())


def test_a_password_goes_to_every_node(small: Cluster) -> None:
    """User and password are those of the URL."""
    for node in small.nodes:
        with node.client() as client:
            client.execute_command("ACL", "SETUSER", "bridge", "on", ">p%2Fw", "~*", "+@all")
            client.execute_command("ACL", "SETUSER", "bridge", ">p/w")
    subject = opened(small.url.replace("://", "://bridge:p%2Fw@"))
    assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(subject, some(300), 30)}
    assert 3 == sum(bool(_who(node)) for node in small.nodes)


def _who(node: Any) -> bool:
    with node.client() as client:
        return any(each["user"] == "bridge" for each in client.client_list())
