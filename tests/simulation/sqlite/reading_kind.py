"""Kind `reading`: the world `sqlite` with readers of a group, and a replay into another stream, on the same file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from celery_event_bridge.reading.soon import Soon
from celery_event_sinks.sqlite import reader
from tests.simulation import faults
from tests.simulation.contract.stream import ModelSink, Stream
from tests.simulation.faults import Card, Cards
from tests.simulation.messages import identity
from tests.simulation.promises import Broken
from tests.simulation.sqlite.group_judge import Group
from tests.simulation.sqlite.group_reader import GroupReader, NightlyReplay, Restarted
from tests.simulation.sqlite.sqlite_calls import ERRORS
from tests.simulation.sqlite.sqlite_cards import OF_SQLITE
from tests.simulation.sqlite.sqlite_kind import SqliteKind
from tests.simulation.thread import Flag

if TYPE_CHECKING:
    from tests.simulation.play import Play

READERS = 2
POLL = 0.4
"""Seconds between two looks of a reader that waits: at the real ones' pace a run is twice as long for nothing."""
SELDOM = 30.0
"""Seconds between two replays when all faults are over."""
CAUGHT_UP_AFTER = 200.0
"""Seconds after everything within which readers and replay have come to the end."""


def _program(play: Play, card: Card) -> Restarted:
    kind: Any = play.kind
    programs: Sequence[Restarted] = kind.programs
    return programs[int(card.who * len(programs))]


def _kill(play: Play, card: Card) -> None:
    _program(play, card).kill()


def _stop(play: Play, card: Card) -> None:
    _program(play, card).tell_to_stop()


def _freeze(play: Play, card: Card) -> None:
    program, seconds = _program(play, card), card.seconds(0.05, 30.0)
    play.world.say(program.name, "is frozen for", seconds)
    program.process.freeze(seconds)


def _set_clock(play: Play, card: Card) -> None:
    _program(play, card).set_clock((card.much - 0.5) * 7200)


def _fail(play: Play, card: Card) -> None:
    kind: Any = play.kind
    number = _program(play, card).process.number
    part = card.who * len(kind.programs) % 1.0
    kind.disk.fail.setdefault(number, []).append((int(card.much * 60), int(part * len(ERRORS)), card.much * 7 % 1.0))


def _archive_away(play: Play, card: Card) -> None:
    kind: Any = play.kind
    kind.archive.outages += 1
    play.world.after(card.seconds(0.1, 20.0), kind.archive.end_outage)


def _archive_slow(play: Play, card: Card) -> None:
    kind: Any = play.kind
    faults.set_for(play, kind.archive, "slow", card.seconds(0.01, 3.0), 0.0, card.who * 10)


def _spoil(play: Play, card: Card) -> None:
    """Lose answers of the stream that the replay goes into, or store halves, or answer late."""
    kind: Any = play.kind
    if kind.replay_sinks:
        name = ("lose_answers", "halve", "fail_batches", "late")[int(card.who * 4)]
        sink = kind.replay_sinks[-1]
        setattr(sink, name, getattr(sink, name) + 1 + int(card.much * 3))


OF_READERS: Cards = {
    "reader killed": _kill,
    "reader stopped": _stop,
    "reader frozen": _freeze,
    "reader's clock set": _set_clock,
    "reader's SQLite call failed": _fail,
    "replay's stream away": _archive_away,
    "replay's stream slow": _archive_slow,
    "replay's answers spoiled": _spoil,
}


class ReadingKind(SqliteKind):
    """See the module's text."""

    cards: ClassVar[Cards] = {
        **OF_READERS,
        "replica killed": faults.OF_REPLICAS["replica killed"],
        "burst": faults.OF_REPLICAS["burst"],
        "nothing published": faults.OF_REPLICAS["nothing published"],
        "clock set": faults.OF_REPLICAS["clock set"],
        **OF_SQLITE,
    }
    rare: ClassVar[Collection[str]] = ("events deleted",)
    rates: ClassVar[tuple[float, float]] = (0.2, 8)

    def __init__(self, play: Play) -> None:
        super().__init__(play)
        self.archive = Stream(play.world, play.oracle.stored)
        self.replay_sinks: list[ModelSink] = []
        self.replay_refused: dict[str, None] = {}
        self.is_calm = False
        """True once all faults are over."""
        self.is_complete = False
        """True once all is in the file that will be."""
        self._given: dict[str, None] = {}
        self.group = Group("billing", lambda event: event not in self._given)
        self._night = Group("night", self.owes_a_copy)
        self.programs: list[Restarted] = [GroupReader(self, f"reader {number}") for number in range(READERS)]
        self.replay = NightlyReplay(self, "replay")
        self.programs.append(self.replay)

    @staticmethod
    def in_place(monotonic: Callable[[], float]) -> list[tuple[object, str, object]]:
        return [
            *SqliteKind.in_place(monotonic),
            (threading, "Event", Flag),
            (Soon.__init__, "__defaults__", (monotonic,)),
            (reader, "POLL", POLL),
        ]

    def give(self, event: str, data: bytes) -> None:
        """Take note that a reader was given an event. Raises Broken where it was changed."""
        if identity(data) != event:
            raise Broken(f"changed: a reader was given {event} with other bytes")
        self._given[event] = None

    def owes_a_copy(self, event: str) -> bool:
        """Return whether the replay has to bring an event still."""
        return not self.archive.counts[event] and event not in self.replay_refused

    def _committed(self, connection: sqlite3.Connection) -> None:
        super()._committed(connection)
        for group in (self.group, self._night):
            group.look(connection, self.stored)

    def heal(self) -> None:
        super().heal()
        self.is_calm = True
        self.archive.outages, self.archive.slow = 0, 0.0
        self.replay.again = SELDOM
        for sink in self.replay_sinks:
            sink.heal()
        for program in self.programs:
            program.process.thaw()

    def finish(self) -> None:
        """Look whether readers and replay have come to the end."""
        world = self.play.world
        self.is_complete = True
        until = world.now + CAUGHT_UP_AFTER
        while world.now < until and self._left():
            world.run(world.now + 5.0)
        if left := self._left():
            raise Broken(f"held up: {left}")

    def _left(self) -> str:
        waiting = [event for event in self.stored if event not in self._given]
        if waiting:
            return f"{len(waiting)} events were given to no reader, as {waiting[0]} at {self.stored[waiting[0]]}"
        return "" if self.replay.done else f"the replay was begun {self.replay.runs} times and is not done"

    def undo(self) -> None:
        for program in self.programs:
            program.done = True
            program.process.kill()
        super().undo()
