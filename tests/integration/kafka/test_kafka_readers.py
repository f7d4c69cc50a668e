"""Readers of Kafka while others change what they read: topics made anew, records removed, positions deleted."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator, Sequence

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import NewPartitions

from celery_event_bridge.contract import JSON, Event, notices
from celery_event_bridge.forward.decode import decode
from celery_event_bridge.reader import Events
from celery_event_sinks.kafka import standing_by
from tests.support import oracle
from tests.support.kafka_readers import LOGGER, all_of, make, make_anew, remove_before, take, told, topic_of
from tests.support.servers import Kafka
from tests.support.servers.debian import PATIENCE, until
from tests.support.servers.kafka import admin
from tests.support.streams import Stream, ids, in_kafka, some

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    """What is told is kept, and nothing has been told before."""
    notices.NOTICES.clear()
    caplog.set_level(logging.INFO, LOGGER)


@pytest.fixture
def stream(kafka_server: Kafka) -> Iterator[Stream]:
    """A topic of one partition."""
    name = f"read-{uuid.uuid4().hex[:8]}"
    make(kafka_server, name)
    made = in_kafka(kafka_server, name)
    yield made
    made.sink.close()


# A topic made anew --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [None, "billing"])
@pytest.mark.parametrize("new", [20, 200])
def test_a_topic_made_anew_under_a_reader_is_read_from_its_beginning(
    kafka_server: Kafka, stream: Stream, caplog: pytest.LogCaptureFixture, group: str | None, new: int
) -> None:
    """Whether it has more records than the old one or fewer, all are handed out, and a warning has both ids."""
    old_events, new_events = some(50), some(new, 1000)
    stream.write(old_events)
    with stream.reader(group) as reader:
        found = take(reader, all_of(old_events))
        if group:
            assert reader.commit(found[-1])
        make_anew(kafka_server, stream)
        stream.sink.close()
        stream.sink.open()
        stream.write(new_events)
        found = take(reader, all_of(new_events))
        # A group that was just rebalanced, as a topic's end makes it, may say no: then it is handed out again.
        committed = group and reader.commit(found[-1])
    if group:
        left = stream.all(group)
        assert set(left) <= set(ids(new_events))
        assert not committed or [] == left
    (line,) = told(caplog, "stream-replaced")
    assert f"topic {topic_of(stream)!r} is another one than before: its id is " in line


def test_a_topic_made_anew_that_a_reader_is_in_the_midst_of(
    kafka_server: Kafka, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """Its next fetch finds records at its offset: by the look at the id all before them are handed out too."""
    old_events, new_events = some(50), some(200, 1000)
    stream.write(old_events)
    with stream.reader("billing") as reader:
        found = take(reader, all_of(old_events))
        assert reader.commit(found[-1])
        partition = [TopicPartition(topic_of(stream), 0)]
        reader._reader._consumer.pause(partition)  # as if it had no time to ask meanwhile
        make_anew(kafka_server, stream)
        stream.sink.close()
        stream.sink.open()
        stream.write(new_events)
        reader._reader._consumer.resume(partition)
        take(reader, all_of(new_events))
    assert 1 == len(told(caplog, "stream-replaced"))


def test_a_topic_made_anew_between_two_runs_of_a_group(
    kafka_server: Kafka, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """The group's position carries the topic's id: one in another topic means nothing, so it is read from the start."""
    stream.write(some(50))
    assert 50 == len(stream.all("billing"))
    consumer = Consumer({"bootstrap.servers": kafka_server.bootstrap, "group.id": "billing"})
    (position,) = consumer.committed([TopicPartition(topic_of(stream), 0)], timeout=10)
    make_anew(kafka_server, stream)
    # Kafka removes the positions of a topic that is deleted; a reader that does not know yet commits one again.
    consumer.commit(offsets=[position], asynchronous=False)
    consumer.close()
    stream.sink.close()
    stream.sink.open()
    events = some(200, 1000)
    stream.write(events)
    assert ids(events) == stream.all("billing")
    assert 1 == len(told(caplog, "stream-replaced"))
    assert [] == stream.all("billing")
    assert 1 == len(told(caplog, "stream-replaced"))


def test_a_group_that_begins_at_the_end_misses_nothing_of_a_topic_made_anew(
    kafka_server: Kafka, stream: Stream
) -> None:
    """With `since="latest"`, which is for what was there before the group."""
    with stream.reader("billing", since="latest") as reader:
        events = some(5)
        until(lambda: begun(reader), 30, "the group has begun")
        stream.write(events)
        found = take(reader, all_of(events))
        assert reader.commit(found[-1])
        make_anew(kafka_server, stream)
        stream.sink.close()
        stream.sink.open()
        more = some(20, 1000)
        stream.write(more)
        take(reader, all_of(more))


def begun(reader: Events) -> bool:
    """Whether the group has given it a partition."""
    reader._fetch()
    return bool(reader._reader._assignment.owned)


# Records removed ----------------------------------------------------------------------------------------------------


def test_a_retention_that_overtakes_a_group_is_told_of(
    kafka_server: Kafka, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """Between two runs: one warning with the number that is gone, a count, and not again by the next reader."""
    events = some(100)
    stream.write(events)
    with stream.reader("billing") as reader:
        for _ in range(10):
            last = next(reader)
        assert reader.commit(last)
    remove_before(kafka_server, stream, 60)
    with stream.reader("billing", follow=False) as reader:
        assert ids(events[60:]) == [event.id for event in reader]
        assert 50 == reader.skipped
    (line,) = told(caplog, "skipped")
    assert line.startswith("50 records were gone")
    assert 50 == notices.NOTICES.counts()["skipped"]
    with stream.reader("billing", follow=False) as reader:
        assert ids(events[60:]) == [event.id for event in reader]
        assert 0 == reader.skipped


@pytest.mark.parametrize("group", [None, "billing"])
def test_a_retention_that_overtakes_a_reader_is_told_of(
    kafka_server: Kafka, stream: Stream, caplog: pytest.LogCaptureFixture, group: str | None
) -> None:
    """While it reads: what it hands out and what it says is gone make up the whole."""
    events = [one for number in range(100) for one in decode_large(number)]
    stream.write(events)
    with stream.reader(group) as reader:
        found = take(reader, lambda taken: len(taken) == 10)
        remove_before(kafka_server, stream, 90)
        found += take(reader, lambda taken: bool(taken) and taken[-1].id == events[-1].id)
        assert reader.skipped > 0
        assert len(events) == len(found) + reader.skipped
        if group:
            assert reader.commit(found[-1])
    assert not group or [] == stream.all(group)
    assert 1 == len(told(caplog, "skipped"))
    assert reader.skipped == notices.NOTICES.counts()["skipped"]


def decode_large(number: int) -> Sequence[Event]:
    """An event that librdkafka's queue does not hold many of."""
    body = b'{"type": "task-sent", "uuid": "%d", "filler": "%s"}' % (number, b"x" * 600_000)
    return decode(body, JSON, {}).events


def test_reading_back_over_a_removed_beginning_is_no_loss(
    kafka_server: Kafka, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """What is read again for duplicates and is gone was handled: nothing is told of."""
    events = some(100)
    stream.write(events)
    assert ids(events) == stream.all("billing")
    remove_before(kafka_server, stream, 60)
    more = some(5, 1000)
    stream.write([*events[90:], *more])
    assert ids(more) == stream.all("billing")
    assert [] == told(caplog, "skipped")


# Positions and partitions -------------------------------------------------------------------------------------------


def test_a_position_that_somebody_deletes_is_this_readers_own(
    kafka_server: Kafka, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    """A reader that is given its partition again without a position goes on where it was, not at `since`."""
    stream.write(some(5))
    with stream.reader("billing", since="latest") as reader:
        until(lambda: begun(reader), 30, "the group has begun")
        events = some(20, 100)
        stream.write(events)
        found = take(reader, all_of(events))
        assert reader.commit(found[9])
        reader._reader._discard()  # as after an outage, or when it has stood still for too long
        client = admin(kafka_server.bootstrap)
        until(lambda: client.delete_consumer_groups(["billing"])["billing"].result(60) is None, 20, "it is deleted")
        more = some(5, 1000)
        stream.write(more)
        again = take(reader, all_of(more))
        assert ids([*events[10:], *more]) == [one.id for one in again]
    assert 1 == len(told(caplog, "stream-shrunk"))


def test_a_position_that_somebody_sets_is_gone_by(kafka_server: Kafka, stream: Stream) -> None:
    """`kafka-consumer-groups --reset-offsets` has the last word: between two runs, back or forth."""
    events = some(50)
    stream.write(events)
    assert ids(events) == stream.all("billing")
    client = admin(kafka_server.bootstrap)
    asked = ConsumerGroupTopicPartitions("billing", [TopicPartition(topic_of(stream), 0, 30)])
    client.alter_consumer_group_offsets([asked])["billing"].result(60)
    assert ids(events[30:]) == stream.all("billing", window=0)


def test_partitions_that_are_added_are_read_from_their_beginning(kafka_server: Kafka, stream: Stream) -> None:
    """By a group that has begun at the end, too: what was stored in them before it noticed is not passed over."""
    with stream.reader("billing", since="latest") as reader:
        until(lambda: begun(reader), 30, "the group has begun")
        events = some(20)
        stream.write(events)
        assert reader.commit(take(reader, all_of(events))[-1])
    client = admin(kafka_server.bootstrap)
    client.create_partitions([NewPartitions(topic_of(stream), 4)])[topic_of(stream)].result(60)
    more = some(100, 1000)

    def spread() -> bool:
        stream.sink.close()
        stream.sink.open()
        stream.write(more)
        return all(oracle.kafka_counts(kafka_server.bootstrap, topic_of(stream)).values())

    until(spread, 30, "each partition has some")
    with stream.reader("billing", since="latest") as reader:
        take(reader, all_of(more))


def test_a_reader_without_a_partition_says_that_it_stands_by(
    stream: Stream, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a topic with one partition the second reader of a group has none: until the first one goes."""
    monkeypatch.setattr(standing_by, "SAID_AFTER", 0.0)
    stream.write(some(3))
    first, seen = stream.reader("shared"), list[str]()

    def read_on() -> None:
        with first:
            for event in first:
                seen.append(event.id)

    def turn() -> None:
        if any("stands by until another one goes" in line for line in told(caplog, "waiting")):
            first.stop()

    thread = threading.Thread(target=read_on, daemon=True)
    thread.start()
    until(lambda: len(seen) == 3, 40, "the first one has the partition")
    with stream.reader("shared") as second:
        take(second, all_of(some(3)), each=turn)
    thread.join(20 * PATIENCE)
    assert ids(some(3)) == seen
    assert any("has given this reader partitions" in each.getMessage() for each in caplog.records)
