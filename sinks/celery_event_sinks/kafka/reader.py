"""Reads Kafka topics back: all partitions for oneself, or those that a consumer group assigns.

The group's protocol is the cooperative one: who keeps a partition in a rebalance reads on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable, Mapping, Sequence, Set
from typing import Any, ClassVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from celery_event_bridge.contract import LOOK_INTERVAL, Batch, Reading, Record, SinkUnavailable, StreamRefused
from celery_event_bridge.contract.deadline import Deadline
from celery_event_sinks.kafka.addresses import parts_of
from celery_event_sinks.kafka.assignment import NEW_PARTITIONS, Assignment
from celery_event_sinks.kafka.consumer import peek, properties
from celery_event_sinks.kafka.errors import DENIED, reason_of
from celery_event_sinks.kafka.login import REFUSED, Login
from celery_event_sinks.kafka.marks import Last
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.kafka.stored import record
from celery_event_sinks.kafka.topics import Topics

LOOK = 1.0
"""Seconds that a look whether Kafka is back may take."""
SETTLING = 5.0
"""Seconds that a commit waits for a rebalance to be over."""
REBALANCING = frozenset({KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION})
NO_MEMBER = frozenset({KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_INSTANCE_ID})
HARMLESS = frozenset({KafkaError._PARTITION_EOF, KafkaError._MAX_POLL_EXCEEDED})
"""Errors among the messages that are no outage: an end, and a group that we shall join again."""
AWAY = frozenset(
    {KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError._RESOLVE, KafkaError._FATAL}
)


class KafkaReader:
    """The topics that the settings name."""

    sink: ClassVar[str] = "kafka"
    Settings = KafkaSettings

    def __init__(self, settings: KafkaSettings, reading: Reading, *, new_partitions: float = NEW_PARTITIONS) -> None:
        self._settings = settings
        self._login = Login(settings)
        self._reading = reading
        topics = list(dict.fromkeys(settings.topics.values()))
        self._watched = Topics(settings)
        marks = self._watched.marks
        self._assignment = Assignment(topics, reading, self._commit_offsets, marks, self._peek, new_partitions)
        self._consumer: Consumer | None = None
        self._lost = False
        """True if the group counts us out; it takes us in again with the next assignment."""
        self._trouble: str | None = None
        self._denied = False
        self._refused = False
        """True if a login failed: certificates and passwords are read again, by a new consumer."""
        self._look_due = 0.0

    @staticmethod
    def from_url(url: str, settings: KafkaSettings) -> Mapping[str, str]:
        """`kafka://host:9092,host2:9092/topic`; without a topic, that of the settings."""
        addresses, topic = parts_of(url)
        return {"bootstrap_servers": addresses, "topic": topic or settings.topic}

    @staticmethod
    def identity(settings: KafkaSettings) -> Set[Hashable]:
        """Return the cluster's id and the topics. Raises SinkUnavailable."""
        topics = Topics(settings)
        try:
            return {("kafka", topics.cluster(), name) for name in settings.topics.values()}
        finally:
            topics.close()

    def open(self) -> None:
        """Make the consumer, which connects by itself; without a group, find out where to begin."""
        if self._consumer is not None:
            return
        self._trouble, self._refused, self._settings = None, False, self._login.begin()
        self._look_due = time.monotonic() + LOOK_INTERVAL
        self._watched.check_readable(self._reading.group)
        try:
            wanted = properties(self._settings, self._reading, self._hear)
            consumer = Consumer(wanted, logger=logging.getLogger("librdkafka"))
        except KafkaException as exc:  # a file of a certificate that is gone, say
            raise StreamRefused(self._settings.refusal(exc.args[0].str())) from exc
        self._consumer = consumer
        try:
            if self._reading.group is not None:
                self._assignment.subscribe(consumer)
            else:
                self._assignment.assign_all(consumer)
        except SinkUnavailable:
            self._discard()
            raise

    def fetch(self, limit: int, timeout: float) -> Batch:
        """Return what librdkafka has fetched ahead; else it waits for the next one."""
        self.open()
        consumer, assignment = self._consumer, self._assignment
        assert consumer is not None
        if time.monotonic() >= self._look_due and self._is_another():
            return Batch(revoked=assignment.take_revoked())
        if self._reading.group is None:
            self._assign_all(consumer)
        messages = self._consumed(consumer, limit, timeout)
        if (failed := assignment.failed) is not None:
            self._discard()
            raise failed
        records, seen = self._part(consumer, messages)
        if records or seen:
            self._trouble, self._denied = None, False
        elif self._trouble is not None:
            trouble = self._trouble
            if not self._denied and self._answers(consumer):
                self._trouble, self._refused = None, False
            else:
                self._renew_login()
            raise SinkUnavailable(trouble)
        if assignment.owned:
            self._lost = False
        assignment.standing_by.look()
        return Batch(records, seen, assignment.take_revoked(), assignment.take_skipped())

    def ended(self) -> bool:
        """Return whether all is fetched that was there when it was assigned."""
        return self._reading.ends and self._assignment.ended()

    def renew_lease(self) -> bool:
        """Librdkafka gives the signs of life; False where the group did not get them."""
        return not self._lost

    def commit(self, positions: Mapping[Hashable, Sequence[Any]]) -> bool:
        """Move the group's position in the partitions that are assigned still."""
        offsets = [
            self._assignment.marked(partition, positions[owned.key][-1] + 1)
            for partition, owned in self._assignment.owned.items()
            if owned.key in positions
        ]
        if self._consumer is None or not offsets or self._lost:
            return False
        return self._commit_offsets(self._consumer, offsets) and len(offsets) == len(positions)

    def missed_by_groups(self) -> Mapping[str, int]:
        """Return what was lost with the end of a log that a group has read, at least. Raises SinkUnavailable."""
        return self._watched.missed_by_groups(self._peek)

    def close(self) -> None:
        """Leave the group."""
        self._discard()
        self._watched.close()

    def _is_another(self) -> bool:
        """Look at the topics' ids; whether one was made anew, which is then read from its beginning."""
        self._look_due = time.monotonic() + LOOK_INTERVAL
        try:
            if not self._assignment.is_another():
                return False
        except SinkUnavailable:
            return False  # the consumer itself tells of an outage
        self._discard()
        return True

    def _renew_login(self) -> None:
        """Let the next attempt make a new consumer, if this one's login failed, or is another than the files have."""
        if not (self._refused or self._login.differs()):
            return
        self._watched.renew(self._settings.fresh())
        self._discard()

    def _assign_all(self, consumer: Consumer) -> None:
        try:
            self._assignment.assign_all(consumer)
        except SinkUnavailable:
            if self._assignment.failed is not None:
                self._discard()
            else:
                self._renew_login()
            raise

    def _consumed(self, consumer: Consumer, limit: int, timeout: float) -> Sequence[Any]:
        try:
            # `consume` waits until it has so many: so first what there is, then for one.
            messages = consumer.consume(limit, 0)
            if not messages and not self.ended():
                messages = consumer.consume(1, timeout)
                messages += consumer.consume(limit - 1, 0) if messages and limit > 1 else []
        except KafkaException as exc:
            self._discard()
            raise SinkUnavailable(reason_of(exc.args[0])) from exc
        return messages

    def _peek(self, asked: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], Last]:
        return peek(self._settings, asked)

    def _commit_offsets(self, consumer: Consumer, offsets: list[TopicPartition]) -> bool:
        """Return whether the group took it. Raises SinkUnavailable where nobody can tell."""
        deadline = Deadline(SETTLING)
        while True:
            try:
                answers = consumer.commit(offsets=offsets, asynchronous=False) or []
                error = next((one.error for one in answers if one.error is not None), None)
            except KafkaException as exc:
                error = exc.args[0]
            if error is None:
                self._assignment.known.committed.update({(one.topic, one.partition): one.offset for one in offsets})
                return True
            if error.code() in NO_MEMBER:
                self._lost = True
                return False
            if error.code() not in REBALANCING:
                raise SinkUnavailable(f"cannot commit: {reason_of(error)}")
            if deadline.passed:
                return False
            time.sleep(0.05)

    def _part(self, consumer: Consumer, messages: Sequence[Any]) -> tuple[list[Record], list[Record]]:
        """Part those to hand out from those that were read back."""
        records: list[Record] = []
        seen: list[Record] = []
        owned_by = self._assignment.owned
        last: dict[tuple[str, int], Record] = {}
        for message in messages:
            error = message.error()
            partition, offset = (message.topic(), message.partition()), message.offset()
            owned = owned_by.get(partition)
            if error is not None:
                if error.code() == KafkaError._AUTO_OFFSET_RESET:
                    self._look_due = 0.0  # it may be another topic
                    self._assignment.read(last)
                    last.clear()
                    try:
                        self._assignment.out_of_range(consumer, partition)
                    except SinkUnavailable as exc:  # for the next fetch, as this one has records of others
                        self._assignment.failed = exc
                    continue
                self._note(error, message.topic())
                if owned is not None and owned.end is not None and error.code() == KafkaError._PARTITION_EOF:
                    owned.ended = owned.ended or offset >= owned.end  # what was last there may be gone
                    self._trouble, self._denied = None, False
                continue
            if owned is None:
                continue  # revoked while it was on its way
            if owned.end is not None and offset + 1 >= owned.end:
                owned.ended = True
                if offset >= owned.end:
                    continue
            last[partition] = found = record(owned.key, message)
            (records if offset >= owned.begin else seen).append(found)
        self._assignment.read(last)
        return records, seen

    def _answers(self, consumer: Consumer) -> bool:
        """Return whether the trouble may be over: that nothing comes says nothing."""
        try:
            consumer.list_topics(next(iter(self._settings.topics.values())), timeout=LOOK)
        except KafkaException:
            return False
        return True

    def _note(self, error: KafkaError, topic: str | None) -> None:
        group = self._reading.group
        if group is None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return  # librdkafka looks for the coordinator of a group that is a name only
        if error.code() not in HARMLESS:
            of_group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED or topic is None
            self._trouble = reason_of(error, "READ", f"group {group!r}" if of_group else f"topic {topic!r}")
            self._denied = error.code() in DENIED

    def _hear(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in AWAY:
            self._trouble = reason_of(error)
        self._refused = self._refused or error.code() in REFUSED

    def _discard(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._assignment.failed = None
        self._assignment.give_up([*self._assignment.owned])
        if consumer is not None:
            try:
                consumer.close()
            except (KafkaException, RuntimeError):
                pass  # it is given up; what it had assigned goes to others by its session
