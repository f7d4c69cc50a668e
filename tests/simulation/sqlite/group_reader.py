"""Readers of a group on the file of the world, as a program has them, and a replay, said again until it is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from celery_event_bridge.contract import Reading, SinkUnavailable
from celery_event_bridge.reading.session import Events
from celery_event_bridge.replay.loop import Replay
from celery_event_bridge.replay.pace import Pace
from celery_event_bridge.replay.pick import Between
from celery_event_bridge.replay.sink_target import SinkTarget
from celery_event_sinks.sqlite.reader import SqliteReader
from celery_event_sinks.sqlite.settings import SqliteSettings
from tests.simulation.contract.stream import ModelSink
from tests.simulation.process import Process
from tests.simulation.promises import Broken
from tests.simulation.sqlite.group_judge import Incarnation

if TYPE_CHECKING:
    from tests.simulation.sqlite.reading_kind import ReadingKind

LEASE = 8.0
REPLAYS_LEASE, PATIENCE, SINKS_PATIENCE = 15.0, 10.0, 12.0
"""Seconds; `replay` itself waits 60 for a sink."""


class Restarted:
    """A program that is started again whenever it has ended, until it is done."""

    again = 1.0
    """Seconds after which what has ended is there again."""

    def __init__(self, kind: ReadingKind, name: str) -> None:
        self.name = name
        self.kind = kind
        self.done = False
        self.runs = 0
        self._ahead = 0.0
        self.stop: Callable[[], None] = lambda: None
        self._begin()

    def _begin(self) -> None:
        self.runs += 1
        self.kind.play.world.say(self.name, "starts")
        self.process = process = Process(self.kind.play.world, self.name, self._main)
        process.ahead = self._ahead
        process.ended = self._ended
        process.start()

    def _main(self) -> None:
        try:
            self.main()
        except SinkUnavailable as exc:
            self.kind.play.world.say(self.name, "fails:", type(exc).__name__)
        finally:
            self.stop = lambda: None

    def main(self) -> None:
        """Run it once."""
        raise NotImplementedError

    def _ended(self) -> None:
        if not self.done:
            self.kind.play.world.after(self.again, self._begin)

    def kill(self) -> None:
        """Kill it; it is started again."""
        if not self.process.dead:
            self.kind.play.world.say(self.name, "is killed")
            self.process.kill()
            self.kind.disk.close_all_of(self.process)
            self.stop = lambda: None
            self._ended()

    def set_clock(self, ahead: float) -> None:
        """Set its machine's clock."""
        self._ahead = self.process.ahead = ahead

    def tell_to_stop(self) -> None:
        """Ask it to stop, as SIGTERM does."""
        self.kind.play.world.say(self.name, "is told to stop")
        self.stop()

    def open(self, reading: Reading, **options: Any) -> Events:
        """Open the stream as `open_reader` does."""
        return Events(SqliteReader(SqliteSettings(path=self.kind.path), reading), reading, **options)


class GroupReader(Restarted):
    """Reads the group's events, takes its time, and commits now and then: at once, or soon, or after several."""

    slowness: ClassVar[tuple[float, float]] = (0.0001, 0.5)
    """Seconds that each tenth event takes, at least and at most, of which each program draws a number."""

    def main(self) -> None:
        kind, world = self.kind, self.kind.play.world
        judge = Incarnation(self.name, kind.group)
        # Some programs are slow, and each commits in its own way.
        busy, every, soon = world.between(*self.slowness), 1 + int(world.between(2, 40)), world.chance(0.4)
        reading = Reading("billing", read_back=500, lease=LEASE)
        with self.open(reading) as events:
            self.stop = events.stop
            count = 0
            for event in events:
                seq = kind.stored.get(event.id)
                judge.given(event.id, seq)
                kind.give(event.id, event.data)
                count += 1
                if world.chance(0.1) and not kind.is_calm:
                    self.process.wait(busy)
                if seq is None:
                    continue  # somebody has deleted it meanwhile
                if soon:
                    events.commit_soon(event, every=every)
                    continue
                if count % every == 0 and events.commit(event):
                    judge.committed(seq)


class NightlyReplay(Restarted):
    """`replay --group night --to` another stream: to the end that there is when it begins, then once more later."""

    again = 3.0

    def main(self) -> None:
        kind, world = self.kind, self.kind.play.world
        speed = world.between(60.0, 5000.0) if world.chance(0.5) and not kind.is_calm else None
        refused: dict[str, None] = kind.replay_refused
        sink = ModelSink(self.process, kind.archive)
        kind.replay_sinks.append(sink)
        target = SinkTarget(sink, "archive", 5.0, SINKS_PATIENCE, PATIENCE)
        try:
            end = max(kind.stored.values(), default=0)
            reading = Reading("night", ends=True, lease=REPLAYS_LEASE)
            with self.open(reading, give_up_after=PATIENCE) as events:
                run = Replay(
                    events,
                    target,
                    group=True,
                    wanted=lambda _: True,
                    between=Between(),
                    pace=Pace(speed),
                    refused=lambda line: refused.__setitem__(line.split()[1].rstrip(":"), None),
                    progress=lambda *_: None,
                    patience_to_stop=5.0,
                )
                self.stop = run.stop
                run.run()
        finally:
            target.close()
        figures = run.figures
        world.say(self.name, "says", figures.sent, "of", figures.read, figures.interrupted, figures.shared)
        if figures.interrupted or figures.shared:
            return
        if left := [one for one, seq in kind.stored.items() if seq <= end and kind.owes_a_copy(one)]:
            raise Broken(f"lost: {self.name} says that it is done, and {len(left)} events are not there, as {left[0]}")
        self.done = kind.is_complete and end == max(kind.stored.values(), default=0)
