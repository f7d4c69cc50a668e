"""Passwords and certificates of Kafka that are renewed under bridges and readers: nobody has to restart them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation, NewTopic, ResourceType

from celery_event_bridge.contract import SinkUnavailable, secret_files
from celery_event_bridge.reader import open_reader
from celery_event_bridge.testing import await_available, deliver, sample_events
from celery_event_sinks.kafka import reader as reader_module, sink as sink_module
from celery_event_sinks.kafka.cluster import Cluster
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.kafka_readers import take
from tests.support.load import publish
from tests.support.servers.certificates import certificates
from tests.support.servers.debian import until
from tests.support.servers.kafka import NativeKafka, admin
from tests.support.servers.kafka_acl import allow
from tests.support.stores import FULL

pytestmark = pytest.mark.timeout(600)

DEADLINE = 30
USER = "bridge"
OLD, NEW = "open-sesame", "open-barley"


def make(server: NativeKafka) -> str:
    """A topic that the user may write and read."""
    name = f"login-{uuid.uuid4().hex[:8]}"
    client = admin(server.bootstrap)
    client.create_topics([NewTopic(name, 1, 1)])[name].result(60)
    return name


def write(server: NativeKafka, name: str, text: str) -> None:
    """A record of somebody else's."""
    producer = Producer({"bootstrap.servers": server.bootstrap})
    producer.produce(name, text.encode())
    assert 0 == producer.flush(10)


def count(server: NativeKafka, name: str) -> int:
    return sum(oracle.kafka_counts(server.bootstrap, name).values())


class Case:
    """A server, what a client logs in with, and how that is renewed."""

    def __init__(self, server: NativeKafka, settings: dict[str, str], renew: Callable[[], None]) -> None:
        self.server = server
        self.settings = settings
        self.renew = renew


KINDS = ("password", "certificates")
BOTH = [(kind, group) for kind in KINDS for group in (None, "billing")]
EACH = [(kind, busy) for kind in KINDS for busy in (True, False)]
"""Each starts two nodes of its own: two of the four are enough, but for a run at full length."""


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    """A node of the test's own."""
    made = with_password(tmp_path) if request.param == "password" else with_certificates(tmp_path)
    try:
        made.server.start()
        yield made
    finally:
        made.server.remove()


def with_password(folder: Path) -> Case:
    file = folder / "password"
    file.write_text(OLD)
    server = NativeKafka(users={USER: OLD})
    settings = {
        "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": server.sasl_bootstrap,
        "BRIDGE_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "BRIDGE_KAFKA_SASL_MECHANISM": "PLAIN",
        "BRIDGE_KAFKA_SASL_USERNAME": USER,
        "BRIDGE_KAFKA_SASL_PASSWORD_FILE": str(file),
    }

    def renew() -> None:
        server.restart({USER: NEW})
        file.write_text(NEW)

    return Case(server, settings, renew)


def with_certificates(folder: Path) -> Case:
    certificates(folder)
    server = NativeKafka(certificates=folder)
    settings = {
        "BRIDGE_KAFKA_BOOTSTRAP_SERVERS": server.tls_bootstrap,
        "BRIDGE_KAFKA_SECURITY_PROTOCOL": "SSL",
        "BRIDGE_KAFKA_SSL_CA_LOCATION": str(folder / "ca.pem"),
        "BRIDGE_KAFKA_SSL_CERTIFICATE_LOCATION": str(folder / "client.pem"),
        "BRIDGE_KAFKA_SSL_KEY_LOCATION": str(folder / "client.key"),
        "BRIDGE_KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM": "none",
    }

    def renew() -> None:
        certificates(folder)
        server.restart()

    return Case(server, settings, renew)


def rights(case: Case, name: str) -> None:
    """What a bridge and a group of readers need, where rights are asked for."""
    if "BRIDGE_KAFKA_SASL_USERNAME" in case.settings:
        operations = (AclOperation.DESCRIBE, AclOperation.WRITE, AclOperation.READ)
        allow(case.server.bootstrap, USER, name, *operations)
        allow(case.server.bootstrap, USER, "billing", AclOperation.READ, of=ResourceType.GROUP)


@pytest.mark.parametrize(("case", "group"), BOTH if FULL else BOTH[1:3], indirect=["case"])
def test_a_reader_goes_on_with_what_was_renewed(case: Case, group: str | None) -> None:
    """The server lets in only who has the new one: the reader reads its file again and goes on."""
    name = make(case.server)
    rights(case, name)
    write(case.server, name, "first")
    environ: dict[str, Any] = case.settings | {"BRIDGE_SINK": "kafka", "BRIDGE_KAFKA_TOPIC": name}
    with open_reader(group=group, environ=environ, lease=6.0) as reader:
        (first,) = take(reader, bool)
        if group:
            assert reader.commit(first)
        case.renew()
        write(case.server, name, "second")
        found = take(reader, lambda taken: any(one.data == b"second" for one in taken), 60)
        assert reader.reason is None
        if group:
            assert reader.commit(found[-1])


@pytest.mark.parametrize("case", ["certificates"], indirect=True)
def test_a_reader_and_an_idle_sink_that_nobody_tells_of_a_refusal_read_what_was_renewed(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In TLS 1.3 a refusal can be lost with its connection: the files themselves tell that they are others now.

    Of the sink what asks the cluster is let in; the producer would learn it only with the first events in its hands.
    """
    monkeypatch.setattr(reader_module, "REFUSED", frozenset())
    monkeypatch.setattr(sink_module, "REFUSED", frozenset())
    name = make(case.server)
    environ: dict[str, Any] = case.settings | {"BRIDGE_SINK": "kafka", "BRIDGE_KAFKA_TOPIC": name}
    given = {key.removeprefix("BRIDGE_KAFKA_").lower(): text for key, text in case.settings.items()}
    sink = KafkaSink(KafkaSettings(**given, topic=name))
    sink.open()
    await_available(sink, DEADLINE)
    deliver(sink, sample_events(3), DEADLINE)
    before = sink._producer
    with open_reader(environ=environ) as reader:
        take(reader, bool)
        case.renew()
        write(case.server, name, "second")
        take(reader, lambda taken: any(one.data == b"second" for one in taken), 20)
        assert reader.reason is None
    until(lambda: looks(sink) and sink._producer is not before, 30, "it has another producer")
    deliver(sink, sample_events(3), DEADLINE)
    until(lambda: count(case.server, name) == 7, 20, "all are stored")
    sink.close()


def looks(sink: KafkaSink) -> bool:
    """Turn as the relay does, and look."""
    sink.verdicts(0.05)
    with suppress(SinkUnavailable):
        sink.look()
    return True


def test_what_asks_the_cluster_reads_a_renewed_password_itself(tmp_path: Path) -> None:
    """A producer with nothing to send is not refused, and so nobody else tells of the new one."""
    case = with_password(tmp_path)
    try:
        case.server.start()
        name = make(case.server)
        rights(case, name)
        given = {
            variable.removeprefix("BRIDGE_KAFKA_").lower(): value
            for variable, value in case.settings.items()
            if not variable.endswith("_FILE")
        }
        secret_files.remember(OLD, tmp_path / "password", "BRIDGE_KAFKA_SASL_PASSWORD")
        cluster = Cluster(KafkaSettings(**given, sasl_password=OLD, topic=name))
        assert cluster.topics([name])[name] is not None
        case.renew()
        until(lambda: cluster.topics([name])[name] is not None, 30, "it is let in again")
        cluster.close()
    finally:
        case.server.remove()


@pytest.mark.parametrize(("case", "busy"), EACH if FULL else EACH[1:3], indirect=["case"])
def test_a_bridge_goes_on_with_what_was_renewed(
    case: Case, start_bridge: Callable[..., Bridge], broker_url: str, busy: bool
) -> None:
    """With events in hand and without: ready again, everything stored, and no password in its log."""
    name = make(case.server)
    rights(case, name)
    bridge = start_bridge(
        **case.settings, BRIDGE_SINK="kafka", BRIDGE_KAFKA_TOPIC=name, BRIDGE_BROKER_URL=broker_url
    ).await_ready()
    publish(broker_url, 10, 0)
    until(lambda: count(case.server, name) == 10, 20, "all are stored")
    case.renew()
    if busy:
        publish(broker_url, 10, 100)
        until(lambda: count(case.server, name) >= 20, 25, "all are stored")
    bridge.await_ready(30)
    publish(broker_url, 10, 200)
    until(lambda: count(case.server, name) >= 20, 25, "all are stored")
    text = bridge.log_file.read_text()
    assert OLD not in text
    assert NEW not in text
