"""Hours of traffic with faults in it, and the memory of each process: `python -m tests.faults.soak --seconds 1800`.

The faults are those that leave every process alive, so that its memory at the end can be compared with that after five
minutes. Exits 1 if an event was lost, or if a bridge has grown by more than 5 %.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from tests.faults.campaign import Campaign, cards_for
from tests.faults.cards import Card
from tests.faults.stage import SETTINGS, Stage, stage
from tests.faults.workload import Workload, singles

FIRST = "stream away for longer than messages live"
"""What fills a bridge's hands as no other fault does: the memory for that is taken before it is first looked at."""
FIRST_TIMES = 2
"""By smaps of three bridges, the second time took one more of Python's arenas, 1 MiB; those after it took none."""
LEAVE_ALL_ALIVE = (
    "bridge frozen",
    "all bridges frozen",
    "connections closed",
    "RabbitMQ stopped and started",
    "memory alarm",
    "disk alarm",
    "rights withdrawn",
    "network cut",
    "network refuses",
    "connections half open",
    "network stalls",
    "replies dropped",
    "bytes trickle",
    "somebody else consumes exclusively",
    "Kafka frozen",
    "Redis frozen",
    "Redis full",
    "Redis a replica",
    "connections to Redis killed",
    "SQLite locked",
    FIRST,
)
SAMPLE = 5.0
"""Seconds between two looks at the memory."""
SETTLED = 300.0
"""Seconds after which a process should have all the memory that it will ever want."""
SPAN = 60.0
"""Seconds over which a median is taken, at both ends."""
GROWTH = 1.05


class Memory(threading.Thread):
    """What each bridge holds, every few seconds."""

    def __init__(self, on: Stage) -> None:
        super().__init__(daemon=True)
        self._stage = on
        self._begin = time.monotonic()
        self._stopping = threading.Event()
        self.samples: list[tuple[float, list[int]]] = []
        """Seconds since the start, and bytes of each bridge."""

    def run(self) -> None:
        while not self._stopping.wait(SAMPLE):
            sizes = [bridge.rss_bytes() for bridge in self._stage.replicas]
            self.samples.append((time.monotonic() - self._begin, sizes))

    def finish(self) -> None:
        """Stop looking."""
        self._stopping.set()
        self.join(60)

    def around(self, seconds: float) -> list[float]:
        """The median of each bridge, in MiB, over the time up to then."""
        rows = [sizes for at, sizes in self.samples if seconds - SPAN <= at <= seconds]
        return [round(statistics.median(column) / 2**20, 2) for column in zip(*rows, strict=True)]


def every(interval: float, seconds: float, cards: Iterator[Card]) -> Iterator[Card]:
    """A card every so many seconds, once every bridge has seen what the messages are like."""
    begin = due = time.monotonic()
    while (due := max(due + interval, time.monotonic())) - begin <= seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        yield next(cards)


def in_rounds(cards: Sequence[Card], dice: Random) -> Iterator[Card]:
    """Each once, in any order, before any comes again; before that FIRST, a few times."""
    yield from [card for card in cards if card.name == FIRST] * FIRST_TIMES
    while True:
        yield from dice.sample(cards, len(cards))


def main() -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description="Traffic and faults for long.")
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--rate", type=float, default=3000, help="messages a second")
    parser.add_argument("--every", type=float, default=20, help="seconds from one fault to the next")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sink", choices=["sqlite", "redis", "kafka"], default="redis")
    parser.add_argument("--trace", type=Path, help="a file for the memory of each bridge: seconds and bytes, with tabs")
    options = parser.parse_args()
    cards = [card for card in cards_for(options.sink) if card.name in LEAVE_ALL_ALIVE]
    folder = Path(tempfile.mkdtemp(prefix="celery-event-bridge-soak-"))
    print(f"{options}, {len(cards)} kinds of fault, logs in {folder}", flush=True)
    settings = {name: text for name, text in SETTINGS.items() if name != "BRIDGE_PREFETCH"}
    with stage(options.sink, folder, settings=settings) as on:
        workload = Workload(on.broker_urls, singles(options.seed), options.rate)
        campaign = Campaign(on, options.seed, workload)
        memory = Memory(on)
        memory.start()
        campaign.play(every(options.every, options.seconds, in_rounds(cards, campaign.dice)))
        end = memory.samples[-1][0]
        memory.finish()
        confirmed = workload.confirmed
        verdict = campaign.verdict()
        good = campaign.holds(verdict)
    early, late = memory.around(min(SETTLED, end / 2)), memory.around(end)
    if options.trace:
        lines = ["\t".join(map(str, [round(at, 1), *sizes])) for at, sizes in memory.samples]
        options.trace.write_text("\n".join(lines) + "\n")
    print(
        f"{end:.0f} s, {campaign.played.total()} faults, {confirmed / end:.0f} messages/s confirmed, "
        f"consuming again after {campaign.slowest:.1f} s at most, "
        f"MiB of each bridge after {min(SETTLED, end / 2):.0f} s {early}, at the end {late}; {verdict}"
    )
    good &= all(after <= before * GROWTH for before, after in zip(early, late, strict=True))
    if good:
        shutil.rmtree(folder, ignore_errors=True)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
