"""Person at a console: says a command, is killed at any step of it, and says the same again until it is done.

`rejected requeue` and `queues migrate` are the real ones, as the command line has them, on a connection of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.broker_plugin import QueuesInUse
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.scheduler import World

AGAIN = 1.0
"""Seconds after which a command that has failed, or was killed, is said again."""


class Operator:
    """One command, from when it is said first until it has ended with success."""

    def __init__(self, world: World, name: str, command: Callable[[Operator], None], kills: list[tuple[int, float]]):
        """Begin. `kills` says for each time that it is said at which of its lines, and how long after, it is killed."""
        self.name = name
        self.done = False
        self.is_patient = False
        """True once all faults are over: it gives up on nothing any more."""
        self.runs = 0
        self._world = world
        self._command = command
        self._kills = kills
        self._begin()

    def _begin(self) -> None:
        self.runs += 1
        self._lines = 0
        self._kill_at = self._kills.pop(0) if self._kills else (-1, 0.0)
        self._world.say(self.name, "is said, time", self.runs)
        self._process = process = Process(self._world, self.name, self._main)
        process.ended = self._ended
        process.start()
        self._step()

    def _step(self) -> None:
        line, seconds = self._kill_at
        if line == self._lines:
            self._world.after(seconds, self._kill, self._process)
        self._lines += 1

    def tell(self, text: str) -> None:
        """Take a line that the command says."""
        self._world.say(self.name, "says:", text)
        self._step()

    def kill(self) -> None:
        """Kill it where it is."""
        self._kill(self._process)

    def _kill(self, process: Process) -> None:
        if not process.dead:
            self._world.say(self.name, "is killed")
            process.kill()
            self._world.after(AGAIN, self._begin)

    def heal(self) -> None:
        """Let it be killed no more before its last steps, and wait."""
        self.is_patient = True
        self._kills = [(line, seconds) for line, seconds in self._kills if line]

    def _main(self) -> None:
        try:
            self._command(self)
        except (BrokerUnavailable, QueuesInUse) as exc:
            self._world.say(self.name, "fails:", exc)
        else:
            self.done = True

    def _ended(self) -> None:
        if not self.done:
            self._world.after(AGAIN, self._begin)
