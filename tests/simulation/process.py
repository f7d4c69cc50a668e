"""Process of the world: it runs until it waits, and may be frozen or killed while it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from greenlet import GreenletExit, greenlet

from tests.simulation.scheduler import EPOCH, World

if TYPE_CHECKING:
    from tests.simulation.network import FakeSocket


class Process:
    """A greenlet with a clock of its own, which is what `celery_event_bridge.contract.clock.Clock` asks for."""

    def __init__(self, world: World, name: str, main: Callable[[], object]) -> None:
        self.world = world
        self.name = name
        self.number = world.next_process()
        """Its process id."""
        self.owner = self
        """Process that it is a thread of, or itself."""
        self.threads: list[Process] = []
        self.sockets: list[FakeSocket] = []
        """Open connections, which the kernel closes when it is killed."""
        self.dead = False
        """True once it was killed or has ended: what it still does, as it unwinds, changes nothing."""
        self.ahead = 0.0
        """Seconds by which its wall clock is wrong."""
        self.frozen_until = 0.0
        self.ended: Callable[[], None] = lambda: None
        """Called when it ends by itself."""
        self._waits = 0
        self._waiting = False
        self._greenlet = greenlet(lambda: self._run(main), parent=world.hub)

    def start(self) -> None:
        """Begin, as soon as the scheduler turns."""
        self.world.after(0.0, self._resume, self._waits)

    def close_sockets(self) -> None:
        """Close what it had open, as the kernel does."""
        for sock in [*self.sockets]:
            sock.close()

    def _run(self, main: Callable[[], object]) -> None:
        main()
        self.dead = True
        self.close_sockets()
        if self.owner is not self:
            self.owner.threads.remove(self)
            return
        for thread in self.threads:
            self.world.after(0.0, thread.kill)
        self.world.say(self.name, "ends")
        self.ended()

    # Its clock ------------------------------------------------------------------------------------------------------

    def monotonic(self) -> float:
        """Return the seconds since the world began: a process that was frozen sees that time has passed."""
        return self.world.now

    def time(self) -> float:
        """Return the wall-clock time, as wrong as it is here."""
        return EPOCH + self.world.now + self.owner.ahead

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
        self.wait(seconds)

    def wait(self, seconds: float) -> None:
        """Let the others go on for so long, or until `wake`."""
        if self.dead:
            raise GreenletExit
        self._waits += 1
        self._waiting = True
        self.world.after(seconds, self._resume, self._waits)
        self.world.current = None
        self.world.hub.switch()
        self._waiting = False

    def wake(self) -> None:
        """End its wait now."""
        if self._waiting:
            self._waits += 1
            self.world.after(0.0, self._resume, self._waits)

    # What is done to it ---------------------------------------------------------------------------------------------

    def freeze(self, seconds: float) -> None:
        """Let it do nothing for so long, as SIGSTOP does: its connections stay open."""
        self.frozen_until = max(self.frozen_until, self.world.now + seconds)

    def thaw(self) -> None:
        """Let it go on."""
        if self.world.now < self.frozen_until:
            self.frozen_until = 0.0
            self.world.after(0.0, self._resume, self._waits)

    def kill(self) -> None:
        """End it where it waits, as SIGKILL does."""
        if not self.dead:
            self.dead = True
            for thread in self.threads:
                thread.kill()
            self.world.current = self
            self._greenlet.throw(GreenletExit)
            self.world.current = None
            self.close_sockets()

    def _resume(self, number: int) -> None:
        if number != self._waits or self.dead:
            return
        if self.world.now < self.owner.frozen_until:
            self.world.after(self.owner.frozen_until - self.world.now, self._resume, number)
            return
        self.world.current = self
        self._greenlet.switch()
        self.world.current = None
