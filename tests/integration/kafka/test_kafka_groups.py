"""One topic of several in trouble: said once and until it stores again, while the others store."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka.admin import AclOperation

from celery_event_bridge.contract import Event, Outcome, SinkUnavailable
from celery_event_bridge.observe.metrics import Metrics
from celery_event_bridge.observe.sink import ObservedSink
from celery_event_bridge.observe.status import Status
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support import oracle
from tests.support.kafka_sinks import event, make_topic, sink
from tests.support.servers.debian import until
from tests.support.servers.kafka import NativeKafka
from tests.support.servers.kafka_acl import allow, deny_all

USER, PASSWORD = "bridge", "open-sesame"
RIGHTS = (AclOperation.DESCRIBE, AclOperation.WRITE)
GROUPS = ("task", "worker", "other")


@pytest.fixture(scope="module")
def secured() -> Iterator[NativeKafka]:
    """A node that asks who it is."""
    server = NativeKafka(users={USER: PASSWORD})
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def prefix(secured: NativeKafka) -> str:
    """Return how the names of three topics begin, into which the user may write."""
    made = uuid.uuid4().hex[:8]
    for group in GROUPS:
        make_topic(secured, f"{made}-{group}")
        allow(secured.bootstrap, USER, f"{made}-{group}", *RIGHTS)
    return made


def sink_of(server: NativeKafka, prefix: str) -> KafkaSink:
    login = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"}
    login |= {"sasl_username": USER, "sasl_password": PASSWORD}
    return sink(server, topic=prefix + "-{group}", bootstrap_servers=server.sasl_bootstrap, **login)


@pytest.mark.parametrize("withdrawn", [RIGHTS, RIGHTS[1:]], ids=["to see it", "to write"])
def test_one_topic_in_trouble_is_said_until_it_stores_again(
    secured: NativeKafka, prefix: str, withdrawn: tuple[AclOperation, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Not ready all the while, whatever the others store and however often it is looked; one line at each end."""
    caplog.set_level("INFO")
    name = f"{prefix}-worker"
    status = Status()
    subject = ObservedSink(sink_of(secured, prefix), Metrics(status), status)
    with closing(subject):
        subject.open()
        until(lambda: subject.available() is None, 20, "all topics may be written to")
        deny_all(secured.bootstrap, name)
        kept = [right for right in RIGHTS if right not in withdrawn]
        allow(secured.bootstrap, USER, name, *kept)
        until(lambda: looked(subject, status) is not None, 20, "a look finds it")
        worker = event(type="worker-online", hostname="w")
        for number in range(3):
            task = event(type="task-sent", uuid=str(number))
            subject.send([worker, task])
            assert {worker: Outcome.RETRY, task: Outcome.STORED} == decided(subject, 2)
            assert name in str(status.sink_reasons["kafka"])
            assert name in str(looked(subject, status))
        allow(secured.bootstrap, USER, name, *RIGHTS)
        stored(subject, worker)
        assert {"kafka": None} == status.sink_reasons
        assert 1 == len(oracle.in_kafka(secured.bootstrap, name))
    said = [record.getMessage() for record in caplog.records if getattr(record, "kind", "") == "topic-down"]
    assert 1 == sum("the other topics store" in text for text in said)
    assert 1 == caplog.messages.count(f"topic {name!r} stores again")


def test_where_no_topic_stores_it_is_an_outage(secured: NativeKafka, prefix: str) -> None:
    """A look says so, as of a single topic."""
    subject = sink_of(secured, prefix)
    with closing(subject):
        subject.open()
        until(lambda: subject.available() is None, 20, "all topics may be written to")
        for group in GROUPS:
            deny_all(secured.bootstrap, f"{prefix}-{group}")

        def refused() -> bool:
            with pytest.raises(SinkUnavailable, match="grant DESCRIBE on it to this user"):
                subject.look()
            return True

        until(refused, 20, "a look is refused")


def looked(subject: ObservedSink, status: Status) -> str | None:
    subject.look()
    return status.sink_reasons["kafka"]


def decided(subject: ObservedSink, count: int) -> dict[Event, Outcome]:
    """Return the verdicts on the next so many events."""
    found: dict[Event, Outcome] = {}

    def enough() -> bool:
        for verdict in subject.verdicts(0.1):
            found.update(dict.fromkeys(verdict.events, verdict.outcome))
        return len(found) >= count

    until(enough, 30, "they are decided")
    return found


def stored(subject: ObservedSink, one: Event) -> None:
    """Hand it over again and again until it is stored."""

    def is_stored() -> bool:
        subject.send([one])
        return decided(subject, 1)[one] is Outcome.STORED

    until(is_stored, 30, "it is stored")
