"""The real window and source of a replica, watched: each event that leaves the window does so for a reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from celery_event_bridge.brokers.envelope import Heard, opened
from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.held import Window
from celery_event_bridge.brokers.redis.hole import Hole
from celery_event_bridge.brokers.redis.lease import Outcome
from celery_event_bridge.brokers.redis.silences import ANY_TIME, Position, Silence
from celery_event_bridge.brokers.redis.source import RedisSource
from celery_event_bridge.contract.broker import Ack
from tests.simulation.promises import Broken

if TYPE_CHECKING:
    from tests.simulation.pubsub.link import ModelLink
    from tests.simulation.pubsub.servers import Server
    from tests.simulation.pubsub.truth import Truth

SLACK = 0.1
"""Seconds by which an event may be younger than the window when it is dropped: what is between two marks."""


class Watched(Window):
    """See `celery_event_bridge.brokers.redis.held.Window`."""

    truth: ClassVar[Truth]
    """Set for the length of a play, as the source makes its window itself."""

    def __init__(self, max_bytes: int, now: float) -> None:
        super().__init__(max_bytes, now)
        self.source: WatchedSource | None = None
        self.heard: dict[int, int] = {}
        """Messages by their tag here."""
        self.numbers: dict[int, int] = {}
        """Tags by message."""
        self.held: dict[int, float] = {}
        """Tags that are here and not confirmed, and when they were heard."""
        self.dropped: dict[int, None] = {}
        """Tags that were dropped, and not told of yet."""
        self.fate: dict[int, str] = {}
        """What became of each message, in a few words."""
        self.acknowledged: dict[int, None] = {}
        self.said_by = ""
        """Name of whose word it is that is taken in."""
        self.out: dict[int, None] = {}
        """Tags that were handed out: what comes back from the relay is handed out again, confirmed elsewhere or not."""
        self.published: dict[int, tuple[Server, float]] = {}
        """By tag, where and when it was published, for the last time before it was heard."""
        self.places: dict[str, int] = {}
        """Tags of what comes after each mark."""
        self.covered: dict[str, int] = {}
        """By the name of a replica, how far all is confirmed there by its last word that could be placed."""
        self.before_hole = 0
        """Tag of the last one that was heard before the last hole."""
        self._comes_again = False
        self.truth.windows.append(self)

    @property
    def name(self) -> str:
        """Name of the replica."""
        return self.source.name if self.source is not None else "?"

    @property
    def owner(self) -> str:
        """Name of the process."""
        return self.source.owner if self.source is not None else "?"

    @property
    def now(self) -> float:
        """Time of the world."""
        assert self.source is not None
        return self.source.now

    def hear(self, payload: bytes) -> None:
        """Note it, and what has to make room for it."""
        tag, head = self._next, self._head
        aside = self.set_aside()
        number = self.heard[tag] = self.truth.numbers[opened(payload, None, 0).body]
        self.numbers[number] = tag
        link = self.source.link if self.source is not None and self._comes_again else None
        self.published[tag] = self.truth.published(number, link.client.server if link is not None else None)
        self.held[tag] = self.now
        self.fate[number] = "held"
        super().hear(payload)
        for gone in range(head, self._head):
            self._leaves(gone, "no room")
            self.dropped[gone] = None
        self.no_more(aside)

    def hear_again(self, payload: bytes) -> None:
        """Note what it is."""
        self._comes_again = True
        super().hear_again(payload)
        self._comes_again = False

    def mark(self, name: str, now: float, after: float = 0.0) -> None:
        """Note its place, for good."""
        self.places[name] = self._next
        super().mark(name, now, after)

    def deafened(self, seconds: float, now: float) -> None:
        """Note where."""
        self.before_hole = self._next - 1
        super().deafened(seconds, now)

    def take(self, most: int) -> tuple[list[Heard], list[Hole]]:
        """Judge the count of those that were dropped."""
        taken, holes = super().take(most)
        told = sum(hole.dropped for hole in holes)
        if told != len(self.dropped):
            raise Broken(f"count: {self.name} has dropped {len(self.dropped)}, and tells of {told}")
        self.truth.dropped.update((self.heard[tag], None) for tag in self.dropped)
        self.dropped.clear()
        return taken, holes

    def acknowledge(self, acks: Iterable[Ack]) -> None:
        """Judge each. Raises Broken where it is neither stored nor parked."""
        acks = [*acks]
        for ack in acks:
            lane: Any = ack.lane
            tags = [each.tag for each in lane.queue if each.tag not in lane.singly]
            for tag in [tag for tag in tags if tag == ack.tag or (ack.multiple and tag < ack.tag)]:
                number = self.heard[tag]
                if not self.truth.is_settled(number):
                    raise Broken(f"lost: message {number} was acknowledged by {self.name}, and is not stored")
                self.acknowledged[tag] = None
                self._leaves(tag, "confirmed")
        super().acknowledge(acks)

    def confirmed_elsewhere(
        self, position: Position | None, silences: Iterable[Silence] = (), said: tuple[float, float] = ANY_TIME
    ) -> bool:
        """Judge what is dropped. Raises Broken where it is not stored, and nobody has told of it."""
        before = self._here()
        dropped = self.aside.dropped
        known = super().confirmed_elsewhere(position, silences, said)
        if known and position is not None:
            self.truth.word(self, position)
            end = self._numbers[position.mark] + position.events
            for tag in [tag for tag in self.dropped if tag < end]:
                del self.dropped[tag]
                if self.aside.dropped > dropped:
                    self.truth.dropped[self.heard[tag]] = None
            aside = self.set_aside()
            for tag in self._left(before):
                self._gone(tag, aside)
        return known

    def drop_older(self, than: float) -> None:
        """Judge what is dropped. Raises Broken where it is younger."""
        before = self._here()
        super().drop_older(than)
        end = self._lost_from
        for tag in [tag for tag in self.dropped if tag < end]:
            del self.dropped[tag]
        for tag in self._left(before):
            number = self.heard[tag]
            if (heard := self._leaves(tag, "too old")) > than + SLACK and not self.truth.is_settled(number):
                raise Broken(f"lost: {self.name} has dropped message {number}, heard at {heard:.3f}, as too old")

    def _gone(self, tag: int, aside: Collection[int]) -> None:
        number = self.heard[tag]
        if number in aside:
            self._leaves(tag, "set aside")
            return
        if (newer := self.numbers[number]) > tag and newer in self.held:
            self._leaves(tag, "published again")
            return
        self._leaves(tag, f"confirmed by {self.said_by}")
        if not self.truth.is_settled(number) and number not in self.truth.dropped:
            raise Broken(
                f"lost: {self.name} has dropped message {number}, the {tag}th here, as confirmed elsewhere, and it is "
                f"not stored; {self.truth.fates(number)}"
            )

    def no_more(self, before: Collection[int]) -> None:
        """Note those that were set aside and are published no more."""
        for number in sorted({*before} - self.set_aside()):
            self.fate[number] = f"set aside, dropped at {self.now:.3f}"
            self.truth.dropped[number] = None

    def set_aside(self) -> set[int]:
        """Return the messages that are set aside."""
        return {self.truth.numbers[body] for body in self.aside.events} if self.aside.events else set()

    def _leaves(self, tag: int, why: str) -> float:
        if tag == self.numbers[self.heard[tag]]:  # else it was published again, and what becomes of that is said
            self.fate[self.heard[tag]] = f"{why} at {self.now:.3f}"
        return self.held.pop(tag, self.now)

    def _here(self) -> tuple[int, list[int]]:
        return self._head, [each.tag for each in self._again]

    def _left(self, before: tuple[int, list[int]]) -> list[int]:
        """Return the tags of those that were here before and are not any more."""
        head, again = before
        first = self._again[0].tag if self._again else self._head
        return [*(tag for tag in again if tag < first), *range(head, self._head)]


class WatchedSource(RedisSource):
    """See `celery_event_bridge.brokers.redis.source.RedisSource`."""

    name = "?"
    owner = ""

    @property
    def now(self) -> float:
        """Time of the world."""
        clock: Any = self._clock
        return float(clock.process.monotonic())

    @property
    def window(self) -> Watched:
        """Return the window that is watched."""
        window: Any = self._window
        return window  # type: ignore[no-any-return]

    @property
    def link(self) -> ModelLink | None:
        """Return the connection."""
        link: Any = self._link
        return link  # type: ignore[no-any-return]

    @property
    def hears(self) -> bool:
        """Return whether it is subscribed, and the connection is sound."""
        return self.link is not None and self.link.client.subscribed and not self.link.client.half_open

    def _pushed(self, item: list[Any]) -> None:
        before: Collection[int] = ()
        if item[0] == b"message" and item[1] == self._names.control:
            word = Control.read(item[2])
            self.window.said_by = word.owner if word is not None else ""
            before = self.window.set_aside()
        super()._pushed(item)
        self.window.no_more(before)

    def _tell_of_takeover(self, outcome: Outcome, now: float) -> None:
        lease: Any = self._agreement.lease
        assert self.link is not None
        self.link.client.server.servers.begins(self.owner, lease._from)
        super()._tell_of_takeover(outcome, now)

    def poll(self, timeout: float) -> Sequence[Heard]:
        """Judge each. Raises Broken where another one forwards it, or it is acknowledged already."""
        messages = super().poll(timeout)
        truth, window = Watched.truth, self.window
        for message in messages:
            if message.tag not in window.out:
                truth.handed_again(window, window.heard[message.tag])
            window.out[message.tag] = None
            if message.tag in window.acknowledged:
                raise Broken(f"twice: {self.name} hands out what it has acknowledged")
            truth.handed_out(window.heard[message.tag], self.owner, *window.published[message.tag])
        return messages
