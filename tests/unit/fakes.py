"""In-memory ends for the relay: a broker that remembers what was acknowledged, and a sink that does as it is told."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence

from bridge.contract import JSON, Event, Outcome, SinkUnavailable, Verdict
from bridge.ledger import Ack
from bridge.sources import BrokerUnavailable, Message, Parcel


class FakeSource:
    """A queue in memory with RabbitMQ's rules: what is not acknowledged when a channel closes is delivered again."""

    def __init__(self) -> None:
        self.depths: Mapping[str, int] = {}
        self.queue: list[Message] = []
        self.unacknowledged: dict[int, Message] = {}
        self.acknowledged: list[Message] = []
        self.acks: list[Ack] = []
        self.calls: list[str] = []
        self.fail: str | None = None
        self._lane: Hashable = None
        self._tags = itertools.count(1)

    def publish(self, *bodies: bytes, content_type: str = JSON, headers: Mapping[str, object] | None = None) -> None:
        for body in bodies:
            self.queue.append(Message(None, 0, body, content_type, headers or {}, {}, "celeryev", "", False, False))

    def open(self) -> None:
        self._call("open")

    def consume(self) -> None:
        self._call("consume")
        self._lane, self._tags = object(), itertools.count(1)

    def poll(self, timeout: float) -> Sequence[Message]:  # noqa: ARG002
        self._check()
        if self._lane is None:
            return []
        taken, self.queue = self.queue, []
        delivered = []
        for message in taken:
            tag = next(self._tags)
            again = Message(
                self._lane, tag, message.body, message.content_type, message.headers, {}, "celeryev", "", False, False
            )
            self.unacknowledged[tag] = again
            delivered.append(again)
        return delivered

    def steer(self, held_bytes: int) -> None:  # noqa: ARG002
        self._check()

    def acknowledge(self, acks: Sequence[Ack]) -> None:
        self._check()
        for ack in acks:
            assert ack.lane is self._lane, "acknowledged on a closed channel"
            assert ack.tag in self.unacknowledged, "406: unknown delivery tag"
            self.acks.append(ack)
            for tag in sorted(self.unacknowledged):
                if tag == ack.tag or (ack.multiple and tag < ack.tag):
                    self.acknowledged.append(self.unacknowledged.pop(tag))

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


class FakeSink:
    """Stores nothing by itself: the test decides what becomes of what it was handed."""

    name = "fake"

    def __init__(self) -> None:
        self.undecided: list[Event] = []
        self.stored: list[Event] = []
        self.sends: list[list[Event]] = []
        self.away: str | None = None
        self.at_once = False
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

    def verdicts(self, timeout: float) -> Sequence[Verdict]:  # noqa: ARG002
        verdicts, self._verdicts = self._verdicts, []
        return verdicts

    def close(self) -> None:
        self.undecided.clear()


class FakeParking:
    """Keeps what is parked; `fail` makes the next call fail."""

    def __init__(self) -> None:
        self.parked: list[Parcel] = []
        self.fail = False

    def park(self, parcels: Sequence[Parcel]) -> None:
        if self.fail:
            raise BrokerUnavailable("blocked")
        self.parked += parcels

    def close(self) -> None:
        pass
