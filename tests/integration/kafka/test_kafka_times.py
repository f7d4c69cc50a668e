"""Times of Kafka's records: a topic that refuses, or removes, what is late or ahead stores every event all the same."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from celery_event_bridge.contract import Event, Outcome, Verdict
from celery_event_bridge.reader import open_reader
from celery_event_bridge.testing import await_available, await_verdicts, deliver
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.sink import KafkaSink
from tests.support import oracle
from tests.support.bridges import run_to_end
from tests.support.kafka_sinks import DEADLINE, alter, event, make_topic, outcomes
from tests.support.servers import Kafka
from tests.support.servers.debian import until
from tests.support.servers.kafka import NativeKafka, admin

MINUTE, HOUR = 60.0, 3600.0


@pytest.fixture
def topic() -> str:
    """A name for a topic of the test's own."""
    return f"times-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def opened() -> Iterator[Callable[..., KafkaSink]]:
    """Makes sinks that are there; they are closed with the test."""
    made: list[KafkaSink] = []

    def open_one(server: Kafka, name: str, **settings: Any) -> KafkaSink:
        made.append(KafkaSink(KafkaSettings(bootstrap_servers=server.bootstrap, topic=name, **settings)))
        await_available(made[-1], DEADLINE)
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def happened(*ages: float) -> list[Event]:
    """Events of so many seconds ago."""
    now = time.time()
    return [event(type="task-sent", uuid=uuid.uuid4().hex, timestamp=now - age) for age in ages]


def own_times(server: Kafka, name: str) -> dict[str, int]:
    """By id, the time that a reader hands out, in microseconds."""
    with open_reader(f"kafka://{server.bootstrap}/{name}", follow=False) as reader:
        return {one.id: one.record.time or 0 for one in reader}


@pytest.mark.parametrize(
    ("config", "ages"),
    [
        ({"message_timestamp_before_max_ms": "60000"}, [10 * MINUTE] * 5 + [0.0]),
        ({"message_timestamp_after_max_ms": "1000"}, [-2 * MINUTE] * 5 + [0.0]),
        ({"message_timestamp_before_max_ms": "60000"}, [59.0, 58.0, 31.0, 29.0, 1.0]),
        ({"message_timestamp_type": "LogAppendTime"}, [10 * MINUTE, 0.0, -2 * HOUR, 5000 * HOUR]),
        ({}, [-0.5 * HOUR, -2 * HOUR, 0.0]),
    ],
)
def test_what_a_topic_refuses_gets_the_time_of_now(
    kafka_server: Kafka, opened: Callable[..., KafkaSink], topic: str, config: dict[str, str], ages: list[float]
) -> None:
    """Late or ahead, each event is stored, none is parked, and a reader knows its own time to the microsecond."""
    make_topic(kafka_server, topic, **config)
    subject = opened(kafka_server, topic)
    events = happened(*ages)
    assert {Outcome.STORED: set(events)} == sets(deliver(subject, events, DEADLINE))
    found = own_times(kafka_server, topic)
    assert {one.id for one in events} == set(found)
    for one in events:
        assert one.time is not None
        assert abs(one.time - found[one.id]) < 1000


def sets(verdicts: list[Verdict]) -> dict[Outcome, set[Event]]:
    return {outcome: set(events) for outcome, events in outcomes(verdicts).items()}


def test_only_what_the_topic_takes_and_keeps_has_its_own_time(
    kafka_server: Kafka, opened: Callable[..., KafkaSink], topic: str
) -> None:
    """The record's timestamp is the event's own where it may be, and that of its storing with `ce_time` where not."""
    make_topic(kafka_server, topic, retention_ms=str(round(4 * HOUR * 1000)))
    subject = opened(kafka_server, topic)
    fresh, late = happened(HOUR, 3 * HOUR)
    begun = int(time.time() * 1000)
    deliver(subject, [fresh, late], DEADLINE)
    of_fresh, of_late = oracle.in_kafka(kafka_server.bootstrap, topic)
    assert fresh.time is not None
    assert late.time is not None
    assert (fresh.time // 1000, None) == (of_fresh.timestamp, of_fresh.headers.get("ce_time"))
    assert of_late.timestamp >= begun
    assert f"{late.time % 1_000_000:06}Z" == of_late.headers["ce_time"].decode().partition(".")[2]


@pytest.fixture(scope="module")
def quick_to_remove() -> Iterator[NativeKafka]:
    """A node that looks for what is to be removed every half second."""
    server = NativeKafka(config={"log.retention.check.interval.ms": "500", "log.initial.task.delay.ms": "500"})
    try:
        server.start()
        yield server
    finally:
        server.remove()


def test_events_that_come_late_are_kept_as_long_as_the_others(
    quick_to_remove: NativeKafka, opened: Callable[..., KafkaSink], topic: str
) -> None:
    """Of two hours ago, in a topic that keeps a minute: they are there when what has the time of then is removed."""
    make_topic(quick_to_remove, topic, retention_ms="60000", segment_ms="1000")
    subject = opened(quick_to_remove, topic)
    events = happened(*[2 * HOUR] * 5)
    assert {Outcome.STORED: set(events)} == sets(deliver(subject, events, DEADLINE))
    # A record of that time in a topic beside it shows that Kafka has looked since.
    make_topic(quick_to_remove, f"{topic}-beside", retention_ms="60000", segment_ms="1000")
    beside = Producer({"bootstrap.servers": quick_to_remove.bootstrap})
    beside.produce(f"{topic}-beside", b"x", timestamp=round((time.time() - 2 * HOUR) * 1000))
    assert 0 == beside.flush(10)
    until(lambda: 0 == sum(oracle.kafka_counts(quick_to_remove.bootstrap, f"{topic}-beside").values()), 30, "removed")
    assert {one.data for one in events} == {one.value for one in oracle.in_kafka(quick_to_remove.bootstrap, topic)}


def test_a_limit_that_is_set_meanwhile_refuses_nothing(
    kafka_server: Kafka, opened: Callable[..., KafkaSink], topic: str
) -> None:
    """Between two looks the topic begins to refuse late records: they are sent again with the time of now, at once."""
    make_topic(kafka_server, topic)
    subject = opened(kafka_server, topic)
    alter(kafka_server, topic, message_timestamp_before_max_ms="60000")
    events = happened(*[HOUR] * 500, *[0.0] * 500, *[2 * HOUR] * 500)
    subject.send(events)
    assert {Outcome.STORED: set(events)} == sets(await_verdicts(subject, len(events), DEADLINE))
    assert {one.data for one in events} == {one.value for one in oracle.in_kafka(kafka_server.bootstrap, topic)}
    subject.look()
    more = happened(*[HOUR] * 10)
    assert {Outcome.STORED: set(more)} == sets(deliver(subject, more, DEADLINE))
    found = own_times(kafka_server, topic)
    assert {one.id: one.time for one in more} == {one.id: found[one.id] for one in more}


def test_a_clock_that_kafka_refuses_parks_nothing(
    kafka_server: Kafka, opened: Callable[..., KafkaSink], topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the topic refuses the time of now, events are given back with that reason: no event is to blame."""
    make_topic(kafka_server, topic, message_timestamp_after_max_ms="1000")
    subject = opened(kafka_server, topic)
    right = subject._records.recorded_now

    def ahead(times: Any) -> None:
        right(times)
        subject._records.now += 3_600_000

    monkeypatch.setattr(subject._records, "recorded_now", ahead)
    events = happened(*[-2 * MINUTE] * 5, *[HOUR] * 5)
    verdicts = deliver(subject, events, DEADLINE)
    refused = outcomes(verdicts)
    assert {Outcome.RETRY} <= set(refused) <= {Outcome.RETRY, Outcome.STORED}
    assert all("clocks" in verdict.reason for verdict in verdicts if verdict.outcome is Outcome.RETRY)
    monkeypatch.undo()
    assert [Outcome.STORED] == list(outcomes(deliver(subject, refused[Outcome.RETRY], DEADLINE)))


@pytest.mark.parametrize(
    ("config", "verdict", "said"),
    [
        ({"message_timestamp_before_max_ms": "60000"}, "warn", "message.timestamp.before.max.ms=60000"),
        ({"message_timestamp_after_max_ms": "1000"}, "warn", "message.timestamp.after.max.ms=1000"),
        ({"retention_ms": "60000"}, "warn", "retention.ms=60000"),
        ({"retention_bytes": "1000000"}, "warn", "retention.bytes=1000000"),
        ({"cleanup_policy": "compact"}, "FAIL", "cleanup.policy=compact"),
        ({"cleanup_policy": "compact,delete"}, "FAIL", "cleanup.policy="),
    ],
)
def test_check_says_what_a_topic_may_lose(
    kafka_server: Kafka, broker_url: str, topic: str, config: dict[str, str], verdict: str, said: str
) -> None:
    """A line for each property that refuses or removes events; a topic that is compacted fails, with exit code 1."""
    make_topic(kafka_server, topic, **config)
    done = checked(kafka_server, broker_url, topic)
    (line,) = [line for line in done.stdout.splitlines() if said in line]
    assert line.startswith(f"{verdict:<4} sink kafka: topic {topic!r} ")
    assert int(verdict == "FAIL") == done.returncode, done.stdout


@pytest.mark.parametrize(
    ("settings", "verdict", "planned"),
    [
        ({}, "warn", "1 partition, 1 replica; with one replica"),
        (
            {"BRIDGE_KAFKA_PARTITIONS": "3", "BRIDGE_KAFKA_RETENTION": "2d"},
            "warn",
            "3 partitions, 1 replica, retention.ms=172800000",
        ),
        ({"BRIDGE_KAFKA_REPLICATION_FACTOR": "3"}, "FAIL", "could not be made"),
    ],
)
def test_check_makes_no_topic(
    kafka_server: Kafka, broker_url: str, topic: str, settings: dict[str, str], verdict: str, planned: str
) -> None:
    """It says that `run` will make it, and how, or why Kafka would not let it."""
    done = checked(kafka_server, broker_url, topic, **settings)
    (line,) = [line for line in done.stdout.splitlines() if repr(topic) in line]
    assert line.startswith(f"{verdict:<4} sink kafka: ")
    assert planned in line
    assert (verdict != "FAIL") == ("is not there yet, run will make it" in line)
    assert int(verdict == "FAIL") == done.returncode
    assert topic not in admin(kafka_server.bootstrap).list_topics(timeout=10).topics


def checked(server: Kafka, broker_url: str, name: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """What `check` says."""
    return run_to_end(
        "celery_event_bridge",
        "check",
        BRIDGE_BROKER_URL=broker_url,
        BRIDGE_SINK="kafka",
        BRIDGE_KAFKA_BOOTSTRAP_SERVERS=server.bootstrap,
        BRIDGE_KAFKA_TOPIC=name,
        **settings,
    )
