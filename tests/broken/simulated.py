"""Guards that the simulation finds when they are broken, and after how many seeds."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess

from tests.broken.mutations import AUDIT, BROKER_REDIS, FORWARD, KAFKA, RABBITMQ, REDIS, SQLITE, Mutation
from tests.simulation.kinds import KINDS

ATTEMPTS = 5
"""Times that each is looked for, from another seed each time: the median counts."""
SECONDS = 20
"""Real seconds of an attempt."""
WORLDS: Mapping[str, Sequence[str]] = {
    AUDIT: ("account",),
    FORWARD: ("contract",),
    RABBITMQ: ("wire", "operators"),
    BROKER_REDIS: ("pubsub",),
    REDIS: ("redis",),
    KAFKA: ("kafka",),
    SQLITE: ("sqlite", "reading"),
}
"""By the folder of what is broken, the kinds of world in which it runs."""
FOUND = re.compile(r"^seed (\d+) in the world \w+: (.*)", re.MULTILINE)

Run = Callable[..., CompletedProcess[str]]


def worlds(mutation: Mutation) -> list[str]:
    """Return the kinds of world that run what a mutation breaks."""
    folders = {str(Path(change.file).parent) for change in mutation.changes}
    return [world for folder in folders for world in WORLDS.get(folder, ()) if world in KINDS]


def seeds_until_found(copy: Path, run: Run, world: str) -> tuple[float | None, str]:
    """Return the median number of seeds until it is found, None where most attempts do not, and the verdict."""
    counts: list[float] = []
    verdict = ""
    for attempt in range(ATTEMPTS):
        first = 1000 * (attempt + 1)
        done = run(
            copy, "tests.simulation", "--seconds", str(SECONDS), "--seed", str(first), "--world", world, "--as-found"
        )
        if found := FOUND.search(done.stdout):
            counts.append(int(found[1]) - first + 1)
            verdict = verdict or found[2]
        else:
            counts.append(float("inf"))
        if attempt == 1 and counts == [float("inf")] * 2:
            return None, "not found in two attempts"
    median = statistics.median(counts)
    return (None, "not found in most attempts") if median == float("inf") else (median, verdict)
