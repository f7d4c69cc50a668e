"""What is published on a channel: taken by its queue a moment later, and confirmed alone or together, in any order."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tests.simulation.promises import Broken
from tests.simulation.wire import amqp_frames as amqp
from tests.simulation.wire.amqp_deliveries import NUMBER, look_at
from tests.simulation.wire.amqp_frames import Arguments, Content

if TYPE_CHECKING:
    from tests.simulation.wire.amqp_channel import AmqpChannel


class Publishing:
    """The publishing of one channel."""

    def __init__(self, channel: AmqpChannel) -> None:
        self.confirms = False
        self._channel = channel
        self._broker = channel.connection.broker
        self._key = ""
        self._mandatory = False
        self._properties = b""
        self._size = 0
        self._body = b""
        self._tag = 0
        self._done: dict[int, None] = {}
        """Tags that are taken and not confirmed."""
        self._up_to = 0
        """Tag up to which all are confirmed."""
        self._alone: dict[int, None] = {}
        """Tags past it that are confirmed too."""

    def begins(self, arguments: Arguments) -> None:
        """Take the method. Raises Refused."""
        arguments.short()
        exchange = arguments.shortstr()
        assert not exchange, "a bridge publishes to the default exchange alone"
        self._key = arguments.shortstr()
        self._mandatory = bool(arguments.octet() & 1)
        self._broker.may("write", "exchange 'amq.default'")

    def content(self, kind: int, payload: bytes) -> None:
        """Take a header, or a part of the body."""
        if kind == amqp.HEADER:
            self._size = struct.unpack_from(">Q", payload, 4)[0]
            self._properties, self._body = payload[12:], b""
        else:
            self._body += payload
        if len(self._body) >= self._size:
            self._publish(Content(self._properties, self._body))

    def _publish(self, what: Content) -> None:
        channel, broker = self._channel, self._broker
        self._tag += 1
        if self._key not in broker.queues:
            if self._mandatory:
                answer = amqp.method(channel.number, (amqp.BASIC, 50), "Hsss", 312, "NO_ROUTE", "", self._key)
                channel.connection.write(answer, *amqp.content(channel.number, what, channel.connection.frame_max))
            self._take(self._tag)
            return
        assert self._key.endswith(".rejected") or channel.connection.operator, f"a bridge publishes to {self._key}"
        broker.world.after(broker.delay(), self._store, self._key, what, self._tag)

    def _store(self, name: str, what: Content, tag: int) -> None:
        """Let the queue have it. What was published just before a channel ends can vanish."""
        broker = self._broker
        if broker.stalled:
            broker.when_there(lambda: self._store(name, what, tag))
            return
        queue = broker.queues.get(name)
        if broker.nacks or (queue is not None and queue.full(len(what.body))):
            broker.nacks = max(0, broker.nacks - 1)
            self._channel.write((amqp.BASIC, 120), "QB", tag, 0)
            return
        if queue is None or not (self._channel.open or broker.world.chance(0.5)):
            return
        number = amqp.headers_of(what.properties).get(NUMBER, broker.by_body.get(what.body))
        message = broker.messages.get(number) if isinstance(number, int) else None
        if message is None or message.body != what.body:
            raise Broken(f"changed: {what.body[:100]!r} was published to {name}, which no worker has published")
        if self._channel.connection.operator:
            look_at(message, what)
        queue.add(message, properties=what.properties)
        if name.endswith(".rejected"):
            broker.parked[message.number] += 1
        self._take(tag)

    def _take(self, tag: int) -> None:
        self._done[tag] = None
        self._broker.world.after(self._broker.world.between(0.0001, 0.05), self._confirm)

    def _confirm(self) -> None:
        """Confirm what is taken: the last perhaps alone, all before it perhaps together, perhaps all later."""
        world = self._broker.world
        if not self._done or not self.confirms or not self._channel.open:
            return
        if world.chance(0.2):
            world.after(0.05, self._confirm)
            return
        last = max(self._done)
        if len(self._done) > 1 and world.chance(0.5):
            self._say(last, multiple=False)
        before = self._up_to
        while before + 1 in self._done or before + 1 in self._alone:
            before += 1
        if before > self._up_to and (before > self._up_to + 1 or world.chance(0.5)):
            self._say(before, multiple=True)
        for tag in [*self._done]:
            self._say(tag, multiple=False)

    def _say(self, tag: int, *, multiple: bool) -> None:
        self._channel.write((amqp.BASIC, 80), "QB", tag, int(multiple))
        if multiple:
            self._done = {one: None for one in self._done if one > tag}
            self._up_to = max(self._up_to, tag)
        else:
            self._done.pop(tag, None)
            self._alone[tag] = None
        while self._up_to + 1 in self._alone:
            self._up_to += 1
        self._alone = {one: None for one in self._alone if one > self._up_to}
