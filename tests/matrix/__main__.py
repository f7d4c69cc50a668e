"""`python -m tests.matrix [--only PART]`: prints the table of docs/reference/compatibility.md. Exits 1 if one fails."""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.faults.campaign import Campaign, cards_for, named
from tests.faults.stage import Servers, Stage, stage
from tests.matrix.libraries import with_library
from tests.matrix.releases_of_celery import on_redis, with_workers
from tests.support.servers.debian import program
from tests.support.servers.newer import redis_command, valkey_command
from tests.support.servers.redis import version_of as redis_version

SEED = 1
BROKER_FAULTS = (
    "bridge killed",
    "connections closed",
    "RabbitMQ killed",
    "RabbitMQ stopped and started",
    "rights withdrawn",
    "memory alarm",
    "queue deleted",
    "somebody else consumes exclusively",
    "stream away for longer than messages live",
    "messages come back thirty times",
)
REDIS_FAULTS = (
    "bridge killed",
    "Redis killed",
    "Redis frozen",
    "Redis full",
    "Redis a replica",
    "connections to Redis killed",
    "replies dropped",
    "bridge killed while the stream is away",
)
KAFKA_FAULTS = (
    "bridge killed",
    "Kafka's leader killed",
    "too few replicas in sync",
    "topic deleted",
    "messages too large",
    "right to write withdrawn",
    "a producer's fatal error",
)


class Row(NamedTuple):
    """One end in one version."""

    what: str
    try_it: Callable[[Path], tuple[str, str, bool]]
    """Its version as it says itself, what was tried and found, and whether that is well."""


def debian_redis() -> Sequence[str]:
    """The machine's own."""
    return [program("redis-server", "redis-server")]


OF_AMQP = ("tests/unit/brokers/rabbitmq/test_bulk.py", "tests/unit/brokers/rabbitmq/test_frames.py")
OF_REDIS = ("tests/unit/sinks/redis/test_redis_replies.py",)

ROWS = (
    Row("py-amqp", partial(with_library, "amqp", "5.3.1", OF_AMQP)),
    Row("py-amqp", partial(with_library, "amqp", "5.4.2", OF_AMQP)),
    Row("redis-py", partial(with_library, "redis", "6.0.0", OF_REDIS)),
    Row("redis-py", partial(with_library, "redis", "8.1.0", OF_REDIS)),
    Row("Celery", partial(with_workers, "5.2.7")),
    Row("Celery", partial(with_workers, "5.7.0")),
    *(
        Row("Celery", partial(with_workers, version, broker=partial(on_redis, command)))
        for command in (debian_redis, redis_command, valkey_command)
        for version in ("5.2.7", "5.7.0")
    ),
    Row("RabbitMQ", lambda folder: under_faults("sqlite", Servers(), BROKER_FAULTS, folder)),
    Row("RabbitMQ", lambda folder: under_faults("sqlite", Servers(rabbitmq="trixie"), BROKER_FAULTS, folder)),
    Row("RabbitMQ", lambda folder: under_faults("sqlite", Servers(rabbitmq="forky"), BROKER_FAULTS, folder)),
    Row("Redis", lambda folder: under_faults("redis", Servers(redis=debian_redis), REDIS_FAULTS, folder)),
    Row("Redis", lambda folder: under_faults("redis", Servers(redis=redis_command), REDIS_FAULTS, folder)),
    Row("Valkey", lambda folder: under_faults("redis", Servers(redis=valkey_command), REDIS_FAULTS, folder)),
    Row("Kafka", lambda folder: under_faults("kafka", Servers(kafka="4.0.0"), KAFKA_FAULTS, folder)),
    Row("Kafka", lambda folder: under_faults("kafka", Servers(kafka="4.1.0"), KAFKA_FAULTS, folder)),
    Row("Kafka", lambda folder: under_faults("kafka", Servers(kafka="4.4.0"), KAFKA_FAULTS, folder)),
)


def under_faults(sink: str, servers: Servers, cards: Sequence[str], folder: Path) -> tuple[str, str, bool]:
    """Three bridges between these servers, and faults; see tests/faults."""
    with stage(sink, folder, servers=servers) as on:
        version = version_of(on)
        campaign = Campaign(on, SEED)
        campaign.play(named(cards_for(sink), [*cards]))
        verdict = campaign.verdict()
    good = verdict.good and (verdict.twice == 0 or servers.redis is not redis_command or sink == "kafka")
    found = f"{campaign.played.total()} faults, {verdict.obliged:,} events: {verdict.lost} lost, {verdict.twice} twice"
    return version, found, good


def version_of(on: Stage) -> str:
    """What was put to the test: the stream if it is a server, else RabbitMQ."""
    if on.sink == "kafka":
        return on.servers.kafka
    if on.sink == "sqlite":
        return on.rabbitmq.ctl("version").strip()
    return redis_version(on.store.server).partition(" ")[2]


def tried(rows: Sequence[Row]) -> Iterator[tuple[str, bool]]:
    """A line of the table for each."""
    for row in rows:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="celery-event-bridge-matrix-")))
            try:
                version, found, good = row.try_it(folder)
            except Exception:  # noqa: BLE001 - the other rows are tried all the same
                traceback.print_exc()
                version, found, good = "?", "could not be tried", False
        yield f"| {row.what} {version} | {found} |", good


def main() -> int:
    """Try everything; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description="Try every version of every end.")
    parser.add_argument("--only", default="", help="a part of what is tried: Redis, say")
    options = parser.parse_args()
    lines, all_good = ["| with | tried |", "|---|---|"], True
    for line, good in tried([row for row in ROWS if options.only in row.what]):
        lines.append(line)
        all_good &= good
        print(line, "" if good else "FAILED", file=sys.stderr, flush=True)
    print("\n".join(lines))
    return int(not all_good)


if __name__ == "__main__":
    sys.exit(main())
