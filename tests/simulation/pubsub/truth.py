"""Judge of the world `pubsub`: who has heard what, what became of it there, and what was told of."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from celery_event_bridge.brokers.envelope import opened
from celery_event_bridge.brokers.redis.silences import Position
from celery_event_bridge.brokers.redis.times import Times, length
from tests.simulation.messages import Published
from tests.simulation.promises import Broken
from tests.simulation.scheduler import World

if TYPE_CHECKING:
    from tests.simulation.pubsub.servers import Server
    from tests.simulation.pubsub.watched import Watched

NEAR = 1.0
"""Seconds by which the length of a gap that is told may be wrong, for each silence."""


APART = 0.3
"""Seconds between two messages that are missing after which somebody may have been subscribed between them."""


class Sent(NamedTuple):
    """A message as it was published."""

    message: Published
    at: float
    server: Server
    place: int
    heard: bool
    """True if anybody was subscribed."""


class Told(NamedTuple):
    """A gap that somebody has told of."""

    at: float
    seconds: float


class Truth:
    """All of a play."""

    def __init__(self, world: World, settled: Callable[[Published], bool]) -> None:
        """`settled` tells whether a message is stored or parked."""
        self._world = world
        self._settled = settled
        self.sent: dict[int, Sent] = {}
        self.numbers: dict[bytes, int] = {}
        """By the body of what was published."""
        self.gaps: list[Told] = []
        self.times: list[tuple[float, Times]] = []
        """Times that were told of as gaps, and when."""
        self.dropped: dict[int, None] = {}
        """Messages that somebody has told of as dropped."""
        self.excused: dict[int, str] = {}
        """Messages that are lost, in a way that the documents name."""
        self.again: dict[int, list[tuple[Server, float]]] = {}
        """Messages that a bridge has published again, with where and when it did so."""
        self.needless = 0
        """Times that this was done with one that was stored."""
        self.anybody = False
        """True once a bridge was subscribed."""
        self.windows: list[Watched] = []

    def publishes(self, message: Published, payload: bytes, at: float, server: Server, place: int) -> None:
        """Take note of a message before it is published."""
        heard = any(client.subscribed for client in server.clients)
        self.anybody = self.anybody or heard
        self.sent[message.number] = Sent(message, at, server, place, heard)
        if not self.anybody or not server.servers.takes:
            self.excused[message.number] = "no bridge has forwarded yet"
        elif server.names_nobody:
            self.excused[message.number] = "at a server that knows of no lease"
        if not heard and not server.is_master:
            self.excused[message.number] = "at a master that nobody knows any more"
        self.numbers[opened(payload, None, 0).body] = message.number

    def tells(self, kind: str, count: int, seconds: float) -> None:
        """Take note of a notice."""
        if kind in ("gap", "dropped"):
            who = self._world.current
            self._world.say(who.name if who is not None else "?", "tells of", kind, count, seconds)
        if kind == "gap":
            self.gaps.append(Told(self._world.now, seconds))

    def tells_of(self, times: Times) -> None:
        """Take note of the times of a gap that is told of."""
        self.times.append((self._world.now, times))

    def judge_told(self) -> None:
        """Raise Broken where a gap is told of as longer than what is missing shows, or at a time that is told twice."""
        kept = [(sent.at, self.is_settled(number)) for number, sent in self.sent.items()]
        for at, times in self.times:
            wrong = sum(
                min(second, end) - max(first, begin)
                for begin, end in times
                for (first, is_kept), (second, is_next_kept) in pairwise(kept)
                if is_kept and is_next_kept and begin < second and first < end and second - first < APART
            )
            if wrong > NEAR:
                raise Broken(
                    f"told too long: {wrong:.3f} s of {length(times):.3f} s that are told of as a gap at {at:.3f} are "
                    f"none, of the times {', '.join(f'{begin:.3f} to {end:.3f}' for begin, end in times)}"
                )
        told = sorted(one for _, times in self.times for one in times)
        for (begin, end), (next_begin, _) in pairwise(told):
            if next_begin < end - APART:
                raise Broken(f"told twice: from {next_begin:.3f} on, of a gap from {begin:.3f} to {end:.3f}")

    def published_again(self, payload: bytes, server: Server) -> None:
        """Take note that a bridge publishes a message that whoever forwards has not heard."""
        number = self.numbers[opened(payload, None, 0).body]
        self.again.setdefault(number, []).append((server, self._world.now))
        self.needless += self.is_settled(number)

    def is_settled(self, number: int) -> bool:
        """Return whether a message is stored or parked."""
        return self._settled(self.sent[number].message)

    def has_heard(self, owner: str, number: int) -> bool:
        """Return whether a replica has heard a message, and has not dropped it as too old."""
        fates = (window.fate.get(number, "too old") for window in self.windows if window.owner == owner)
        return any(not fate.startswith("too old") for fate in fates)

    def fates(self, number: int) -> str:
        """Return what became of a message, for the text of a verdict."""
        fates = [f"{window.owner}: {window.fate[number]}" for window in self.windows if number in window.fate]
        return ", ".join(fates) or "nobody has heard it"

    def published(self, number: int, server: Server | None) -> tuple[Server, float]:
        """Return where and when what is heard at a server was published: there again, if a bridge has done so."""
        sent = self.sent[number]
        return next((one for one in self.again.get(number, ()) if one[0] is server), (sent.server, sent.at))

    def handed_out(self, number: int, owner: str, server: Server, at: float) -> None:
        """Judge that a replica forwards what was published there and then. Raises Broken where another one does."""
        last = owner
        for take in server.servers.takes:
            if take.owner == owner or (take.server is server and take.begins <= at):
                last = take.owner
        if last != owner:
            raise Broken(
                f"two forwarders: message {number} was published after {last} had begun to forward, and {owner} has "
                "not taken the lease again"
            )

    def word(self, window: Watched, position: Position) -> None:
        """Take note of how far another replica says that all is confirmed, in its own count."""
        for other in self.windows:
            if other.owner == window.said_by and position.mark in other.places:
                window.covered[other.owner] = other.places[position.mark] + position.events

    def handed_again(self, window: Watched, number: int) -> None:
        """Raise Broken where a replica hands out a message that another one has told it to be confirmed."""
        if number in self.again:
            return
        for other in self.windows:
            tag = other.numbers.get(number)
            if other is not window and tag is not None and tag < window.covered.get(other.owner, 0):
                raise Broken(f"twice: {other.name} has told {window.name} that message {number} is confirmed")

    def finish(self, alive: Collection[Watched], *, gaps: bool, late: float) -> None:
        """Judge the end; the `gaps` too, where their length can be known. Raises Broken.

        A word that is `late` by so much counts as said when it arrives.
        """
        missing = [number for number in self.sent if not self.is_settled(number)]
        for window in alive:
            here = {window.heard[tag] for tag in window.held} | window.set_aside()
            if held := [number for number in missing if number in here]:
                raise Broken(f"held up: message {held[0]} waits in {window.name}")
            if window.aside.dropped:
                raise Broken(f"count: {window.name} has not told of {window.aside.dropped} that it has dropped")
        unheard = []
        for number in missing:
            if number in self.dropped or number in self.excused:
                continue
            if any(number in window.fate for window in self.windows):
                continue  # and gone with who had heard it: no gap was known of while that one lived
            unheard.append(number)
        needed = 0.0
        for one, first, last in reversed([*self._silences(unheard)] if gaps else []):
            needed += max(0.0, last - first - NEAR - late)
            told = sum(gap.seconds for gap in self.gaps if gap.at >= first)
            if told < needed:
                raise Broken(
                    f"not told: what was published from {first:.3f} to {last:.3f} s is missing, {needed:.3f} s in all "
                    f"from then on, and {told:.3f} s are told; the first is message {one}: {self.fates(one)}"
                )

    def _silences(self, missing: Collection[int]) -> Iterator[tuple[int, float, float]]:
        """Yield the first message of each run of missing ones, and when it began and ended."""
        lost = dict.fromkeys(missing)
        run: list[int] = []
        for number in self.sent:
            if number in lost and (not run or self.sent[number].at - self.sent[run[-1]].at < APART):
                run.append(number)
            elif number in lost:
                yield run[0], self.sent[run[0]].at, self.sent[run[-1]].at
                run = [number]
            elif run:
                yield run[0], self.sent[run[0]].at, self.sent[run[-1]].at
                run = []
        if run:
            yield run[0], self.sent[run[0]].at, self.sent[run[-1]].at
