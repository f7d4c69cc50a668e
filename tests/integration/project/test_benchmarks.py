"""The benchmarks run: every contender gets its backlog through, whatever that takes. No figure is judged here."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks import readers
from benchmarks.plan import SHORT
from benchmarks.report import write
from benchmarks.run import measure
from benchmarks.stage import Stage
from tests.support.servers import Kafka, RabbitMQ, Redis


@pytest.mark.slow
def test_the_benchmarks_run(
    rabbitmq_server: RabbitMQ, redis_server: Redis, kafka_server: Kafka, tmp_path: Path
) -> None:
    """Each contender that can be had takes every event, has a row on the page, and there is a picture of each race."""
    with Stage(rabbitmq_server, redis_server, kafka_server) as stage:
        results = measure(stage, SHORT, 1, tmp_path / "results.json")
    assert [] == results["failed"]
    # Only mq-bridge may be missing, where there is no package of it.
    assert [] == [line for line in results["missing"] if "mq-bridge" not in line]
    for item, race in zip(SHORT, results["races"], strict=True):
        wanted = Counter(one.name for one in item.contenders)
        missing = Counter(line.split(": ")[1] for line in results["missing"] if line.startswith(f"{item.key}: "))
        assert wanted - missing == Counter(one["contender"] for one in race["found"])
        assert [] == [one for one in race["found"] if one.get("stored") != one.get("expected")]
    write(results, tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert [] == [item.title for item in SHORT if f"## {item.title}" not in page]
    assert {f"{item.key}.svg" for item in SHORT} == {file.name for file in (tmp_path / "benchmarks").glob("*.svg")}


def test_the_readers_benchmark_runs(redis_server: Redis, kafka_server: Kafka) -> None:
    """Each kind of reader, for itself and in a group, reads all that it is given, chunk by chunk."""
    with Stage(None, redis_server, kafka_server) as stage:
        results = readers.measure(stage, readers.KINDS, 2000, 1000)
    assert len(results) == 2 * len(readers.KINDS)
    assert [[900, 900]] * len(results) == [[chunk["events"] for chunk in one["chunks"]] for one in results]
    assert len(readers.summary(results).splitlines()) == len(results) + 2
