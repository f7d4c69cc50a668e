"""Owners of the slots of a cluster: whom to ask, whom to believe, and where a connection leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ClusterDownError, ConnectionError as RedisConnectionError, ResponseError

from celery_event_sinks.redis.cluster import Cluster, SlotOwner, Slots, cluster_of
from celery_event_sinks.redis.masters import NoMaster

A, B, C = ("a", 1), ("b", 2), ("c", 3)
OK, DOWN = b"cluster_state:ok\r\n", b"cluster_state:fail\r\n"


def table(*masters: tuple[str, int]) -> list[Any]:
    """Return the reply to CLUSTER SLOTS where each has an equal part."""
    each = 16384 // len(masters)
    return [
        [number * each, 16383 if number + 1 == len(masters) else (number + 1) * each - 1, [host.encode(), port, b"id"]]
        for number, (host, port) in enumerate(masters)
    ]


class Nodes:
    """Nodes that answer as they are told, and who was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, url: str, seconds: float, commands: Sequence[Sequence[str]]) -> Sequence[Any]:
        host = url.rpartition("/")[2].partition(":")[0]
        self.asked.append(host)
        assert 0 < seconds <= 5
        if isinstance(answer := self.answers[host], Exception):
            raise answer
        return answer if isinstance(answer, tuple) else (OK, answer)

    def slots(self) -> Slots:
        return Slots("redis+cluster://a:1,b:2", self)


def at(slots: Slots, slot: int) -> SlotOwner:
    """Return the owner of a slot; nobody is asked for names."""
    return SlotOwner(slots, slot, lambda host, port, seconds: None)


@pytest.mark.parametrize(
    ("url", "node"),
    [
        ("redis+cluster://u:p%2Fw@a:1,b", "redis://u:p%2Fw@h:7"),
        ("rediss+cluster://[::1]:1?socket_keepalive=1", "rediss://h:7?socket_keepalive=1"),
    ],
)
def test_a_nodes_url_has_what_that_of_the_cluster_has(url: str, node: str) -> None:
    """Login, options and TLS."""
    assert node == cluster_of(url).node_url(("h", 7))
    assert "redis://[::1]:7" == Cluster("redis", "", [A], "").node_url(("::1", 7))


@pytest.mark.parametrize("hosts", ["", "a:0", "a:x", "a:1,,b", "a:1,b:99999"])
def test_hosts_that_are_none(hosts: str) -> None:
    """Are not taken for others."""
    with pytest.raises(NoMaster, match="separated by commas"):
        cluster_of(f"redis+cluster://{hosts}")


def test_the_first_that_knows_is_believed() -> None:
    """One that is away, or says that the cluster is down for it, is passed over."""
    nodes = Nodes(a=OSError("away"), b=(DOWN, table(A)), c=table(B, C))
    slots = Slots("redis+cluster://a:1,b:2,c:3", nodes)
    slots.learn(3.0)
    assert (B, C) == (slots.owner(0), slots.owner(16383))
    assert ["a", "b", "c"] == nodes.asked


def test_another_is_asked_the_next_time() -> None:
    """Who answered last may be behind the others; who was named by another one is asked first."""
    nodes = Nodes(a=table(A, B, C), b=table(A, B, C), c=table(A, B, C))
    slots = nodes.slots()
    for _ in range(3):
        slots.learn(3.0)
    assert ["a", "b", "c"] == nodes.asked
    slots.prefer(C)
    slots.learn(3.0)
    assert "c" == nodes.asked[-1]


def test_all_that_were_asked_in_vain_are_left_alone_for_a_moment() -> None:
    """Each stream would ask each of them again."""
    nodes = Nodes(a=OSError("away"), b=OSError("away"))
    slots = nodes.slots()
    for _ in range(5):
        with pytest.raises(OSError, match="away"):
            slots.learn(1.0)
    assert ["a", "b"] == nodes.asked


@pytest.mark.parametrize(
    ("served", "said"),
    [
        ([], "no node serves the slots 0-16383"),
        ([[0, 99, [b"a", 1]], [101, 16383, [b"a", 1]]], "no node serves the slots 100"),
        ([[5, 16000, [b"a", 1]]], "no node serves the slots 0-4, 16001-16383"),
        (table(A), "a master of some slots is down"),
    ],
)
def test_slots_that_nobody_serves_are_said(served: list[Any], said: str) -> None:
    """By a node that says that the cluster is down."""
    with pytest.raises(ClusterDownError, match=f"{said}$|{said} "):
        Nodes(a=(DOWN, served), b=OSError("away")).slots().learn(1.0)


def test_a_slot_that_nobody_serves_is_named() -> None:
    """In a cluster that serves what it can."""
    slots = Nodes(a=[[0, 99, [b"a", 1]]]).slots()
    slots.learn(1.0)
    with pytest.raises(ClusterDownError, match="slot 100"):
        slots.owner(100)


@pytest.mark.parametrize("host", [b"", None, b"?"])
def test_a_node_that_does_not_know_its_name_has_the_one_by_which_it_was_asked(host: bytes | None) -> None:
    """So say nodes behind one address."""
    slots = Nodes(a=[[0, 16383, [host, 7]]]).slots()
    slots.learn(1.0)
    assert ("a", 7) == slots.owner(0)


def test_a_refusal_is_told_before_a_node_that_is_away() -> None:
    """It says what to mend."""
    nodes = Nodes(a=OSError("away"), b=(OK, ResponseError("NOPERM no")))
    with pytest.raises(ResponseError, match="NOPERM"):
        nodes.slots().learn(1.0)


def test_where_a_connection_led_is_not_believed_again() -> None:
    """Nor are the nodes asked where another stream has asked them since."""
    nodes = Nodes(a=table(A), b=table(B))
    slots = nodes.slots()
    one, other = at(slots, 1), at(slots, 2)
    assert (A, A) == (one.find(1.0), other.find(1.0))
    assert ["a"] == nodes.asked
    nodes.answers["a"] = table(B)
    assert (B, B) == (one.find(1.0), other.find(1.0))
    assert 2 == len(nodes.asked)


def test_asking_leads_to_the_node_that_was_named_once() -> None:
    """Another connection after it goes to the owner again, and says it no more."""
    owner = at(Nodes(a=table(A), b=table(A)).slots(), 1)
    owner.find(1.0)
    owner.ask("", 9)
    assert ("a", 9) == owner.find(1.0)
    assert ("a", 9) == owner.asking
    assert A == owner.find(1.0)
    assert owner.asking is None


def test_a_node_that_did_not_answer_in_time_is_left_alone() -> None:
    """And asked last who serves what."""
    nodes = Nodes(a=table(A), b=table(A))
    slots = nodes.slots()
    owner = at(slots, 1)
    owner.find(1.0)
    owner.shun()
    assert owner.is_shunned
    with pytest.raises(RedisConnectionError, match="a:1 does not answer"):
        owner.find(1.0)
    assert ["a", "b"] == nodes.asked


def test_a_name_is_resolved_within_the_time_for_the_connection() -> None:
    """The resolver alone knows no deadline; an address needs none."""
    asked = []
    for host in ("a", "::1"):
        slots = Nodes(a=[[0, 16383, [host.encode(), 7]]]).slots()
        owner = SlotOwner(slots, 1, lambda *name: asked.append(name))
        assert (host, 7) == owner.find(1.5)
    assert [("a", 7, 1.5)] == asked
