"""Memory of the topics while this process lives, so that one that is made again is no worse than the old one."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from confluent_kafka.admin import ConfigSource, TopicDescription

from celery_event_bridge.contract.values import counted
from celery_event_sinks.kafka.advice import MIN_REPLICAS
from celery_event_sinks.kafka.state import Config
from celery_event_sinks.kafka.times import CLEANUP

NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""Id by brokers before 2.8, which give none."""


class Figures(msgspec.Struct, frozen=True):
    """Figures that a topic is made of."""

    partitions: int
    replicas: int
    min_insync: int
    """0 where we may not ask: nothing is said of it then."""

    def __str__(self) -> str:
        size = f"{counted(self.partitions, 'partition')}, {counted(self.replicas, 'replica')}"
        return f"{size}, {MIN_REPLICAS}={self.min_insync}" if self.min_insync else size

    def most(self, other: Figures) -> Figures:
        """Return the larger of each two figures."""
        return Figures(
            max(self.partitions, other.partitions),
            max(self.replicas, other.replicas),
            max(self.min_insync, other.min_insync),
        )


def figures(topic: TopicDescription, config: Config | None) -> Figures:
    """Return what this topic has now."""
    replicas = min((len(partition.replicas) for partition in topic.partitions), default=0)
    min_insync = config.get(MIN_REPLICAS) if config else None  # not every broker lists it
    return Figures(len(topic.partitions), replicas, int(min_insync.value or 1) if min_insync is not None else 0)


class Seen(msgspec.Struct):
    """A topic as it was at the last look, and the best that it ever was."""

    id: str
    now: Figures
    best: Figures
    own: Mapping[str, str]
    """The properties that were set on the topic itself."""
    past: set[str] = msgspec.field(default_factory=set)
    """Ids of earlier ones: a broker that lags behind may speak of them again."""

    @classmethod
    def first(cls, topic: TopicDescription, config: Config | None) -> Seen:
        """Begin with the first look at a topic."""
        now = figures(topic, config)
        return cls(id_of(topic), now, now, own_properties(config))

    def again(self, topic: TopicDescription, config: Config | None) -> str:
        """Look again; returns what has changed, to be told, or nothing."""
        new, now, before, old = id_of(topic), figures(topic, config), self.now, self.id
        if new in self.past:
            return ""
        self.now, self.best = now, self.best.most(now)
        if config:
            self.own = own_properties(config)
        if new != old and NO_ID not in (new, old):
            self.past.add(old)
            self.id = new
            return (
                f"is another one than before: its id is {new} and was {old}; it has {now}, and had {before}; "
                "what the old one held is gone with it, unless it was copied"
            )
        self.id = new
        return ""


def id_of(topic: TopicDescription) -> str:
    """Return the topic's id as Kafka's tools write it."""
    return str(topic.topic_id)


def own_properties(config: Config | None) -> Mapping[str, str]:
    """Return what makes the topic what it is and is not its cluster's default; not what would lose events."""
    return {
        name: text
        for name, entry in (config or {}).items()
        if (text := entry.value)
        and ConfigSource(entry.source) is ConfigSource.DYNAMIC_TOPIC_CONFIG
        and "throttled" not in name
        and not (name == CLEANUP and "compact" in text)
    }
