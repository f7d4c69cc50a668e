"""A Redis Cluster of three masters and as many replicas, as processes of our own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis as Client
from redis.crc import key_slot
from redis.exceptions import RedisError

from tests.support.servers.certificates import redis_options
from tests.support.servers.debian import free_port, until
from tests.support.servers.redis import NativeRedis

MASTERS = 3
SLOTS = 16384


class Cluster:
    """Nodes, the first of them masters at the start."""

    def __init__(
        self,
        *options: str,
        replicas: int = MASTERS,
        server: Sequence[str] = (),
        certificates: Path | None = None,
    ) -> None:
        """With certificates each node has a port for TLS beside its plain one, and is known as `localhost`."""
        self.tls_ports = [free_port() for _ in range(MASTERS + replicas)] if certificates else []
        self.nodes = [
            self._node(*options, *self._tls(certificates, number), server=server)
            for number in range(MASTERS + replicas)
        ]

    def _tls(self, certificates: Path | None, number: int) -> Sequence[str]:
        if certificates is None:
            return ()
        name = ("--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname")
        # Before Redis 7.2 a node names its port for TLS only where the nodes speak TLS among themselves.
        return (*redis_options(certificates, self.tls_ports[number]), "--tls-cluster", "yes", *name)

    @staticmethod
    def _node(*options: str, server: Sequence[str]) -> NativeRedis:
        own = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "1500")
        # Without a disk there is nothing to wait for, and a replica need not wait for the first synchronization.
        return NativeRedis(*own, "--repl-diskless-sync-delay", "0", *options, server=server)

    @property
    def url(self) -> str:
        """`BRIDGE_REDIS_URL`."""
        return f"redis+cluster://{self.where}"

    @property
    def tls_url(self) -> str:
        """The same with TLS."""
        return f"rediss+cluster://{','.join(f'localhost:{port}' for port in self.tls_ports[:MASTERS])}"

    @property
    def where(self) -> str:
        """The nodes that are masters at the start."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:MASTERS])

    def start(self) -> None:
        """Start all, share out the slots, and wait until every node agrees."""
        for node in self.nodes:
            node.start()
        first = self.nodes[0]
        for number, node in enumerate(self.nodes):
            with node.client() as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                if number:
                    bus = _bus(first)
                    port = self.tls_ports[0] if self.tls_ports else first.port
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", port, bus)
                if number < MASTERS:
                    begin, end = SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS - 1
                    client.execute_command("CLUSTER", "ADDSLOTSRANGE", begin, end)
        until(lambda: all(len(self._known(node)) == len(self.nodes) for node in self.nodes), 60, "all have met")
        for number, node in enumerate(self.nodes[MASTERS:]):
            master = self.id_of(self.nodes[number])
            with node.client() as client:
                client.execute_command("CLUSTER", "REPLICATE", master)
        until(self.is_whole, 60, "the cluster is whole")

    def is_whole(self) -> bool:
        """Return whether each node serves, and each replica has all."""
        for node in self.nodes:
            with node.client() as client:
                if client.execute_command("CLUSTER INFO").get("cluster_state") != "ok":
                    return False
                state = client.info("replication")
                if state["role"] == "slave" and state["master_link_status"] != "up":
                    return False
        return True

    def id_of(self, node: NativeRedis) -> str:
        with node.client() as client:
            return _text(client.execute_command("CLUSTER", "MYID"))

    def owner(self, stream: bytes, but: NativeRedis | None = None) -> NativeRedis:
        """Return the master of a stream, as the nodes say that answer; one of them is not asked."""
        slot = key_slot(stream)
        for node in self.nodes:
            if node is but:
                continue
            try:
                with node.client() as client:
                    for first, last, master, *_ in _raw(client, "CLUSTER", "SLOTS"):
                        if first <= slot <= last:
                            return next(each for each in self.nodes if each.port == master[1])
            except RedisError:
                continue
        raise AssertionError(f"nobody serves slot {slot}")

    def another(self, stream: bytes) -> NativeRedis:
        """Return a master that does not serve this stream."""
        owner = self.owner(stream)
        return next(node for node in self.nodes[:MASTERS] if node is not owner)

    def move(self, stream: bytes, target: NativeRedis) -> Iterator[str]:
        """Move a stream's slot, stopping after each step."""
        slot, source = key_slot(stream), self.owner(stream)
        ids = self.id_of(source), self.id_of(target)
        with source.client() as here, target.client() as there:
            there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
            here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
            yield "begun"
            while keys := here.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
                here.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            yield "moved"
            there.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
            here.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
            yield "told"

    def entries(self, streams: Sequence[bytes]) -> dict[bytes, list[dict[bytes, bytes]]]:
        """Return what is in each stream, by a plain client of its master."""
        found = {}
        for stream in streams:
            with self.owner(stream).client() as client:
                found[stream] = [fields for _, fields in client.xrange(stream)]
        return found

    def remove(self) -> None:
        for node in self.nodes:
            node.remove()

    def _known(self, node: NativeRedis) -> list[str]:
        with node.client() as client:
            return [line for line in _text(_raw(client, "CLUSTER", "NODES")).splitlines() if "handshake" not in line]


def _bus(node: NativeRedis) -> int:
    with node.client() as client:
        return int(client.config_get("cluster-port")["cluster-port"])


def _raw(client: Client, *words: str) -> object:
    """Send without redis-py's own reading of the reply."""
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command(*words)
        return connection.read_response()
    finally:
        client.connection_pool.release(connection)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@contextmanager
def cluster(*options: str, **how: Any) -> Iterator[Cluster]:
    made = Cluster(*options, **how)
    try:
        made.start()
        yield made
    finally:
        made.remove()
