"""A Kafka broker without a log: it knows itself and no topic, and, while it is fenced, no broker at all.

As a real one does while it is starting or leaving, for as long as its controller has it fenced. What is to be done, or
looked up, it may also leave without an answer, as one whose disk or controller hangs.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.kafka.cluster import Cluster
from celery_event_sinks.kafka.settings import KafkaSettings

API_VERSIONS, METADATA = 18, 3
UNANSWERED = {2: 5, 19: 4, 32: 1}
"""Latest version of ListOffsets, CreateTopics and DescribeConfigs, which get no answer, ever."""
LATEST = {API_VERSIONS: 0, METADATA: 8}
"""Latest version of each request that it understands; those of Kafka 2.3, whose layout has no tagged fields."""
UNSUPPORTED_VERSION, UNKNOWN_TOPIC = 35, 3
UNKNOWN = -(2**31)
"""Authorized operations, where nobody has looked."""
BROKER, NOBODY = 1, -1
CLUSTER = "a-cluster"


class FencedKafka:
    """One broker, listening on a port of the loopback address until it is closed."""

    def __init__(self, *, hangs: bool = False) -> None:
        self._latest = LATEST | UNANSWERED if hangs else LATEST
        self.fenced_after: int | None = None
        """Answers that still name the broker; None for all of them."""
        self.empty_answers = 0
        """Answers that have named no broker."""
        self._server = socket.create_server(("127.0.0.1", 0))
        self._port = self._server.getsockname()[1]
        self.bootstrap = f"127.0.0.1:{self._port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as requests:
            while header := requests.read(4):
                request = requests.read(*struct.unpack(">i", header))
                key, version, number = struct.unpack_from(">hhi", request)
                if key in UNANSWERED:
                    continue
                answer = self._versions(version) if key == API_VERSIONS else self._metadata(request)
                client.sendall(struct.pack(">ii", 4 + len(answer), number) + answer)

    def _versions(self, version: int) -> bytes:
        error = UNSUPPORTED_VERSION if version > LATEST[API_VERSIONS] else 0
        entries = b"".join(struct.pack(">hhh", key, 0, latest) for key, latest in self._latest.items())
        return struct.pack(">hi", error, len(self._latest)) + entries

    def _metadata(self, request: bytes) -> bytes:
        """Answer in version 8, with an error for each topic that is asked for."""
        topics, at = [], 8 + _string(request, 8)
        (count,) = struct.unpack_from(">i", request, at)
        at += 4
        for _ in range(count):
            length = _string(request, at)
            topics.append(request[at : at + length])
            at += length
        fenced = self.fenced_after == 0
        brokers = [struct.pack(">i", BROKER) + _text("127.0.0.1") + struct.pack(">ih", self._port, -1)]
        if fenced:
            self.empty_answers += 1
            brokers = []
        elif self.fenced_after is not None:
            self.fenced_after -= 1
        return b"".join(
            [
                struct.pack(">ii", 0, len(brokers)),
                *brokers,
                _text(CLUSTER),
                struct.pack(">ii", NOBODY if fenced else BROKER, len(topics)),
                *(struct.pack(">h", UNKNOWN_TOPIC) + name + struct.pack(">?ii", False, 0, UNKNOWN) for name in topics),
                struct.pack(">i", UNKNOWN),
            ]
        )


@contextmanager
def fenced_kafka(*, hangs: bool = False) -> Iterator[FencedKafka]:
    """Start a broker that is not fenced yet; it answers questions about topics alone, if it hangs."""
    kafka = FencedKafka(hangs=hangs)
    try:
        yield kafka
    finally:
        kafka.close()


def ask_while_fenced(answers: int) -> None:
    """Ask about the cluster until a broker that is fenced after this many answers has answered so. Run in a child."""
    with fenced_kafka() as kafka:
        cluster = Cluster(KafkaSettings(bootstrap_servers=kafka.bootstrap))
        assert cluster.state(["events"]).brokers == [BROKER]
        kafka.fenced_after = answers
        while not kafka.empty_answers:
            with suppress(SinkUnavailable):
                assert cluster.state(["events"]).brokers
        cluster.close()


def _string(request: bytes, at: int) -> int:
    """Return how many bytes a text takes with its length, which is -1 for none."""
    return 2 + max(0, int(struct.unpack_from(">h", request, at)[0]))


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()
