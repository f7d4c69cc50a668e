"""Times that a topic takes for its records, and keeps: a record's timestamp is ours to choose.

Kafka refuses a record whose timestamp is too far from its own clock, and removes records by their timestamps. An event
may be hours late, by overflow. So the record gets the event's own time where the topic takes that and keeps it for long
enough, else the time of now; the event's own is then in the header `ce_time`, and in its body always.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

AHEAD = 5 * 60 * 1000
"""Milliseconds that an event's time may be ahead of ours at most; Kafka 4 refuses more than an hour."""
UNKNOWN = 60 * 60 * 1000
"""Milliseconds that it may be behind where we may not see the topic's properties."""
SPARE = 6 * 60 * 60 * 1000
"""Milliseconds of a long limit that are left to spare; of a short one it is half."""
FOR_EVER = 2**63 - 1
BEFORE, AFTER = "message.timestamp.before.max.ms", "message.timestamp.after.max.ms"
DIFFERENCE = "message.timestamp.difference.max.ms"
"""Both of these, in Kafka before 4."""
TYPE, RETENTION, CLEANUP = "message.timestamp.type", "retention.ms", "cleanup.policy"


class Times(msgspec.Struct, frozen=True):
    """Milliseconds by which a record's timestamp may differ from now."""

    behind: int = UNKNOWN
    ahead: int = AHEAD


def times(configs: Iterable[Mapping[str, str] | None]) -> Times:
    """Return what all of these topics take and keep, with something to spare: records wait for Kafka and for readers,
    and clocks differ.
    """
    behind, ahead = FOR_EVER, AHEAD
    for config in configs:
        if config is None:
            behind = min(behind, UNKNOWN)
        elif config.get(TYPE) != "LogAppendTime":  # which replaces whatever we choose
            difference = number(config, DIFFERENCE)
            kept = number(config, RETENTION) if removes(config) else FOR_EVER
            limit = min(number(config, BEFORE), difference, kept)
            behind = min(behind, limit - min(limit // 2, SPARE))
            ahead = min(ahead, number(config, AFTER) // 2, difference // 2)
    return Times(behind, ahead)


def number(config: Mapping[str, str], name: str) -> int:
    """Return a property; for ever, where it is not there or negative."""
    value = int(config.get(name, FOR_EVER))
    return FOR_EVER if value < 0 else value


def removes(config: Mapping[str, str]) -> bool:
    """Return whether the topic removes records by their age."""
    return "delete" in config.get(CLEANUP, "delete")
