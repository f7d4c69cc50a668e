"""State of the cluster, as it has answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from confluent_kafka.admin import ConfigEntry, TopicDescription

Config = Mapping[str, ConfigEntry]


class State(msgspec.Struct, frozen=True, eq=False):
    """Answers of the cluster, all asked for at the same time."""

    topics: Mapping[str, TopicDescription | None]
    """None for one that does not exist."""
    denied: Mapping[str, str]
    """Reason by topic that may not be asked for, of several."""
    configs: Mapping[str, Config]
    """The properties of each topic; nothing where we may not ask."""
    cluster: str
    brokers: Sequence[int]
    """The ids of those that are there now."""

    def values(self, name: str) -> Mapping[str, str] | None:
        """Return the properties of a topic as text; None where we may not ask."""
        config = self.configs.get(name)
        return None if config is None else {key: entry.value for key, entry in config.items() if entry.value}
