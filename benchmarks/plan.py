"""What is measured: which workload, by whom, in which size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import workloads
from benchmarks.contenders import Contender, bare, event_receiver, kombu_consumer, mq_bridge, ours
from benchmarks.workloads import Workload


class Race(NamedTuple):
    """One workload for several contenders, in turn."""

    key: str
    workload: Workload
    contenders: Sequence[Contender]


INTO_REDIS, INTO_KAFKA, INTO_SQLITE = ours("redis"), ours("kafka"), ours("sqlite")
BRIDGES = (INTO_REDIS, mq_bridge("redis"), INTO_KAFKA, mq_bridge("kafka"), INTO_SQLITE)
ALL = (*BRIDGES, event_receiver, kombu_consumer, bare)

RACES = (
    Race("singles", Workload("Single events of 350 B", 50_000, workloads.singles), ALL),
    Race("lists", Workload("Lists of 24 events of 350 B", 8_000, workloads.lists), ALL),
    Race("mixed", Workload("Messages of real workers", 20_000, workloads.mixed), (*BRIDGES, event_receiver)),
    Race("large", Workload("Events of 20 kB", 4_000, workloads.large), (*BRIDGES, event_receiver)),
    Race(
        "tls",
        Workload("Single events of 350 B, TLS to RabbitMQ", 20_000, workloads.singles, tls=True),
        (INTO_REDIS, mq_bridge("redis"), event_receiver, kombu_consumer),
    ),
    Race(
        "replicas",
        Workload("Single events of 350 B, one to four replicas", 50_000, workloads.singles),
        [ours("redis", replicas) for replicas in (1, 2, 3, 4)],
    ),
)


def chosen(only: str, part: float) -> list[Race]:
    """The races whose key, or whose contenders with a name, contain one of the words; that part of each backlog."""
    words = [word.strip().lower() for word in only.split(",") if word.strip()]
    races = []
    for race in RACES:
        found = race.contenders
        if words and not any(word in race.key for word in words):
            found = [one for one in found if any(word in one.name.lower() for word in words)]
        if found:
            smaller = race.workload._replace(messages=max(200, round(race.workload.messages * part)))
            races.append(Race(race.key, smaller, found))
    return races
