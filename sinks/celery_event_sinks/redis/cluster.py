"""Nodes of a Redis Cluster: `redis+cluster://user:password@host:6379,host2:6379`, and which one serves a slot.

Whoever is asked may know less than the others, after a failover above all. So one node after the other is asked, and
another one the next time; a node that says of itself that the cluster is down for it is not believed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from redis.exceptions import ClusterDownError, ConnectionError as RedisConnectionError, RedisError, ResponseError

from celery_event_sinks.redis.masters import NoMaster, address_of
from celery_event_sinks.redis.timed import is_name, resolve

CLUSTERS = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
"""Schemes, and those of the nodes' own URLs."""
PORT = 6379
LEAST = 0.1
"""Seconds for one node at least."""
AGAIN = 0.25
"""Seconds for which nobody is asked again after all were asked in vain: each stream would ask them all."""
SHUNNED = 2.0
"""Seconds for which a node that did not answer in time is left alone: all its streams would wait for it in turn."""

Address = tuple[str, int]


class Cluster(msgspec.Struct, frozen=True):
    """A cluster as its URL says."""

    scheme: str
    login: str
    seeds: Sequence[Address]
    query: str

    @property
    def where(self) -> str:
        """The same for every replica: the nodes as the URL has them."""
        return f"cluster {','.join(f'{host}:{port}' for host, port in self.seeds)}"

    def node_url(self, address: Address) -> str:
        """Return the URL of one node."""
        host, port = address
        netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return urlunsplit((self.scheme, f"{self.login}@{netloc}" if self.login else netloc, "", self.query, ""))


def is_cluster(url: str) -> bool:
    """Return whether a URL is one of a cluster."""
    return urlsplit(url).scheme in CLUSTERS


def cluster_of(url: str) -> Cluster:
    """Take a URL of a cluster apart. Raises NoMaster, which repeats nothing of it."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    if parts.path.strip("/"):
        raise NoMaster("a cluster has no databases: redis+cluster://user:password@host:6379,host2:6379")
    try:
        seeds = [address_of(host, PORT) for host in hosts.split(",")]
    except NoMaster:
        raise NoMaster("nodes are host:6379, separated by commas") from None
    return Cluster(CLUSTERS[parts.scheme], login, seeds, urlencode(parse_qsl(parts.query)))


class Slots:
    """Owners of the slots, as the nodes said last; shared by all connections of a sink or reader."""

    def __init__(self, url: str, ask: Callable[[str, float, Sequence[Sequence[str]]], Sequence[Any]]) -> None:
        """`ask` takes a node's URL, seconds and commands, and raises what redis-py raises."""
        self.cluster = cluster_of(url)
        self._ask = ask
        self.version = 0
        """Number of times that they were learned."""
        self._owners: Sequence[tuple[int, int, Address]] = ()
        self._turn: list[Address] = list(self.cluster.seeds)
        """Nodes in the order in which they are to be asked."""
        self._shunned: dict[Address, float] = {}
        self._failure: tuple[float, Exception] | None = None
        """Time when all were asked in vain, and why it was."""

    def owner(self, slot: int) -> Address:
        """Return the master that serves a slot. Raises ClusterDownError where none does."""
        for first, last, address in self._owners:
            if first <= slot <= last:
                return address
        raise ClusterDownError(f"CLUSTERDOWN no node serves slot {slot}")

    def shun(self, address: Address) -> None:
        """Leave a node alone for a while, as it did not answer in time."""
        self._shunned[address] = time.monotonic() + SHUNNED

    def is_shunned(self, address: Address) -> bool:
        """Return whether this node is left alone."""
        return self._shunned.get(address, 0.0) > time.monotonic()

    def prefer(self, address: Address) -> None:
        """Ask this node next: another one has named it as the owner of a slot."""
        self._turn.insert(0, address)

    def learn(self, seconds: float) -> None:
        """Ask the nodes in turn until one knows, within about so many seconds. Raises RedisError, OSError."""
        if self._failure is not None and time.monotonic() < self._failure[0] + AGAIN:
            raise self._failure[1]
        asked = sorted({*self._turn, *self.cluster.seeds}, key=self._place)
        each = max(LEAST, seconds / len(asked))
        failure: Exception = RedisConnectionError("no node")
        for address in asked:
            self._turn = [*(each for each in self._turn if each != address), address]
            try:
                info, slots = self._ask(
                    self.cluster.node_url(address), each, (("CLUSTER", "INFO"), ("CLUSTER", "SLOTS"))
                )
                self._take(address, info, slots)
            except (RedisError, OSError) as exc:
                failure = failure if isinstance(failure, ResponseError) else exc
                if isinstance(exc, (TimeoutError, RedisConnectionError)):
                    self.shun(address)
                continue
            self.version += 1
            self._failure = None
            return
        self._failure = time.monotonic(), failure
        raise failure

    def _place(self, address: Address) -> tuple[bool, int]:
        place = self._turn.index(address) if address in self._turn else len(self._turn)
        return self.is_shunned(address), place

    def _take(self, address: Address, info: Any, slots: Any) -> None:
        """Take note of what a node has answered. Raises the error that it is."""
        if isinstance(slots, Exception):
            raise slots
        owners = [(first, last, _address(node, address)) for first, last, node, *_ in slots]
        if isinstance(info, bytes) and b"cluster_state:ok" not in info:
            raise ClusterDownError(f"CLUSTERDOWN {_uncovered(owners)} (as {address[0]}:{address[1]} says)")
        self._owners = owners
        masters = {master for _, _, master in owners}
        known = [each for each in self._turn if each in masters and each != address]
        new = sorted(masters.difference(known, [address]))
        self._turn = [*known, *new, address]


def _address(node: Sequence[Any], asked: Address) -> Address:
    host = node[0].decode() if node[0] else ""
    return ("" if host == "?" else host) or asked[0], int(node[1])


def _uncovered(owners: Sequence[tuple[int, int, Address]]) -> str:
    """Return which slots nobody serves."""
    free, begin = list[str](), 0
    for first, last, _ in sorted(owners):
        if first > begin:
            free.append(f"{begin}-{first - 1}" if first - 1 > begin else str(begin))
        begin = max(begin, last + 1)
    if begin <= 16383:
        free.append(f"{begin}-16383")
    return f"no node serves the slots {', '.join(free)}" if free else "a master of some slots is down"


class SlotOwner:
    """The master of one slot, asked for with each connection; it has the methods of `Masters`."""

    kind = "the nodes of the cluster"

    def __init__(self, slots: Slots, slot: int, resolving: Callable[[str, int, float], None] = resolve) -> None:
        """`resolving` waits until a name is resolved, or raises OSError."""
        self._slots = slots
        self._resolve = resolving
        self._slot = slot
        self._seen = 0
        """Version of the slots by which it was found last."""
        self.asking: Address | None = None
        """The node that has the key already, while the slot is on its way to it (ASK)."""
        self._asked = False
        self.address: Address | None = None

    @property
    def where(self) -> str:
        """The same for every replica."""
        return self._slots.cluster.where

    def moved(self, host: str, port: int) -> None:
        """Take note that the slot is said to be there (MOVED)."""
        self._slots.prefer((host or self._host(), port))

    def ask(self, host: str, port: int) -> None:
        """Go there for the next connection, and say ASKING with each command (ASK)."""
        self.asking, self._asked = (host or self._host(), port), False

    def _host(self) -> str:
        return self.address[0] if self.address else ""

    def shun(self) -> None:
        """Leave the node alone for a while."""
        if self.address is not None:
            self._slots.shun(self.address)

    @property
    def is_shunned(self) -> bool:
        """Return whether the node of the connection is left alone."""
        return self.address is not None and self._slots.is_shunned(self.address)

    def find(self, seconds: float) -> Address:
        """Return host and port for a connection. Raises RedisError, OSError.

        Where it was found is not believed again once that connection has ended.
        """
        self.address = self._found(seconds)
        if is_name(self.address[0]):
            self._resolve(*self.address, seconds)
        return self.address

    def _found(self, seconds: float) -> Address:
        if self.asking is not None and not self._asked:
            self._asked = True
            return self.asking
        self.asking = self.address = None
        if self._slots.version == self._seen:
            self._slots.learn(seconds)
        self._seen = self._slots.version
        owner = self._slots.owner(self._slot)
        if self._slots.is_shunned(owner):
            raise RedisConnectionError(f"the node {owner[0]}:{owner[1]} does not answer")
        return owner
