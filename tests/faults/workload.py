"""What is published during a campaign, and what has to arrive because of it.

Every message that RabbitMQ has confirmed is an obligation: its events have to be in the stream, or the whole of it in
the parking queue. What was not confirmed may be there or not. Contents come from the seed, so that a run can be
repeated; how far it gets depends on the faults.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import cycle
from typing import Any, NamedTuple

import amqp
import msgpack

from tests.support import oracle
from tests.support.oracle import Published
from tests.support.servers.debian import until

JSON, MSGPACK, PICKLE = "application/json", "application/x-msgpack", "application/x-python-serialize"
WINDOW = 1000
"""Messages that may wait for their confirm."""
HOSTS = 40
LARGE = 40_000
"""Bytes; smaller messages no stream here finds too large."""
TASKS = 500
"""Keys in use at a time."""
BEGIN = time.time()
"""The events' times are of today: Kafka's retention goes by them, and removes what is older than a week."""


class Message(NamedTuple):
    """One message and what it obliges to."""

    published: Published
    events: tuple[bytes, ...]
    """To be stored; none if the message has to be parked."""


def messages(seed: int) -> Iterator[Message]:
    """Numbered events without end: single ones and lists of 2 to 24, JSON and msgpack, 100 B to 200 kB, pickles."""
    random_ = random.Random(seed)
    number = 0
    while True:
        kind = random_.random()
        count = random_.randint(2, 24) if kind > 0.75 else 1
        size = 200_000 if random_.random() < 0.001 else random_.choice((0, 0, 0, 300, 1000))
        host = f"w{random_.randrange(HOSTS)}@test"
        events = []
        for _ in range(count):
            events.append(_event(number, random_.randrange(TASKS), host, size // count))
            number += 1
        yield _message(events, host, random_.random())


def singles(seed: int, size: int = 350) -> Iterator[Message]:
    """Numbered events without end, each a message: cheap to make, for high rates."""
    random_ = random.Random(seed)
    number = 0
    while True:
        host = f"w{random_.randrange(HOSTS)}@test"
        event = _event(number, random_.randrange(TASKS), host, size - 140)
        body = json.dumps(event).encode()
        yield Message(_published(body, JSON, host), (body,))
        number += 1


def _event(number: int, task: int, host: str, size: int) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": "task-started", "uuid": f"task-{task}", "hostname": host, "clock": number}
    return fields | {"timestamp": BEGIN + number / 1000, "pid": 1, "filler": "x" * size}


def _message(events: list[dict[str, Any]], host: str, kind: float) -> Message:
    content: Any = events[0] if len(events) == 1 else events
    if kind < 0.85:
        slices = [json.dumps(event).encode() for event in events]
        body = slices[0] if len(slices) == 1 else b"[" + b", ".join(slices) + b"]"
        return Message(_published(body, JSON, host), tuple(slices))
    if kind < 0.99:
        return Message(_published(msgpack.packb(content), MSGPACK, host), tuple(map(msgpack.packb, events)))
    # No pickle, and not to be unpickled either: it has to be parked for its content type.
    return Message(_published(b"\x80\x05" + json.dumps(content).encode(), PICKLE, host), ())


def _published(body: bytes, content_type: str, host: str) -> Published:
    properties = {"content_type": content_type, "delivery_mode": 1, "application_headers": {"hostname": host}}
    return Published(body, properties, "task.started")


class Workload(threading.Thread):
    """Publishes at a steady rate; connects again whenever the broker goes away."""

    def __init__(self, broker_urls: Sequence[str], messages: Iterator[Message], rate: float) -> None:
        super().__init__(daemon=True)
        self._urls = cycle(broker_urls)
        self._rate = rate
        self._messages = messages
        self._stopping = threading.Event()
        self._paused = False
        self._waiting: dict[int, Message] = {}
        """Published, not confirmed yet, by the channel's number."""
        self.confirmed = 0
        """Messages."""
        self.obligations: list[bytes] = []
        """The id of every event that has to be stored, in the order of the confirms."""
        self.parked: list[bytes] = []
        """The id of every message that has to be parked."""
        self.published: set[bytes] = set()
        """The id of everything that was ever sent, confirmed or not."""
        self.large: dict[bytes, tuple[bytes, ...]] = {}
        """The ids of the events of each message that a stream may find too large, by that of the message."""
        self.slowest = 0.0
        """Seconds that the slowest publish took."""

    def run(self) -> None:
        while not self._stopping.is_set():
            with suppress(OSError, amqp.AMQPError):
                self._publish()
            # What was on its way then may have arrived or not: no obligation.
            self._waiting.clear()
            self._stopping.wait(0.2)

    def finish(self) -> None:
        """Stop once all that was published is confirmed, or cannot be."""
        self._stopping.set()
        self.join(180)

    def pause(self) -> None:
        """Publish nothing more until `resume`; returns when all that was published is confirmed."""
        self._paused = True
        until(lambda: not self._waiting, 60, "all that was published is confirmed")

    def resume(self) -> None:
        """Go on."""
        self._paused = False

    def _publish(self) -> None:
        connection = oracle.broker(next(self._urls))
        try:
            channel = connection.channel()
            channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
            channel.confirm_select()
            channel.events["basic_ack"].add(self._acked)
            channel.events["basic_nack"].add(self._nacked)
            self._waiting.clear()
            sent, begin = 0, time.monotonic()
            while not self._stopping.is_set():
                due = min(int((time.monotonic() - begin) * self._rate) - sent, WINDOW - len(self._waiting))
                for _ in range(0 if self._paused else due):
                    sent += 1
                    self._send(channel, sent)
                self._drain(connection, 0.005)
                if self._paused or (due <= 0 and self._waiting):
                    begin = time.monotonic() - sent / self._rate  # a pause is not caught up with
            deadline = time.monotonic() + 60
            while self._waiting and time.monotonic() < deadline:
                self._drain(connection, 0.1)
        finally:
            with suppress(OSError, amqp.AMQPError):
                connection.collect()

    def _send(self, channel: amqp.Channel, number: int) -> None:
        message = next(self._messages)
        self._waiting[number] = message
        self.published.update(map(event_key, message.events or (message.published.body,)))
        if len(message.published.body) > LARGE:
            self.large[event_key(message.published.body)] = tuple(map(event_key, message.events))
        begin = time.monotonic()
        body, properties, key = message.published
        channel.basic_publish(amqp.Message(body, **properties), "celeryev", key)
        self.slowest = max(self.slowest, time.monotonic() - begin)

    def _drain(self, connection: amqp.Connection, timeout: float) -> None:
        try:
            while True:
                connection.drain_events(timeout=timeout)
                timeout = 0.0001
        except TimeoutError:
            return

    def _acked(self, tag: int, multiple: bool) -> None:
        for one in [one for one in self._waiting if one <= tag] if multiple else [tag]:
            message = self._waiting.pop(one)
            self.confirmed += 1
            if message.events:
                self.obligations += map(event_key, message.events)
            else:
                self.parked.append(event_key(message.published.body))

    def _nacked(self, tag: int, multiple: bool) -> None:
        for one in [one for one in self._waiting if one <= tag] if multiple else [tag]:
            self._waiting.pop(one)


def event_key(data: bytes) -> bytes:
    """An event's id, in few bytes."""
    return bytes.fromhex(oracle.event_id(data))
