"""Topics that are made, in words."""

from __future__ import annotations

from collections.abc import Mapping

from celery_event_bridge.contract.values import counted


def of_partitions(count: int) -> str:
    """Return what follows from one partition alone, or from a number of them that nobody knows (-1)."""
    if count >= 2:
        return ""
    more = "BRIDGE_KAFKA_PARTITIONS says how many a new topic has"
    if count < 0:
        return f"; as many readers of a group can share the work as it has partitions: {more}"
    return (
        f"; with one partition, one reader of a group has all the work: {more}, and kafka-topics.sh --alter "
        "--partitions adds some"
    )


def described(partitions: int, replicas: int, config: Mapping[str, str] | None) -> str:
    """Return how it is made; -1 for a number that nobody knows."""
    figures = ((partitions, "partition"), (replicas, "replica"))
    asked = ", ".join(counted(count, what) for count, what in figures if count > 0)
    properties = "".join(f", {key}={text}" for key, text in sorted((config or {}).items()))
    return (asked or "as the cluster makes topics by itself") + properties
