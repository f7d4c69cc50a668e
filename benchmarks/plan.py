"""What is measured: which workload, by whom, in which size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import workloads
from benchmarks.contenders import Contender, bare, event_receiver, kombu_consumer, mq_bridge, ours
from benchmarks.workloads import Workload


class Race(NamedTuple):
    """One backlog for several contenders, in turn."""

    key: str
    workload: Workload
    contenders: Sequence[Contender]

    @property
    def title(self) -> str:
        return self.workload.title


class Steady(NamedTuple):
    """One load for several contenders, in turn."""

    key: str
    title: str
    rate: int
    """Events a second."""
    seconds: float
    contenders: Sequence[Contender]


INTO_REDIS, INTO_KAFKA, INTO_SQLITE = ours("redis"), ours("kafka"), ours("sqlite")
STREAMS = (INTO_REDIS, mq_bridge("redis"), INTO_KAFKA, mq_bridge("kafka"))
BRIDGES = (*STREAMS, INTO_SQLITE)
TUNED = (mq_bridge("redis", tuned=True), mq_bridge("kafka", tuned=True))
ALL = (*BRIDGES, *TUNED, event_receiver, kombu_consumer, bare)

# Sizes that take each contender a second or more, and all of it together less than half an hour on two cores.
WHOLE: Sequence[Race | Steady] = (
    Race("singles", Workload("Single events of 350 B", 50_000, workloads.singles), ALL),
    Race("lists", Workload("Lists of 24 events of 350 B", 8_000, workloads.lists), ALL),
    Race("mixed", Workload("Messages of real workers", 30_000, workloads.mixed), (*BRIDGES, event_receiver)),
    Race("large", Workload("Events of 20 kB", 5_000, workloads.large), (*BRIDGES, event_receiver)),
    Race(
        "tls",
        Workload("Single events of 350 B, TLS to RabbitMQ", 30_000, workloads.singles, tls=True),
        (INTO_REDIS, mq_bridge("redis"), event_receiver, kombu_consumer),
    ),
    Race(
        "replicas",
        Workload("Single events of 350 B, one to four replicas", 50_000, workloads.singles),
        [ours("redis", replicas) for replicas in (1, 2, 3, 4)],
    ),
    Race(
        "pair",
        Workload("Lists of 24 events of 350 B, one and two replicas", 8_000, workloads.lists),
        [ours("redis"), ours("redis", 2), ours("kafka"), ours("kafka", 2)],
    ),
    Steady("latency", "Latency at 3,000 events/s", 3000, 8.0, STREAMS),
)
SHORT: Sequence[Race | Steady] = (
    Race("singles", Workload("Single events of 350 B", 1000, workloads.singles), ALL),
    Race("mixed", Workload("Messages of real workers", 500, workloads.mixed), (INTO_SQLITE, event_receiver)),
    Steady("latency", "Latency at 500 events/s", 500, 2.0, STREAMS[:2]),
)
"""Whether all of it runs; the figures mean nothing."""


def chosen(plan: Sequence[Race | Steady], only: str) -> list[Race | Steady]:
    """What has one of the words, separated by commas, in its key, or else in its contenders' names."""
    words = [word.strip().lower() for word in only.split(",") if word.strip()]
    found = []
    for item in plan:
        if words and not any(word in item.key for word in words):
            kept = [one for one in item.contenders if any(word in one.name.lower() for word in words)]
            item = item._replace(contenders=kept)  # noqa: PLW2901 - the same, smaller
        if item.contenders:
            found.append(item)
    return found
