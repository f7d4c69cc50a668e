"""Virtual surroundings of a play: whoever reads a clock, draws, or makes a name gets the world's.

The relay is given its clock. What stands below it (the plug-in, the sinks, their clients) asks the modules `time`,
`random` and `uuid`, so for the length of a play those are the world's. What would reach the machine all the same, a
thread, a socket, another process, ends the play: see `sealed`.
"""

from __future__ import annotations

import datetime
import logging
import os
import random
import select
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp.connection
import amqp.transport
import structlog

from celery_event_bridge.brokers import parked_message
from celery_event_bridge.brokers.rabbitmq.nearly_full import BoundWatch
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.deadline import Deadline
from tests.simulation.network import FakePoll, FakeSocket, addresses
from tests.simulation.scheduler import EPOCH, World
from tests.simulation.thread import Thread

SEALED = ("socket.", "_thread.start_new_thread", "subprocess.", "os.fork", "os.posix_spawn", "os.system", "shutil.")
"""Beginnings of the audit events that no play may raise: https://docs.python.org/3/library/audit_events.html"""


class Sealed:
    """The one hook of this process; Python takes none back, so it is told when to act."""

    def __init__(self) -> None:
        self.on = False
        self._installed = False

    def install(self) -> None:
        """Add the hook, once."""
        if not self._installed:
            self._installed = True
            sys.addaudithook(self._hear)

    def _hear(self, event: str, _: tuple[Any, ...]) -> None:
        if self.on and event.startswith(SEALED):
            raise AssertionError(f"a play has reached the machine: {event}")


SEAL = Sealed()


class Calendar:
    """Stands in for the module `datetime` where that is asked for the date."""

    UTC = datetime.UTC

    def __init__(self, wall: Callable[[], float]) -> None:
        self.datetime = self
        self._wall = wall

    def now(self, zone: datetime.tzinfo) -> datetime.datetime:
        """Return the date by the world's clock."""
        return datetime.datetime.fromtimestamp(self._wall(), zone)


InPlace = Callable[[Callable[[], float]], list[tuple[object, str, object]]]


@contextmanager
def virtual(world: World, in_place_too: InPlace) -> Iterator[None]:
    """Make these surroundings those of a world, for whatever runs within.

    `in_place_too` is given the clock and returns what else is to be replaced.
    """

    def monotonic() -> float:
        return world.now

    def wall() -> float:
        return world.current.time() if world.current is not None else EPOCH + world.now

    def sleep(seconds: float) -> None:
        assert world.current is not None, "the scheduler itself does not sleep"
        world.current.wait(seconds)

    draw = random.Random(f"surroundings {world.seed}")
    in_place: list[tuple[object, str, object]] = [
        (time, "monotonic", monotonic),
        (time, "perf_counter", monotonic),
        (time, "time", wall),
        (time, "time_ns", lambda: int(wall() * 1e9)),
        (time, "monotonic_ns", lambda: int(monotonic() * 1e9)),
        (time, "sleep", sleep),
        (amqp.connection, "monotonic", monotonic),
        (Deadline.__init__, "__defaults__", (monotonic,)),
        (BoundWatch.__init__, "__defaults__", (monotonic,)),
        (parked_message, "datetime", Calendar(wall)),
        (random, "uniform", draw.uniform),
        (random, "random", draw.random),
        (random, "randint", draw.randint),
        (random, "choice", draw.choice),
        (random, "shuffle", draw.shuffle),
        (uuid, "uuid4", lambda: uuid.UUID(int=draw.getrandbits(128), version=4)),
        (os, "urandom", draw.randbytes),
        (os, "getpid", lambda: world.current.number if world.current is not None else 1),
        (socket, "socket", FakeSocket),
        (socket, "create_connection", FakeSocket.connected),
        (socket, "getaddrinfo", addresses),
        (socket, "gethostname", lambda: "host"),
        (amqp.transport, "set_cloexec", lambda *_: None),
        (select, "poll", FakePoll),
        (threading, "Thread", Thread),
        # A function keeps the defaults with which it was made.
        (Deadline.__init__, "__defaults__", (monotonic,)),
        *in_place_too(monotonic),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in in_place]
    clock, notices.NOTICES.clock = notices.NOTICES.clock, monotonic
    notices.NOTICES.clear()
    logging.disable(logging.CRITICAL)
    configured = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    for module, name, new in in_place:
        setattr(module, name, new)
    FakeSocket.world = Thread.world = world
    SEAL.install()
    SEAL.on = True
    try:
        yield
    finally:
        SEAL.on = False
        for module, name, old in before:
            setattr(module, name, old)
        structlog.configure(**configured)
        logging.disable(logging.NOTSET)
        notices.NOTICES.clear()
        notices.NOTICES.clock = clock
