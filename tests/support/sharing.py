"""Sharing out of the tests among processes: a file to each, the longest first, and all of Kafka's to two of them.

A node of Kafka's takes 20 s of a core to start and some percent of it from then on, so that two have to be enough for
a run. The files that take longest begin first; left to the end, they wait for each other's processors.
"""

from __future__ import annotations

from pathlib import PurePath

import pytest
from xdist.scheduler import LoadFileScheduling

LONG = ("queues_moved", "audit_live", "foreign_hands", "others_on_rabbitmq", "audit", "faults", "deadlines")
LONG += ("policies", "starts", "demo", "reader_groups", "terminals", "replay", "reader")
LONG += (
    "differing_queues",
    "benchmarks",
    "sqlite_shared",
    "sqlite_left",
    "stop",
    "redis_others",
    "deleted_queues",
    "replay_targets",
    "starts_refused",
)
"""Files of integration tests that take longest, in this order: those of more than 25 s."""
KAFKAS_FILES = "tests/integration/kafka/"
EXAMPLES = "tests/integration/examples/"
"""Files that share one run of real workers."""


def of_kafka(nodeid: str) -> bool:
    """Return whether a test has Kafka in its name, its file's or its parameters'."""
    return nodeid.startswith("tests/integration/") and "kafka" in nodeid.lower()


def turn(nodeid: str) -> int:
    """Return when a test has its turn: the lower the sooner."""
    if of_kafka(nodeid):
        return 0
    file = PurePath(nodeid.partition("::")[0])
    stem = file.stem.removeprefix("test_") if nodeid.startswith("tests/integration/") else ""
    return 1 + LONG.index(stem) if stem in LONG else 1 + len(LONG)


class Sharing(LoadFileScheduling):  # type: ignore[misc]
    """Part of a run for each process: what is to be run by one of them, in the order that the collection has."""

    def __init__(self, config: pytest.Config, log: object) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        if not of_kafka(nodeid):
            return EXAMPLES if nodeid.startswith(EXAMPLES) else str(super()._split_scope(nodeid))
        return "kafka" if nodeid.startswith(KAFKAS_FILES) else "kafka elsewhere"
