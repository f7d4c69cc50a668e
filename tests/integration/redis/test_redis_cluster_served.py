"""A Redis Cluster behind a whole bridge, with TLS, with a password that is renewed, and of a newer Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from celery_event_bridge.contract import Outcome, Sink, secret_files
from celery_event_bridge.reader import open_reader
from celery_event_bridge.testing import SinkContract, deliver
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.clusters import Cluster, cluster
from tests.support.driven import Driven
from tests.support.redis_clusters import SHARDS, STREAMS, opened, sink
from tests.support.redis_sinks import contract_of, store_all
from tests.support.servers import newer
from tests.support.servers.debian import ServerMissing, until
from tests.support.streams import ids, some

ONE = b"celery-events"


class TestRedisClusterContract(SinkContract):
    """What every sink holds."""

    keeps_key = False

    @pytest.fixture
    def make_sink(self) -> Iterator[Callable[[], Sink]]:
        with cluster(replicas=0) as self.nodes:
            yield lambda: sink(self.nodes.url, shards=1)

    @contextmanager
    def outage(self) -> Iterator[None]:
        for node in self.nodes.nodes:
            node.kill()
        yield
        for node in self.nodes.nodes:
            node.start()
        until(self.nodes.is_whole, 60, "the cluster is whole again")

    def stored(self, sink: Any) -> list[tuple[Any, ...]]:
        return contract_of(self.nodes.entries([ONE])[ONE])


def test_a_bridge_loses_nothing_when_a_master_is_killed(start_bridge: Callable[..., Bridge], broker_url: str) -> None:
    """From RabbitMQ into six streams; what was published is in them, and `tail` shows it."""
    with cluster() as nodes:
        bridge = start_bridge(
            BRIDGE_SINK="redis",
            BRIDGE_REDIS_URL=nodes.url,
            BRIDGE_REDIS_SHARDS=str(SHARDS),
            BRIDGE_REDIS_WAIT="1",
            BRIDGE_BROKER_URL=broker_url,
        ).await_ready()
        messages = oracle.numbered(0, 6000)
        oracle.publish(broker_url, messages[:2000])
        before = nodes.owner(STREAMS[0])
        before.kill()
        oracle.publish(broker_url, messages[2000:4000])
        until(lambda: nodes.owner(STREAMS[0]) is not before, 60, "the replica has taken over")
        before.start()
        oracle.publish(broker_url, messages[4000:])
        bodies = {message.body for message in messages}

        def stored() -> set[bytes]:
            return {fields[b"data"] for each in nodes.entries(STREAMS).values() for fields in each}

        until(lambda: stored() == bodies, 60, "all are stored")
        assert 0 == bridge.stop()


def test_events_through_mutual_tls(certificates: Path) -> None:
    """To the name that the nodes announce, by which they are verified."""
    with cluster(replicas=0, certificates=certificates) as nodes:
        tls = {
            "tls_ca": certificates / "ca.pem",
            "tls_cert": certificates / "client.pem",
            "tls_key": certificates / "client.key",
        }
        events = some(600)
        verdicts = deliver(opened(nodes.tls_url, **tls), events, 30)
        assert {Outcome.STORED} == {verdict.outcome for verdict in verdicts}
        environ = {f"BRIDGE_REDIS_{name.upper()}": str(file) for name, file in tls.items()}
        environ |= {"BRIDGE_SINK": "redis", "BRIDGE_REDIS_URL": nodes.tls_url, "BRIDGE_REDIS_SHARDS": str(SHARDS)}
        with open_reader(environ=environ, follow=False) as reader:
            assert sorted(ids(events)) == sorted(event.id for event in reader)


def test_a_password_that_is_renewed_is_read_again(tmp_path: Path) -> None:
    """For the nodes that are asked as for those that store."""
    with cluster(replicas=0) as nodes:
        renew(nodes, "first")
        file = tmp_path / "url"
        url = nodes.url.replace("://", "://bridge:{}@")
        file.write_text(url.format("first"))
        secret_files.remember(url.format("first"), file, "BRIDGE_REDIS_URL")
        subject = opened(url.format("first"))
        assert {Outcome.STORED} == {verdict.outcome for verdict in deliver(subject, some(300), 30)}
        renew(nodes, "second")
        file.write_text(url.format("second"))
        for node in nodes.nodes:
            node.kill()
            node.start()
            with node.client() as client:
                client.execute_command("ACL", "SETUSER", "bridge", "on", "resetpass", ">second", "~*", "+@all")
        until(nodes.is_whole, 60, "the cluster is whole again")
        assert {Outcome.STORED} == {verdict.outcome for verdict in store_all(subject, some(300, 300))}


def renew(nodes: Cluster, password: str) -> None:
    for node in nodes.nodes:
        with node.client() as client:
            client.execute_command("ACL", "SETUSER", "bridge", "on", "resetpass", f">{password}", "~*", "+@all")


@pytest.mark.parametrize("ordered", [False, True], ids=["at will", "in order"])
def test_a_newer_redis_has_each_event_once(ordered: bool) -> None:
    """Through a slot that moves to and fro, and a master that is killed: what comes again is dropped."""
    try:
        server = newer.redis_command()
    except ServerMissing as exc:
        pytest.skip(str(exc))
    with cluster(server=server) as nodes:
        load = Driven(opened(nodes.url, ordered=ordered, wait=1), ordered=ordered)
        before = nodes.owner(STREAMS[0])

        def happen() -> None:
            for target in (nodes.another(STREAMS[0]), before):
                for _ in nodes.move(STREAMS[0], target):
                    seen = len(load.stored)
                    until(lambda seen=seen: len(load.stored) > seen + 500, 20, "the others go on")
            before.kill()
            until(lambda: nodes.owner(STREAMS[0]) is not before, 60, "the replica has taken over")
            before.start()
            until(nodes.is_whole, 60, "the cluster is whole again")

        load.run(happen)
        found = Counter(fields[b"id"].decode() for each in nodes.entries(STREAMS).values() for fields in each)
        assert dict.fromkeys((event.id for event in load.handed), 1) == dict(found)
