"""Model of Redis servers: what is published goes to who is subscribed, in one order; the lease's keys; failovers.

A server is one run of a process: restarted or failed over, it is another one, with an id of its own, and keys that are
those of a moment before or none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import hiredis

from celery_event_bridge.brokers.redis.address import Names
from celery_event_bridge.brokers.redis.lease import SCRIPT
from tests.simulation.promises import Broken
from tests.simulation.pubsub.keys import Keys, Refused, lease_script
from tests.simulation.scheduler import EPOCH, World

if TYPE_CHECKING:
    from tests.simulation.pubsub.link import Client

OLD = 1000.0
"""Seconds for which a replica was there before it became the master."""
REMEMBERED = 2.0
"""Seconds for which former states of the keys are kept: no replica of a server lags more."""


class Take:
    """A lease that was taken."""

    def __init__(self, server: Server, owner: str) -> None:
        self.server = server
        self.owner = owner
        self.begins = float("inf")
        """Time from which that one forwards, once it knows that it may."""


class Server:
    """One run."""

    def __init__(self, servers: Servers, keys: Keys, age: float = 0.0) -> None:
        """Begin; its process was there so many seconds before."""
        world = servers.world
        self._began = world.now - age
        self.servers = servers
        self.world = world
        self.run = f"{int(world.random.random() * 2**64):016x}"
        self.keys = keys
        servers.lost_record |= bool(servers.takes) and self.names_nobody
        self.up = True
        self.clients: list[Client] = []
        self._past: deque[tuple[float, Keys]] = deque([(world.now, keys.copied())])

    @property
    def milliseconds(self) -> int:
        """Time by its own clock."""
        return int((EPOCH + self.world.now + self.servers.ahead) * 1000)

    @property
    def is_master(self) -> bool:
        """Return whether it is the master, or a partition keeps it from knowing better."""
        return self is self.servers.master

    @property
    def names_nobody(self) -> bool:
        """Return whether it knows of nobody who has ever held the lease."""
        return self.servers.names.record not in self.keys.names()

    def changed(self) -> None:
        """Remember the keys as they are now."""
        self._past.append((self.world.now, self.keys.copied()))
        while len(self._past) > 1 and self._past[1][0] < self.world.now - REMEMBERED:
            self._past.popleft()

    def keys_of(self, ago: float) -> Keys:
        """Return the keys as they were so many seconds ago."""
        before = [keys for at, keys in self._past if at <= self.world.now - ago]
        return (before[-1] if before else self._past[0][1]).copied()

    def publish(self, channel: bytes, item: object, size: int, then: Client | None = None) -> list[Client]:
        """Pass a message on; returns to whom. `then`: who has published it and gets it last, after its answer."""
        listening = [client for client in self.clients if client.subscribed]
        for client in listening:
            if client is not then:
                client.push(item, size)
        return listening

    def execute(self, client: Client, command: Sequence[bytes]) -> None:
        """Answer a command, as it arrives."""
        if not (self.up and client.open):
            return
        name = command[0]
        if name == b"PSUBSCRIBE":
            for pattern in command[1:]:
                client.push([b"psubscribe", pattern, 1], 50)
            return
        if name == b"SUBSCRIBE":
            client.subscribed = True
            for channel in command[1:]:
                client.push([b"subscribe", channel, 1], 50)
        elif name == b"INFO":
            refused = self.servers.hides_run
            client.push_reply(hiredis.ReplyError("NOPERM no info") if refused else self._info())
        elif name == b"PUBLISH":
            later = self.servers.answers_first
            item, size = [b"message", command[1], command[2]], len(command[2]) + 100
            if command[1] == self.servers.names.again:
                self.servers.on_again(command[2], self)
            listening = self.publish(command[1], item, size, client if later else None)
            client.push_reply(len(listening))
            if later and client in listening:
                client.push(item, size)
        elif name == b"EVAL":
            client.push_reply(self._script(command))
        else:
            raise Broken(f"left behind: {name!r} is no command that the bridge needs")

    def _info(self) -> bytes:
        """Say its age in whole seconds, of a clock that it looks at now and then."""
        age = int(EPOCH + self.world.now) - int(EPOCH + self._began)
        return f"x:1\r\nrun_id:{self.run}\r\nuptime_in_seconds:{age}\r\n".encode()

    def _script(self, command: Sequence[bytes]) -> object:
        servers, names = self.servers, self.servers.names
        if command[1] != SCRIPT.encode() or [*command[2:5]] != [b"2", names.lease, names.record]:
            raise Broken("left behind: a script that is not the lease's, or of other keys")
        if servers.refuses:
            return hiredis.ReplyError("NOPERM this user has no permissions to run the 'eval' command")
        argv = [part.decode() for part in command[5:]]
        if servers.readonly and argv[2] != "look":
            return hiredis.ReplyError("READONLY You can't write against a read only replica.")
        now = self.milliseconds
        before = self.keys.get(names.lease, now)
        try:
            reply = lease_script(
                self.keys, now, (names.lease, names.record), argv, oom=servers.oom, misconf=servers.misconf
            )
        except Refused as exc:
            return hiredis.ReplyError(str(exc))
        if reply[0] == argv[0].encode() and before != argv[0]:
            servers.takes.append(Take(self, argv[0]))
            self.world.say("Redis", "lease taken", argv[0])
        self.changed()
        self.look()
        return reply

    def look(self) -> None:
        """Raise Broken where anything is here but the lease and the record, or the record for good."""
        names = self.servers.names
        if left := [name for name in self.keys.names() if name not in (names.lease, names.record)]:
            raise Broken(f"left behind: {left[0]!r}")

    def stop(self) -> None:
        """End it, and every connection with it."""
        self.up = False
        for client in [*self.clients]:
            client.cut()


class Servers:
    """The master at its name, and those that were masters and do not know better."""

    def __init__(self, world: World, names: Names) -> None:
        self.world = world
        self.names = names
        self.on_again: Callable[[bytes, Server], None] = lambda *_: None
        """Called with each event that a bridge publishes again."""
        self.published = 0
        """Messages so far, on any server."""
        self.ahead = 0.0
        """Seconds by which the clock of the machine is wrong."""
        self.latest = 0.0
        """The most seconds by which a command has been late."""
        self.slow = 0.0
        """Seconds that everything takes longer."""
        self.refuses = self.oom = self.readonly = self.misconf = False
        self.hides_run = world.chance(0.1)
        """True where the bridge's user may not ask for the id of a run."""
        self.answers_first = world.chance(0.5)
        """True where who publishes and hears it itself is answered first, as by Redis from 7.2 on."""
        self.sets_clocks = world.chance(0.3)
        """True where somebody sets the clock by hours; else it is corrected by milliseconds."""
        self.loses_keys = world.chance(0.4)
        """True where keys of the bridge are deleted, by somebody or with the server."""
        self.lost_record = False
        """True once a server has begun without the record that another had."""
        self.limit = int(world.between(3e4, 3e6))
        """Bytes that a client may leave unread."""
        self.at_once = int(world.between(5, 5000))
        """Messages that a read brings at most."""
        self.takes: list[Take] = []
        self.master = Server(self, Keys())
        self.old: Server | None = None
        """Master of before, which a partition keeps alive."""
        self.behind: dict[str, float] = {}
        """By name of a replica, until when it reaches the old master, and not the new one."""
        self.stray = 0.0
        """Part of what is published that goes to the old master."""
        self._restart_due = 0.0

    @property
    def tells_truth(self) -> bool:
        """Return whether the length of a gap can be known from what is here."""
        return not (self.sets_clocks or self.loses_keys or self.hides_run or self.lost_record)

    def begins(self, owner: str, at: float) -> None:
        """Take note when who has taken the lease begins to forward."""
        for take in self.takes:
            if take.owner == owner and take.begins == float("inf"):
                take.begins = at

    def reached_by(self, name: str) -> Server | None:
        """Return the server that a replica reaches; None while there is none."""
        server = self.master
        if self.old is not None and self.behind.get(name, 0.0) > self.world.now:
            server = self.old
        return server if server.up else None

    def delay(self) -> float:
        """Draw how long a way takes."""
        return self.slow + 0.0002 + 0.002 * self.world.random.random()

    def target(self) -> Server | None:
        """Return where the next message is published; None where that fails."""
        server = self.old if self.old is not None and self.world.chance(self.stray) else self.master
        return server if server.up else None

    def restart(self, seconds: float, keys: Keys) -> None:
        """Stop the master, and start it again with these keys."""
        self.master.stop()
        self._restart_due = self.world.now + seconds
        self.world.after(seconds, self._start, keys)

    def start_now(self) -> None:
        """Let it be up, if it is not."""
        self._restart_due = self.world.now
        self._start(self.master.keys)

    def _start(self, keys: Keys) -> None:
        if not self.master.up and self.world.now >= self._restart_due:
            self.master = Server(self, keys)
            self.world.say("Redis", "is up, as run", self.master.run)

    def fail_over(self, ago: float) -> None:
        """Let a replica be the master, with the keys of so many seconds ago."""
        self.end_partition()
        before, self.master = self.master, Server(self, self.master.keys_of(ago), OLD)
        self.world.say("Redis", "failed over, to run", self.master.run)
        before.stop()

    def part(
        self, ago: float, seconds: float, stray: float, behind: Callable[[], bool], replicas: Sequence[str]
    ) -> None:
        """Fail over behind a partition: who is connected to the old master stays so, for that time."""
        self.end_partition()
        self.old, self.master = self.master, Server(self, self.master.keys_of(ago), OLD)
        self.stray = stray
        self.behind = {name: self.world.now + seconds for name in replicas if behind()}
        self.world.say("Redis", "failed over behind a partition, to run", self.master.run)
        self.world.after(seconds, self.end_partition, self.old)

    def end_partition(self, server: Server | None = None) -> None:
        """Let the old master find out."""
        if self.old is not None and server in (None, self.old):
            self.old.stop()
            self.old, self.behind, self.stray = None, {}, 0.0

    def all_clients(self) -> list[Client]:
        """Return every connection."""
        return [*self.master.clients, *(self.old.clients if self.old is not None else ())]
