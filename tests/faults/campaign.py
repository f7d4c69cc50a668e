"""Faults dealt one after the other under load, and the verdict afterwards."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from random import Random

from tests.faults import (  # noqa: F401 - they fill the deck
    machine,
    networks,
    on_bridges,
    on_kafka,
    on_rabbitmq,
    on_redis,
    on_sqlite,
    overlaps,
    queues,
)
from tests.faults.autopsy import Mark, report
from tests.faults.cards import Card, deck
from tests.faults.identity import identity
from tests.faults.stage import Stage
from tests.faults.verdict import Verdict, compare
from tests.faults.workload import Workload, messages
from tests.support.servers.debian import until

RATE = 300.0
"""Messages a second."""
QUIET = 0.5
"""Seconds between two faults."""
LATE = 240.0
"""Seconds to wait, at most, while no more is stored: a dead-letter route that failed RabbitMQ tries after 180 s."""


def cards_for(sink: str, part: str = "", nodes: int = 1) -> list[Card]:
    """The faults that there are with this sink and so many nodes of RabbitMQ, or those whose name has the part."""
    return [card for card in deck if sink in card.sinks and part in card.name and card.nodes <= nodes]


def dealt(cards: list[Card], dice: Random, seconds: float) -> Iterator[Card]:
    """Cards at random, for so long."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        yield dice.choices(cards, [card.weight for card in cards])[0]


def named(cards: list[Card], names: list[str]) -> list[Card]:
    """Those of these names, in this order."""
    by_name = {card.name: card for card in cards}
    return [by_name[name] for name in names]


class Campaign:
    """One run."""

    def __init__(self, on: Stage, seed: int, workload: Workload | None = None) -> None:
        self.dice = Random(seed)
        self.played: Counter[str] = Counter()
        self.slowest = 0.0
        """Seconds until every replica consumed again, at most."""
        self._stage = on
        self._workload = on.workload = workload or Workload(on.broker_urls, messages(seed), RATE)
        self._parked: list[bytes] = []
        self._marks: list[Mark] = []
        self._identities: list[str] = []
        """The stream's identity, a line each time that it was another one."""

    def play(self, cards: Iterable[Card]) -> None:
        """Play them in turn; after each, every replica has to consume again. Raises TimeoutError if one does not."""
        self._workload.start()
        self._stage.await_consuming()
        begin = time.monotonic()
        self._identify(0.0, "the start")
        for card in cards:
            started = time.monotonic()
            load = self._workload
            self._marks.append(Mark(started - begin, card.name, len(load.obligations), len(load.parked)))
            card.play(self._stage, self.dice)
            ended = time.monotonic()
            try:
                took = self._stage.await_consuming()
            except (TimeoutError, AssertionError) as exc:
                exc.add_note(f"after {card.name!r}, played from {started - begin:.1f} to {ended - begin:.1f} s")
                raise
            self._identify(ended - begin, card.name)
            self.slowest = max(self.slowest, took)
            self.played[card.name] += 1
            print(
                f"{ended - begin:7.1f} s  {card.name}: {ended - started:.1f} s, consuming after {took:.1f} s",
                flush=True,
            )
            time.sleep(QUIET)

    def verdict(self, late: float = LATE) -> Verdict:
        """Stop publishing, wait until all is there or nothing more can come, and compare."""
        self._workload.finish()
        deadline, stored = time.monotonic() + late, 0
        said = ""
        while True:
            try:
                until(self._stage.all_is_done, 20, "all is stored", patience=1)
            except TimeoutError as exc:
                print(exc, flush=True)
            verdict = self._compare()
            if verdict.distinct > stored:  # a machine that is slow is late, and loses nothing
                deadline, stored = time.monotonic() + late, verdict.distinct
            if not verdict.good and str(verdict) != said:
                print(f"not yet: {verdict}; {self._stage.waiting()} messages waiting", flush=True)
                said = str(verdict)
            if verdict.good:
                return verdict
            if time.monotonic() > deadline:
                for line in self._autopsy(verdict):
                    print(line, flush=True)
                return verdict
            time.sleep(1)

    def holds(self, verdict: Verdict) -> bool:
        """Whether it is what the guarantees say: no record twice, where the stream drops duplicates."""
        return verdict.good and (self._stage.sink == "kafka" or not verdict.twice)

    def _identify(self, seconds: float, after: str) -> None:
        """Record which topic, of which cluster, it is now."""
        found = identity(self._stage.store)
        if found and not (self._identities and self._identities[-1].endswith(f": {found}")):
            self._identities.append(f"{seconds:7.1f} s  after {after!r}: {found}")
            print(self._identities[-1], flush=True)

    def _autopsy(self, verdict: Verdict) -> Iterator[str]:
        load, marks = self._workload, self._marks
        yield from self._identities
        yield from report("events", verdict.which, load.obligations, [mark.obligations for mark in marks], marks)
        yield from report("messages to be parked", verdict.which, load.parked, [mark.parked for mark in marks], marks)

    def _compare(self) -> Verdict:
        self._parked += self._stage.parked()
        witness = self._stage.witness
        witnessed = frozenset(witness.read) if witness else frozenset[bytes]()
        return compare(self._workload, self._stage.stored(), self._parked, self._stage.destroyed, witnessed)
