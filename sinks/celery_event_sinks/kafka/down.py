"""Topics and partitions that would store nothing now; a topic of several is told of once, until it stores again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from confluent_kafka import KafkaError, Message, TopicPartitionInfo

from celery_event_bridge.contract import SinkUnavailable, notices
from celery_event_bridge.contract.values import counted
from celery_event_sinks.kafka.advice import MIN_REPLICAS

OF_A_TOPIC = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
"""Errors of one topic, while another may store."""


class Down:
    """Topics that store nothing while another one does."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self.reasons: dict[str, str] = {}
        """Reason by topic."""

    def found(self, troubles: Mapping[str, Sequence[str]]) -> None:
        """Take note of a look: of each partition's trouble, by topic. Raises SinkUnavailable where no topic stores."""
        down = {name: each[0] for name, each in troubles.items() if each and all(each)}
        if down and len(down) == len(troubles):
            raise SinkUnavailable(next(iter(down.values())))
        for name in {*self.reasons} - {*down}:
            self._ends(name)
        for name, reason in down.items():
            self._begins(name, reason)

    def stored(self, message: Message | None) -> None:
        """Take note that a topic has stored a record."""
        if message is not None and (name := message.topic()) in self.reasons:
            self._ends(str(name))

    def refused(self, message: Message | None, error: KafkaError, reason: str) -> None:
        """Take note that a topic has not stored a record, for what is wrong with the topic itself."""
        if len(self._names) > 1 and message is not None and error.code() in OF_A_TOPIC:
            self._begins(str(message.topic()), reason)

    def _begins(self, name: str, reason: str) -> None:
        if name in self.reasons:
            return
        self.reasons[name] = reason
        text = f"{reason}; what belongs into topic {name!r} waits, and the other topics store"
        notices.tell("topic-down", text, subject=name, every=0.0)

    def _ends(self, name: str) -> None:
        del self.reasons[name]
        notices.over("topic-down", f"topic {name!r} stores again", subject=name)


def trouble_of(topic: str, partition: TopicPartitionInfo, wanted: int) -> str:
    """Return why this partition stores nothing now, where so many replicas in sync are wanted; else an empty text.

    More than it has replicas cannot be in sync: since 3.7 Kafka asks for all of them then; see `advice` for older ones.
    """
    wanted = min(wanted, len(partition.replicas))
    where = f"partition {partition.id} of topic {topic!r}"
    if cast("object | None", partition.leader) is None:
        return f"{where} has no leader"
    if len(partition.isr) < wanted:
        there = counted(len(partition.isr), "replica")
        return f"{where} has {there} in sync of the {wanted} that {MIN_REPLICAS} asks for: are all brokers up?"
    return ""


def raise_any(troubles: Mapping[str, Sequence[str]]) -> None:
    """Raise SinkUnavailable for the first trouble, if there is one."""
    if trouble := next((each for one in troubles.values() for each in one if each), ""):
        raise SinkUnavailable(trouble)
