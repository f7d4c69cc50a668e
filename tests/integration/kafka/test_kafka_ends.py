"""Ends of Kafka's logs: one that is lost with a disk is told of and read past by nobody; a transaction hides none."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import Producer, TopicPartition

from celery_event_bridge.contract.notices import NOTICES
from celery_event_sinks.kafka.marks import Last, Mark, Position, position
from tests.support.audits import audit
from tests.support.kafka_readers import all_of, make, take, told, topic_of
from tests.support.servers import Kafka
from tests.support.servers.debian import until
from tests.support.servers.kafka import NativeKafka
from tests.support.streams import Stream, ids, in_kafka, some

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> None:
    """What readers tell is kept."""
    caplog.set_level(logging.INFO, "celery_event_bridge.reader")


def one_partition(server: Kafka) -> Stream:
    name = f"ends-{uuid.uuid4().hex[:8]}"
    make(server, name)
    return in_kafka(server, name)


@pytest.fixture
def losing(own_kafka: Kafka) -> NativeKafka:
    """A node whose disk a test may replace."""
    if not isinstance(own_kafka, NativeKafka):
        pytest.skip("a container's disk is not at hand")
    return own_kafka


@pytest.fixture
def stream(losing: NativeKafka) -> Iterator[Stream]:
    made = one_partition(losing)
    yield made
    made.sink.close()


def lose_all(server: NativeKafka, stream: Stream) -> None:
    """The topic stays, with its id, and is empty."""
    server.kill()
    server.lose(topic_of(stream))
    server.start()
    until(lambda: stream.sink.available() is None, 60, "the topic has a leader")
    stream.sink.close()
    stream.sink.open()


@pytest.mark.parametrize("new", [20, 200])
def test_an_end_that_is_lost_is_told_of_and_a_group_begins_anew(
    losing: NativeKafka, stream: Stream, caplog: pytest.LogCaptureFixture, new: int
) -> None:
    """Whether the log has grown past the group's position or not; by bridge and audit, too."""
    stream.write(some(50))
    assert 50 == len(stream.all("billing"))
    stream.sink.look()
    lose_all(losing, stream)
    assert 50 == NOTICES.counts()["stream-shrunk"]
    events = some(new, 1000)
    stream.write(events)
    stream.sink.look()
    assert 50 == NOTICES.counts()["stream-shrunk"]
    done = audit("--from", stream.url, "--settle", "0")
    assert "nothing is missing" not in done.stdout
    assert ids(events) == stream.all("billing")
    assert 1 == len(told(caplog, "stream-shrunk"))
    assert [] == stream.all("billing")


@pytest.mark.parametrize("group", [None, "billing"])
def test_a_log_that_grows_again_under_a_reader_is_read_anew(
    losing: NativeKafka, stream: Stream, caplog: pytest.LogCaptureFixture, group: str | None
) -> None:
    """Though it has other events at the reader's offset by the time that it asks again."""
    stream.write(some(50))
    with stream.reader(group) as subject:
        found = take(subject, all_of(some(50)))
        assert not group or subject.commit(found[-1])
        assert subject._reader._consumer is not None
        partition = [TopicPartition(topic_of(stream), 0)]
        subject._reader._consumer.pause(partition)  # as if it had no time to ask meanwhile
        lose_all(losing, stream)
        events = some(200, 1000)
        stream.write(events)
        subject._reader._consumer.resume(partition)
        take(subject, all_of(events))
    assert 1 == len(told(caplog, "stream-shrunk"))


@pytest.mark.parametrize("mark", ["topic=abc partitions=3", "topic=abc partitions=3 last=7:0123456789abcdef"])
def test_what_stands_beside_a_position_is_read_as_it_was_written(mark: str) -> None:
    """By an earlier version as well, which knew nothing of events."""
    last = Last(7, "0123456789abcdef") if "last" in mark else None
    assert Position(8, Mark("abc", 3, last)) == position(8, mark)
    assert mark == str(Mark("abc", 3, last))


@pytest.mark.parametrize("ending", ["open", "aborted", "committed"])
def test_a_transaction_of_somebody_else_hides_nothing_from_readers(kafka_server: Kafka, ending: str) -> None:
    """Nor do its own records hold up the end: they are seen, and named as foreign ones."""
    stream = one_partition(kafka_server)
    producer = Producer({"bootstrap.servers": kafka_server.bootstrap, "transactional.id": topic_of(stream)})
    before, after = some(10), some(10, 100)
    with closing(stream.sink):
        stream.write(before)
        producer.init_transactions(20)
        producer.begin_transaction()
        producer.produce(topic_of(stream), b"x", partition=0)
        producer.flush(10)
        if ending == "open":
            stream.write(after)
        with stream.reader("early", follow=False) as events:
            first = [event.id for event in events]
        end = {"open": str, "aborted": producer.abort_transaction, "committed": producer.commit_transaction}[ending]
        end()
        for group in (None, "billing"):
            with stream.reader(group, follow=False) as events:
                found = list(events)
            assert ids(before) == [event.id for event in found[:10]]
            assert "was not written by a bridge" in (found[10].record.problem or "")
            assert ids(after if ending == "open" else []) == [event.id for event in found[11:]]
        assert len(found) == len(first)
        if ending == "open":
            producer.abort_transaction()
