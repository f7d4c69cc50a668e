"""Questions to the cluster: the client that asks them ends with the one that failed."""

from __future__ import annotations

import gc
import multiprocessing
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic

from celery_event_bridge.contract import Reading, SinkUnavailable, notices
from celery_event_sinks.kafka import cluster
from celery_event_sinks.kafka.reader import KafkaReader
from celery_event_sinks.kafka.removed import Bounds
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support.fenced_kafka import ask_while_fenced, fenced_kafka

NOWHERE = KafkaSettings(bootstrap_servers="127.0.0.1:1")


def test_a_client_is_gone_with_the_question_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the traceback is kept: collected by librdkafka's own thread, as garbage, it would end the process."""
    monkeypatch.setattr(cluster, "ANSWER", 0.1)
    subject = cluster.Cluster(NOWHERE)
    client = weakref.ref(subject._client())
    with pytest.raises(SinkUnavailable, match="no Kafka broker answers") as failure:
        subject.state(["events"])
    assert failure.value.__traceback__ is not None
    assert client() is None


OWNERS: dict[str, Callable[[], KafkaSink | KafkaReader]] = {
    "sink": lambda: KafkaSink(NOWHERE),
    "reader": lambda: KafkaReader(NOWHERE, Reading()),
    "reader of a group": lambda: KafkaReader(NOWHERE, Reading(group="billing")),
}


@pytest.mark.parametrize("owner", OWNERS)
def test_a_client_is_gone_once_its_owner_is_closed(monkeypatch: pytest.MonkeyPatch, owner: str) -> None:
    """Though the owner is kept, as a cycle keeps a reader until some thread or other collects garbage."""
    clients = []

    class Client(cluster.AdminClient):
        def __init__(self, *properties: Any) -> None:
            super().__init__(*properties)
            clients.append(weakref.ref(self))

    monkeypatch.setattr(cluster, "AdminClient", Client)
    subject = OWNERS[owner]()
    topics = subject._topics if isinstance(subject, KafkaSink) else subject._watched
    gc.disable()
    try:
        topics._cluster._client()
        subject.close()
        assert [client() for client in clients] == [None]
    finally:
        gc.enable()


class Silent:
    """A client whose questions come to no end, as where the process was stopped while they were under way."""

    def __getattr__(self, _: str) -> Callable[..., Any]:
        return self._asked

    def _asked(self, about: Any = None, **_: Any) -> Any:
        if about is None:
            return Future()
        return {one: Future() for one in about} if isinstance(about, list) else {"events": Future()}


QUESTIONS: dict[str, Callable[[cluster.Cluster], object]] = {
    "state": lambda subject: subject.state(["events"]),
    "topics": lambda subject: subject.topics(["events"]),
    "id": lambda subject: subject.id(["events"]),
    "make": lambda subject: subject.make(NewTopic("events")),
}


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> cluster.Cluster:
    """A cluster whose client is one."""
    monkeypatch.setattr(cluster, "ANSWER", 0.01)
    subject = cluster.Cluster(NOWHERE)
    monkeypatch.setattr(subject, "_admin", Silent())
    return subject


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_without_an_end_is_an_outage(silent: cluster.Cluster, question: str) -> None:
    """It is no error of its own, which would end the bridge, and the next question is asked by another client."""
    with pytest.raises(SinkUnavailable, match="no Kafka broker answers"):
        QUESTIONS[question](silent)
    assert silent._admin is None


def test_properties_without_an_answer_are_unknown(silent: cluster.Cluster) -> None:
    """As where we may not ask for them."""
    assert silent.default_of(1, cluster.DEFAULT_REPLICAS) is None


class Unsure:
    """A client whose leader knows the ends of one partition, and not yet those of the others."""

    def list_offsets(self, asked: Any, **_: Any) -> dict[Any, Future[SimpleNamespace]]:
        offsets = {0: 7, 1: -1001}
        found: dict[Any, Future[SimpleNamespace]] = {}
        for one in asked:
            found[one] = Future()
            if one.partition in offsets:
                found[one].set_result(SimpleNamespace(offset=offsets[one.partition]))
            else:
                found[one].set_exception(KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE)))
        return found


def test_an_offset_that_the_leader_does_not_know_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a topic that is just being deleted, or made again: librdkafka has -1001 then, and no error."""
    subject = cluster.Cluster(NOWHERE)
    monkeypatch.setattr(subject, "_client", Unsure)
    topic: Any = SimpleNamespace(partitions=[SimpleNamespace(id=number) for number in range(3)])
    assert {("events", 0): (7, 7)} == subject.bounds({"events": topic, "missing": None})


def test_a_partition_that_is_seen_for_the_first_time_has_lost_nothing() -> None:
    """Whatever it is said to end at; and a lost end is told of once, as the partition is new then."""
    notices.NOTICES.clear()
    bounds = Bounds()
    bounds.look({("events", 1): (0, -1001)}, {})
    assert 0 == notices.NOTICES.counts()["stream-shrunk"]
    for last in (10, 4, 4):
        bounds.look({("events", 2): (0, last)}, {})
    assert 6 == notices.NOTICES.counts()["stream-shrunk"]
    notices.NOTICES.clear()


@pytest.mark.parametrize("call", ["available", "look", "preview", "advice"])
def test_a_call_has_one_deadline_however_many_questions_it_asks(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """A broker that tells of its topics and does nothing else holds a bridge up for the time of three questions."""
    monkeypatch.setattr(cluster, "ANSWER", 0.4)
    with fenced_kafka(hangs=True) as kafka:
        # Its address twice: of several brokers it is asked how many replicas a topic is to have.
        settings = KafkaSettings(bootstrap_servers=f"{kafka.bootstrap},{kafka.bootstrap}", topic="events-{group}")
        sink = KafkaSink(settings)
        begun = time.monotonic()
        with nullcontext() if call == "advice" else pytest.raises(SinkUnavailable):
            getattr(sink, call)()
        took = time.monotonic() - begun
        sink.close()
    assert took < cluster.ROUNDS * cluster.ANSWER + 1.0


@pytest.mark.parametrize("answers", range(4))
def test_a_broker_that_is_starting_or_leaving_ends_no_process(answers: int) -> None:
    """It answers without any broker's name, between any two questions; DescribeCluster would abort librdkafka."""
    child = multiprocessing.get_context("spawn").Process(target=ask_while_fenced, args=(answers,))
    child.start()
    child.join()
    assert child.exitcode == 0
