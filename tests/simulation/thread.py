"""Thread of a process of the world: a greenlet that has its process's clock, and ends with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from tests.simulation.process import Process
from tests.simulation.scheduler import World

LOOK = 0.01
"""Seconds between two looks at a thread that is waited for."""


class Thread:
    """Stands in for `threading.Thread`. An error in it ends the play."""

    world: ClassVar[World]

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] = lambda: None,
        name: str = "",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        self.name = name
        self.daemon = daemon
        current = self.world.current
        assert current is not None, "only a process has threads"
        self._process = Process(self.world, current.owner.name, lambda: target(*args, **(kwargs or {})))
        self._process.owner = current.owner
        self._started = False

    def start(self) -> None:
        """Begin."""
        self._started = True
        self._process.owner.threads.append(self._process)
        self._process.start()

    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self._started and not self._process.dead

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended."""
        until = None if timeout is None else self.world.now + timeout
        while self.is_alive() and (until is None or self.world.now < until):
            assert self.world.current is not None
            self.world.current.wait(LOOK)


class Flag:
    """Stands in for `threading.Event`, in what one process alone waits for."""

    def __init__(self) -> None:
        self._on = False

    def set(self) -> None:
        """Set it."""
        self._on = True

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._on

    def wait(self, timeout: float) -> bool:
        """Wait so long, or until it is set."""
        world = Thread.world
        until = world.now + timeout
        while not self._on and world.now < until:
            assert world.current is not None
            world.current.wait(min(until - world.now, 0.5))
        return self._on
