"""The Kafka sink against a real server: what every sink holds, topics, refusals, a full queue, a producer that dies."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from confluent_kafka.admin import ConfigResource, ResourceType

from celery_event_bridge.contract import Event, Outcome, Sink, SinkUnavailable, Verdict
from celery_event_bridge.testing import SinkContract, await_verdicts, deliver, sample_events
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink
from tests.faults.proxy import Mode, Proxy
from tests.support import oracle
from tests.support.kafka_sinks import DEADLINE, event, make_topic, outcomes, records, sink, topic_of
from tests.support.servers import Kafka
from tests.support.servers.debian import PATIENCE, until
from tests.support.servers.kafka import NativeKafka, admin


class TestKafkaContract(SinkContract):
    """What every sink holds."""

    keeps_time = False

    @pytest.fixture
    def make_sink(self, kafka_server: Kafka) -> Callable[[], Sink]:
        self.at = (kafka_server.bootstrap, f"events-{uuid.uuid4().hex[:8]}")
        make_topic(kafka_server, self.at[1])
        return lambda: sink(kafka_server, topic=self.at[1])

    def refused(self) -> Event:
        return event(type="task-sent", uuid="large", filler="x" * 2_000_000)

    def stored(self, sink: Any) -> list[tuple[Any, ...]]:
        return [
            (
                record.headers["ce_id"].decode(),
                record.headers["ce_type"].decode().removeprefix("celery."),
                unquote(record.headers["ce_source"].decode()),
                record.headers["ce_subject"].decode() if "ce_subject" in record.headers else None,
                record.key.decode(),
                None,
                record.value,
                record.headers["content-type"].decode(),
            )
            for record in oracle.in_kafka(*self.at)
        ]


def test_a_missing_topic_is_made_as_the_settings_say(kafka_server: Kafka, opened: Callable[..., KafkaSink]) -> None:
    """With their partitions and retention, though the broker would make it by itself with its own."""
    subject = opened(kafka_server, partitions=5, replication_factor=1, retention="never")
    client = admin(kafka_server.bootstrap)
    assert 5 == len(client.list_topics(topic_of(subject), timeout=10).topics[topic_of(subject)].partitions)
    resource = ConfigResource(ResourceType.TOPIC, topic_of(subject))
    assert "-1" == client.describe_configs([resource])[resource].result(60)["retention.ms"].value


def test_a_topic_that_exists_is_left_alone(kafka_server: Kafka, opened: Callable[..., KafkaSink]) -> None:
    """Whatever the settings say."""
    name = f"events-{uuid.uuid4().hex[:8]}"
    make_topic(kafka_server, name)
    opened(kafka_server, topic=name, partitions=5)
    assert [0] == list(oracle.kafka_counts(kafka_server.bootstrap, name))


def test_a_topic_for_each_group(kafka_server: Kafka, opened: Callable[..., KafkaSink]) -> None:
    """`{group}` in the name sorts the events."""
    prefix = uuid.uuid4().hex[:8]
    subject = opened(kafka_server, topic=prefix + "-{group}")
    deliver(subject, [event(type=kind) for kind in ("task-sent", "worker-online", "custom")], DEADLINE)
    found = {
        group: [
            record.headers["ce_type"].decode()
            for record in oracle.in_kafka(kafka_server.bootstrap, f"{prefix}-{group}")
        ]
        for group in ("task", "worker", "other")
    }
    assert {"task": ["celery.task-sent"], "worker": ["celery.worker-online"], "other": ["celery.custom"]} == found


def test_a_topic_that_cannot_be_made(kafka_server: Kafka) -> None:
    """One line with the topic and Kafka's reason."""
    subject = sink(kafka_server, replication_factor=3)
    subject.open()
    reason = "does not exist, and could not be made: INVALID_REPLICATION_FACTOR"
    with pytest.raises(SinkUnavailable, match=f"^topic '{topic_of(subject)}' {reason}.*[^\\n]*$"):
        subject.available()
    subject.close()


@pytest.mark.parametrize(
    ("time_in_seconds", "is_kept"),
    [(1.7e9, True), (None, False), (0, False), (-5.0, False), ("soon", False), ("in an hour", False), (4e12, False)],
)
def test_the_records_time(
    kafka_server: Kafka, opened: Callable[..., KafkaSink], time_in_seconds: Any, is_kept: bool
) -> None:
    """The event's own, or now where that is missing, absurd, or too far ahead for Kafka to take."""
    subject = opened(kafka_server, retention="never")
    before = int(time.time() * 1000)
    if time_in_seconds == "in an hour":
        time_in_seconds = time.time() + 3600
    deliver(subject, [event(type="task-sent", timestamp=time_in_seconds)], DEADLINE)
    (record,) = records(kafka_server, subject)
    if is_kept:
        assert time_in_seconds * 1000 == record.timestamp
    else:
        assert before <= record.timestamp <= time.time() * 1000


def test_strange_names(kafka_server: Kafka, opened: Callable[..., KafkaSink]) -> None:
    """Host names are percent-encoded where a URI needs it; lone surrogates and NULs go through."""
    subject = opened(kafka_server)
    names = ["celery@host", "w@ß #1", "a/b?c", "nul\0", "100%", "lone\ud800"]
    deliver(subject, [event(type=f"custom-{name}", hostname=name, uuid=name) for name in names], DEADLINE)
    stored = records(kafka_server, subject)
    assert b"nul\0" == stored[3].headers["ce_subject"]
    found = [record.headers["ce_source"].decode() for record in stored]
    assert "celery@host" == found[0]
    assert ["w@%C3%9F%20%231", "a%2Fb%3Fc", "nul%00", "100%25"] == found[1:5]
    assert len(names) == len(found)


def test_a_message_too_large_for_the_topic(kafka_server: Kafka, opened: Callable[..., KafkaSink]) -> None:
    """Only what is too large itself is refused, with Kafka's reason; its neighbours in the batch are stored."""
    name = f"events-{uuid.uuid4().hex[:8]}"
    make_topic(kafka_server, name, max_message_bytes="20000")
    subject = opened(kafka_server, topic=name)
    small = sample_events(300, size=500)
    large = [event(type="task-sent", uuid=str(number), filler="x" * 30_000) for number in range(2)]
    decided = deliver(subject, [*small[:100], large[0], *small[100:], large[1]], DEADLINE)
    found = outcomes(decided)
    assert {Outcome.STORED, Outcome.REFUSED} == set(found)
    assert {one.id for one in large} == {one.id for one in found[Outcome.REFUSED]}
    assert all("MSG_SIZE_TOO_LARGE" in verdict.reason for verdict in decided if verdict.outcome is Outcome.REFUSED)
    assert sorted(one.data for one in small) == sorted(record.value for record in records(kafka_server, subject))


def test_a_message_too_large_for_the_client(kafka_server: Kafka, opened: Callable[..., KafkaSink]) -> None:
    """What librdkafka itself would not take is refused too."""
    subject = opened(kafka_server, message_max_bytes="2000")
    small, large = event(type="task-sent"), event(type="task-sent", filler="x" * 3000)
    found = outcomes(deliver(subject, [small, large, small], DEADLINE))
    assert {Outcome.STORED: 2, Outcome.REFUSED: 1} == {outcome: len(events) for outcome, events in found.items()}


def test_a_full_local_queue_is_back_pressure(kafka_server: Kafka, opened: Callable[..., KafkaSink]) -> None:
    """More than librdkafka's queue holds: the rest waits, all are stored, in order."""
    name = f"events-{uuid.uuid4().hex[:8]}"
    make_topic(kafka_server, name)
    subject = opened(kafka_server, topic=name, queue_buffering_max_messages="50")
    events = sample_events(2000)
    subject.send(events)
    assert len(subject._waiting.unsent) >= 1900
    assert {Outcome.STORED: events} == outcomes(await_verdicts(subject, len(events), DEADLINE))
    assert [one.data for one in events] == [record.value for record in records(kafka_server, subject)]


def test_nobody_listens() -> None:
    """It says so, with the address, and where to look; what is in hand is given back by closing."""
    subject = KafkaSink(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    subject.open()
    with pytest.raises(SinkUnavailable, match=r"^no Kafka broker answers at 127\.0\.0\.1:1: "):
        subject.available()
    subject.close()


def test_an_outage_is_told_and_ends_by_itself(own_kafka: Kafka, opened: Callable[..., KafkaSink]) -> None:
    """While the broker is away events have no verdict, but the relay learns why; when it is back they are stored."""
    subject = opened(own_kafka)
    own_kafka.kill()
    events = sample_events(20)
    subject.send(events)
    told: list[Verdict] = []

    def is_told() -> bool:
        told.extend(subject.verdicts(0.1))
        return bool(told)

    until(is_told, 20, "an outage is told of")
    assert {(Outcome.RETRY, 0)} == {(verdict.outcome, len(verdict.events)) for verdict in told}
    assert told[0].reason.startswith("no Kafka broker answers at ")
    own_kafka.start()
    assert events == outcomes(await_verdicts(subject, len(events), DEADLINE))[Outcome.STORED]
    assert 20 == len(records(own_kafka, subject))


def test_asked_again_it_lets_go_of_what_it_held(own_kafka: Kafka, opened: Callable[..., KafkaSink]) -> None:
    """What went back to the broker is not sent when Kafka is back."""
    subject = opened(own_kafka)
    own_kafka.kill()
    events = sample_events(20)
    subject.send(events)
    with pytest.raises(SinkUnavailable):
        subject.available()
    assert {Outcome.RETRY: events} == outcomes(await_verdicts(subject, len(events), DEADLINE))
    own_kafka.start()
    until(lambda: subject.available() is None, 20, "Kafka is there again")
    assert [] == records(own_kafka, subject)
    deliver(subject, events, DEADLINE)
    assert 20 == len(records(own_kafka, subject))


def test_a_connection_that_died_unheard() -> None:
    """A lost answer is waited for no longer than `socket.timeout.ms`: on a new connection each is stored, once."""
    server = NativeKafka()
    proxy = Proxy(server.port(1))
    server.advertised[1] = proxy.port
    try:
        server.start()
        subject = sink(server, socket_timeout_ms="1000")
        until(lambda: subject.available() is None, 20, "its topic is there")
        deliver(subject, sample_events(5), DEADLINE)
        proxy.mode = Mode.DROP_REPLIES
        events = sample_events(20)
        subject.send(events)
        until(lambda: proxy.dropped, 20, "the answer is lost")
        proxy.mode = Mode.PASS
        stored = outcomes(await_verdicts(subject, len(events), DEADLINE))[Outcome.STORED]
        assert set(events) == set(stored)
        assert 25 == len(records(server, subject))
        subject.close()
    finally:
        proxy.close()
        server.remove()


def test_closing_while_kafka_is_away(own_kafka: Kafka, opened: Callable[..., KafkaSink]) -> None:
    """It takes a moment, and no event is stored afterwards."""
    subject = opened(own_kafka)
    own_kafka.kill()
    subject.send(sample_events(20))
    begin = time.monotonic()
    subject.close()
    assert time.monotonic() - begin < 5 * PATIENCE
    own_kafka.start()
    assert [] == records(own_kafka, subject)


def test_a_deleted_topic_is_made_again(own_kafka: Kafka, opened: Callable[..., KafkaSink]) -> None:
    """Events are given back until it is there; then they are stored."""
    subject = opened(own_kafka, topic_metadata_propagation_max_ms="1000", topic_metadata_refresh_interval_ms="1000")
    deliver(subject, sample_events(5), DEADLINE)
    client = admin(own_kafka.bootstrap)
    client.delete_topics([topic_of(subject)])[topic_of(subject)].result(60)
    until(
        # What is sent right after the deletion may still be confirmed by the old topic's leader, and goes with it.
        lambda: Outcome.RETRY in outcomes(deliver(subject, sample_events(1), DEADLINE)),
        40,
        "the old topic's leader has let go of it",
    )
    waiting = sample_events(9)[1:]
    bodies = {event.data for event in waiting}
    until(lambda: stored_or_looked(subject, waiting), 40, "all is stored")
    assert bodies <= {record.value for record in records(own_kafka, subject)}


def stored_or_looked(subject: KafkaSink, waiting: list[Event]) -> bool:
    """Whether all is stored; what is not stays in `waiting`, and the topic is looked at."""
    waiting[:] = outcomes(deliver(subject, waiting, DEADLINE)).get(Outcome.RETRY, [])
    if waiting:
        subject.available()
    return not waiting
