"""A broker and a sink in memory, and events to feed them with."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence

import msgspec

from celery_event_bridge.contract import JSON, MSGPACK, Event, Outcome, SinkUnavailable, Verdict
from celery_event_bridge.contract.broker import Ack, BrokerUnavailable, Message
from celery_event_bridge.forward.decode import decode


class FakeSource:
    """A queue in memory with RabbitMQ's rules: what is not acknowledged when a channel closes is delivered again."""

    def __init__(self) -> None:
        self.depths: dict[str, int] = {}
        self.leaves_after: float | None = None
        self.held_up: str | None = None
        self.ordered = False
        self.queue: list[Message] = []
        self.unacknowledged: dict[int, Message] = {}
        self.acknowledged: list[Message] = []
        self.acks: list[Ack] = []
        self.calls: list[str] = []
        self.fail: str | None = None
        self.held_bytes = 0
        self.roomier = 0
        """Number that may be in hand beyond the prefetch."""
        self._lane: Hashable = None
        self._tags = itertools.count(1)

    def publish(self, *bodies: bytes, content_type: str = JSON, headers: Mapping[str, object] | None = None) -> None:
        for body in bodies:
            self.queue.append(Message(None, 0, body, content_type, headers or {}))

    def open(self) -> None:
        self._call("open")

    def consume(self) -> None:
        self._call("consume")
        self._lane, self._tags = object(), itertools.count(1)

    def poll(self, timeout: float) -> Sequence[Message]:
        self._check()
        if self._lane is None:
            return []
        taken, self.queue = self.queue, []
        delivered = []
        for message in taken:
            tag = next(self._tags)
            again = Message(self._lane, tag, message.body, message.content_type, message.headers)
            self.unacknowledged[tag] = again
            delivered.append(again)
        return delivered

    def steer(self, held_bytes: int, largest: Callable[[], int]) -> None:
        self._check()
        self.held_bytes = held_bytes

    def acknowledge(self, acks: Sequence[Ack]) -> None:
        self._check()
        for ack in acks:
            assert ack.lane is self._lane, "acknowledged on a closed channel"
            assert ack.tag in self.unacknowledged, "406: unknown delivery tag"
            self.acks.append(ack)
            for tag in sorted(self.unacknowledged):
                if tag == ack.tag or (ack.multiple and tag < ack.tag):
                    self.acknowledged.append(self.unacknowledged.pop(tag))

    def give_back(self, messages: Sequence[Ack]) -> None:
        self._check()
        for each in messages:
            assert each.lane is self._lane, "given back on a closed channel"
            self.queue.append(self.unacknowledged.pop(each.tag))

    def make_room(self, lane: Hashable) -> None:
        self.roomier += 1

    def let_go(self) -> None:
        self._call("let_go")
        self._close_channel()

    def cancel(self) -> None:
        self._call("cancel")

    def close(self) -> None:
        self._call("close")
        self._close_channel()

    def drop(self) -> None:
        self.calls.append("drop")
        self._close_channel()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        self._check()

    def _check(self) -> None:
        if self.fail is not None:
            reason, self.fail = self.fail, None
            raise BrokerUnavailable(reason)

    def _close_channel(self) -> None:
        self.queue = [*self.unacknowledged.values(), *self.queue]
        self.unacknowledged.clear()
        self._lane = None


class MemorySink:
    """Keeps what it is given. With `at_once` off, the test decides what becomes of what was handed over."""

    name = "memory"

    def __init__(self, *, at_once: bool = True) -> None:
        self.undecided: list[Event] = []
        self.stored: list[Event] = []
        self.sends: list[list[Event]] = []
        self.away: str | None = None
        self.at_once = at_once
        self._verdicts: list[Verdict] = []

    def open(self) -> None:
        self.available()

    def available(self) -> None:
        if self.away is not None:
            raise SinkUnavailable(self.away)

    def send(self, events: Sequence[Event]) -> None:
        assert events, "nothing to send"
        assert not {*events} & {*self.undecided}, "handed over again before its verdict"
        self.sends.append(list(events))
        self.undecided.extend(events)
        if self.at_once:
            self.decide(Outcome.STORED)

    def decide(self, outcome: Outcome, count: int | None = None, *, reason: str = "because") -> None:
        """Decide the first `count` of what is undecided, or all."""
        chosen, self.undecided = self.undecided[:count], self.undecided[len(self.undecided[:count]) :]
        if outcome is Outcome.STORED:
            self.stored += chosen
        if chosen:
            self._verdicts.append(Verdict(outcome, chosen, reason))

    def verdicts(self, timeout: float) -> Sequence[Verdict]:
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    def close(self) -> None:
        self.undecided.clear()


def sample_events(count: int, *, size: int = 100) -> list[Event]:
    """Make so many events that differ, with a task's uuid, without, with and without a time, in JSON and in msgpack."""
    bodies = []
    for number in range(count):
        event_type = "task-started" if number % 3 else "worker-heartbeat"
        fields: dict[str, object] = {"type": event_type, "hostname": "w@é", "clock": number}
        if number % 3:
            fields["uuid"] = f"{number:032x}"
        if number % 5:
            fields["timestamp"] = 1.7e9 + number
        fields["filler"] = "x" * size
        packed = number % 4 == 3
        bodies.append((msgspec.msgpack.encode(fields), MSGPACK) if packed else (msgspec.json.encode(fields), JSON))
    return [event for body, content_type in bodies for event in decode(body, content_type, {}).events]
