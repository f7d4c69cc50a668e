"""Apache Kafka in KRaft mode: given by its address, or one or three nodes of our own, each broker and controller."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from confluent_kafka.admin import AdminClient

from tests.support.servers.debian import Child, ServerMissing, free_port, until
from tests.support.servers.kafka_files import VERSION, archive, java

ALONE = {
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
}
"""What a node without others needs; the defaults are for three."""
ARCHIVING = threading.Lock()
ANSWER = 5.0
"""Seconds for one question to a node that runs."""


class Kafka(Protocol):
    """What tests and the demo may ask of it. Nodes are numbered from 1."""

    bootstrap: str
    nodes: Sequence[int]

    def start(self, *nodes: int) -> None:
        """Start these nodes, or all, and wait until they are in the cluster."""

    def kill(self, *nodes: int) -> None:
        """SIGKILL to these nodes, or all."""

    def pause(self) -> None:
        """All stand still, connections open."""

    def resume(self) -> None:
        """They go on."""

    def remove(self) -> None:
        """End them and remove their data."""


def admin(bootstrap: str) -> AdminClient:
    """A plain client; it says nothing about nodes that are away."""
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 500})


def brokers(bootstrap: str) -> set[int]:
    """The ids of the nodes that are in the cluster now."""
    return set(admin(bootstrap).list_topics(timeout=ANSWER).brokers)


def quick_java(version: str) -> Sequence[str]:
    """Java with the archive of Kafka's classes, which a node makes that is started for nothing else, once."""
    with ARCHIVING:
        command = java(version)  # which fetches Kafka, if need be
        if not (file := archive(version)).exists():
            _archive(file, version)
    return [*command, f"-XX:SharedArchiveFile={file}"] if file.exists() else command


def _archive(file: Path, version: str) -> None:
    """Make it, if this JVM can."""
    part = file.with_name(f"{file.name}.{os.getpid()}")
    node = NativeKafka(version=version, options=[f"-XX:ArchiveClassesAtExit={part}"])
    try:
        node.start()
        node.stop()
    finally:
        node.remove()
    if part.exists():
        part.rename(file)


class NativeKafka:
    """Nodes as child processes of ours, in a temporary folder."""

    def __init__(
        self,
        nodes: int = 1,
        config: Mapping[str, str] | None = None,
        users: Mapping[str, str] | None = None,
        version: str = VERSION,
        options: Sequence[str] = (),
        folder: Path | None = None,
        certificates: Path | None = None,
    ) -> None:
        """With `users`, names and passwords: `sasl_bootstrap` is for these, who may do what ACLs say, and that is
        nothing at first; at `bootstrap` everything is allowed. With the folder of `certificates`, `tls_bootstrap` is
        for those who have one of the same CA. `options` are a node's JVM's. All that the nodes write goes into
        `folder`, if it is given, and stays.
        """
        # 16 bytes in base64, its own: no node talks to another cluster's, whatever port that has got.
        self._cluster = base64.urlsafe_b64encode(b"kafka" + secrets.token_bytes(11)).decode().rstrip("=")
        self._java = java(version) if options else quick_java(version)
        self._options = options
        self.nodes = range(1, nodes + 1)
        self._stays = folder is not None
        self._folder = folder or Path(tempfile.mkdtemp(prefix="kafka-"))
        self._folder.mkdir(exist_ok=True)
        self._ports = {node: free_port() for node in self.nodes}
        self._controllers = {node: free_port() for node in self.nodes}
        self._config = config or {}
        self._users = users or {}
        self._certificates = certificates
        self._tls_ports = {node: free_port() for node in self.nodes} if certificates else {}
        self.tls_bootstrap = ",".join(f"127.0.0.1:{port}" for port in self._tls_ports.values())
        self._sasl_ports = {node: free_port() for node in self.nodes}
        self.sasl_bootstrap = ",".join(f"127.0.0.1:{port}" for port in self._sasl_ports.values())
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in self._ports.values())
        self._children: dict[int, Child] = {}
        self.advertised: dict[int, int] = {}
        """By node, the port that clients are told, where it is another's: a proxy's. To be set before the start."""

    def port(self, node: int) -> int:
        """Where it listens, once it runs."""
        return self._ports[node]

    def start(self, *nodes: int) -> None:
        wanted = nodes or self.nodes
        self._format([node for node in wanted if node not in self._children])
        for node in wanted:
            if (child := self._children.get(node)) is not None:
                if child.running:
                    continue
                child.end()
            command = [*self._java, *self._options, "kafka.Kafka", str(self._properties(node))]
            self._children[node] = Child(command, {}, self._folder / f"output-{node}")
        until(lambda: self._ended(wanted) or self._are_there(wanted), 60, f"Kafka's nodes {[*wanted]} are there")
        if ended := self._ended(wanted):
            raise ServerMissing(f"Kafka ended at its start: {ended}")

    def restart(self, users: Mapping[str, str] | None = None) -> None:
        """All end and start, with other users, if they are given, and with the certificates that are there now."""
        self._users = users or self._users
        self.stop()
        for node in self.nodes:
            self._write_properties(node)
        self.start()

    def kill(self, *nodes: int) -> None:
        killed = nodes or self.nodes
        self._signal(signal.SIGKILL, killed)
        until(lambda: not any(self._children[node].running for node in killed), 20, "Kafka's nodes are gone")

    def lose(self, topic: str) -> None:
        """Remove what the nodes, which are down, have of a topic: as when a disk was replaced."""
        for log in self._folder.glob(f"data-*/{topic}-[0-9]*"):
            shutil.rmtree(log)

    def stop(self) -> None:
        """All end in good order."""
        self._signal(signal.SIGTERM, self.nodes)
        until(lambda: not any(child.running for child in self._children.values()), 60, "Kafka's nodes have ended")

    def pause(self) -> None:
        self._signal(signal.SIGSTOP, self.nodes)

    def resume(self) -> None:
        self._signal(signal.SIGCONT, self.nodes)

    def remove(self) -> None:
        for child in self._children.values():
            child.end()
        if not self._stays:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _ended(self, nodes: Sequence[int]) -> str:
        """What the first of these that has ended wrote last; nothing if all run."""
        children = [self._children[node] for node in nodes]
        return next((child.tail() or "?" for child in children if not child.running), "")

    def _are_there(self, nodes: Sequence[int]) -> bool:
        # Each asked itself: the others know a node that was killed for some seconds more.
        return all(node in brokers(f"127.0.0.1:{self._ports[node]}") for node in nodes)

    def _signal(self, number: signal.Signals, nodes: Sequence[int]) -> None:
        for node in nodes:
            self._children[node].signal(number, "java")

    def _properties(self, node: int) -> Path:
        return self._folder / f"{node}.properties"

    def _format(self, nodes: Sequence[int]) -> None:
        """Make their storage, all at once."""
        asked = []
        for node in nodes:
            file = self._write_properties(node)
            command = [*self._java, "kafka.tools.StorageTool", "format", "-t", self._cluster, "-c", str(file)]
            asked.append(
                subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
                )
            )
        said = [one.communicate()[0] for one in asked]
        for one, text in zip(asked, said, strict=True):
            if one.returncode:
                raise ServerMissing(f"Kafka could not make its storage: {text.strip()[:600]}")

    def _write_properties(self, node: int) -> Path:
        copies = str(min(3, len(self.nodes)))
        voters = ",".join(f"{one}@127.0.0.1:{port}" for one, port in self._controllers.items())
        listeners = f"PLAINTEXT://127.0.0.1:{self._ports[node]}"
        properties = {
            "process.roles": "broker,controller",
            "node.id": str(node),
            "controller.quorum.voters": voters,
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{self._controllers[node]}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.advertised.get(node, self._ports[node])}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self._folder / f"data-{node}"),
            **ALONE,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            # A node that was killed may come back when its old session has ended; alone, nobody else waits for that.
            "broker.session.timeout.ms": "3000" if len(self.nodes) == 1 else "9000",
            **(self._secured(node, listeners) if self._users else {}),
            **(self._encrypted(node, listeners, self._certificates) if self._certificates else {}),
            **self._config,
        }
        self._properties(node).write_text("".join(f"{name}={text}\n" for name, text in properties.items()))
        return self._properties(node)

    def _secured(self, node: int, listeners: str) -> dict[str, str]:
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        users = " ".join(f'user_{name}="{password}"' for name, password in self._users.items())
        sasl = f"SASL_PLAINTEXT://127.0.0.1:{self._sasl_ports[node]}"
        return {
            "listeners": f"{listeners},{sasl},CONTROLLER://127.0.0.1:{self._controllers[node]}",
            "advertised.listeners": f"{listeners},{sasl}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{login} {users};",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }

    def _encrypted(self, node: int, listeners: str, folder: Path) -> dict[str, str]:
        tls = f"SSL://127.0.0.1:{self._tls_ports[node]}"
        keys = folder / f"node-{node}.pem"
        keys.write_text((folder / "server.key").read_text() + (folder / "server.pem").read_text())
        return {
            "listeners": f"{listeners},{tls},CONTROLLER://127.0.0.1:{self._controllers[node]}",
            "advertised.listeners": f"{listeners},{tls}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT",
            "ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keys),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(folder / "ca.pem"),
        }


class GivenKafka:
    """Somebody's, by its address: tests make topics of their own in it, and it is not stopped."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.nodes = sorted(brokers(bootstrap))

    def start(self, *nodes: int) -> None:
        """It runs."""

    def kill(self, *nodes: int) -> None:
        raise ServerMissing("a server given by TEST_KAFKA_BOOTSTRAP_SERVERS is not killed")

    def pause(self) -> None:
        raise ServerMissing("a server given by TEST_KAFKA_BOOTSTRAP_SERVERS is not paused")

    def resume(self) -> None:
        """It was not paused."""

    def remove(self) -> None:
        """It is not ours."""
