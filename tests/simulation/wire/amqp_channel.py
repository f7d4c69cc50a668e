"""Server's end of a channel by AMQP: consumers, deliveries and acknowledgements; `amqp_declare` has the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.promises import Broken
from tests.simulation.rabbitmq.modelled_queues import Entry
from tests.simulation.rabbitmq.modelled_rabbitmq import Channel
from tests.simulation.wire import amqp_declare, amqp_frames as amqp
from tests.simulation.wire.amqp_confirms import Publishing
from tests.simulation.wire.amqp_deliveries import deliveries, got
from tests.simulation.wire.amqp_frames import Arguments
from tests.simulation.wire.declared import NamedQueue, Refused

if TYPE_CHECKING:
    from tests.simulation.wire.amqp_server import AmqpConnection

CLOSE, CLOSE_OK = (amqp.CHANNEL, 40), (amqp.CHANNEL, 41)
NO_LIMIT = 1 << 30
OF_A_LEADER = frozenset({20, 30, 70, 80, 90, 120})
"""Methods of the class basic that get no answer while the queues have no leader."""


class AmqpChannel(Channel):
    """A channel, with the consumer that it has."""

    connection: AmqpConnection

    def __init__(self, connection: AmqpConnection, number: int) -> None:
        super().__init__(connection, connection.broker.nowhere)
        self.broker = connection.broker
        self.number = number
        self.consumer = ""
        self.publishing = Publishing(self)
        self.deaf = False
        """True while what it should have is kept from it, as its queue was deleted and declared at once."""
        self.kept: list[Entry] = []
        """Entries that are kept from it."""
        self.forgives = False
        """True if what it acknowledges may be no longer its own."""
        self._qos = 0
        self._tags = 0
        self._closing = False
        self._waiting: list[tuple[int, bytes]] = []
        """Frames behind one that waits for a leader."""

    def frame(self, kind: int, payload: bytes) -> None:
        """Take a frame."""
        method = (int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big"))
        if self._closing:
            if kind == amqp.METHOD and method == CLOSE_OK:
                self._forget()
            return
        if self._waiting or (self.broker.stalled and kind == amqp.METHOD and self._needs_a_leader(method)):
            if not self._waiting:
                self.broker.when_there(self._resume)
            self._waiting.append((kind, payload))
            return
        self._take(kind, method, payload)

    def _needs_a_leader(self, method: amqp.Method) -> bool:
        return (method[0] == amqp.BASIC and method[1] in OF_A_LEADER) or (
            method == (amqp.QUEUE, 10) and self.broker.world.chance(0.3)
        )

    def _resume(self) -> None:
        waiting, self._waiting = self._waiting, []
        for kind, payload in waiting:
            if self.open:
                self.frame(kind, payload)

    def _take(self, kind: int, method: amqp.Method, payload: bytes) -> None:
        try:
            if kind != amqp.METHOD:
                self.publishing.content(kind, payload)
            elif method == (amqp.BASIC, 40):
                self.publishing.begins(Arguments(payload[4:]))
                if self.broker.alarm:
                    self.connection.block()
            elif method == CLOSE:
                self.end()
                self._forget()
                self.write(CLOSE_OK)
            elif method[0] == amqp.BASIC:
                self._basic(method[1], Arguments(payload[4:]))
            elif method == (amqp.CONFIRM, 10):
                self.publishing.confirms = True
                self.write((amqp.CONFIRM, 11))
            else:
                amqp_declare.take(self, method, Arguments(payload[4:]))
        except Refused as refusal:
            self.refuse(refusal.code, refusal.text, method)

    def write(self, method: amqp.Method, form: str = "", *values: object) -> None:
        """Send a method."""
        self.connection.write(amqp.method(self.number, method, form, *values))

    def refuse(self, code: int, text: str, method: amqp.Method = (0, 0)) -> None:
        """End it with a reason: what is not acknowledged goes back."""
        if self.open:
            self.broker.world.say("RabbitMQ", "ends a channel of", self.connection.client, code)
            self.end()
            self._closing = True
            self.write(CLOSE, "HsHH", code, text, *method)

    def end(self) -> None:
        """Let go of everything."""
        if self.open:
            queue = self.queue
            self.close()
            kept, self.kept = self.kept, []
            queue.give_back(kept)
            self.broker.consumer_gone(queue)

    def _forget(self) -> None:
        self.connection.numbered.pop(self.number, None)
        self.connection.channels.remove(self)

    # Consuming ------------------------------------------------------------------------------------------------------

    def _basic(self, method: int, arguments: Arguments) -> None:
        if method == 10:
            arguments.long()
            self._qos = arguments.short()
            if not self._qos:
                raise Broken(f"memory: {self.connection.client} asks for messages without a limit")
            self.write((amqp.BASIC, 11))
        elif method == 20:
            self._consume(arguments)
        elif method == 30:
            consumer = arguments.shortstr()
            self.write((amqp.BASIC, 31), "s", consumer)
            if consumer == self.consumer:
                self.cancel()
                self.broker.consumer_gone(self.queue)
        elif method == 70:
            arguments.short()
            self._get(self.broker.queue(arguments.shortstr()))
        elif method in (80, 120):
            tag, bits = arguments.longlong(), arguments.octet()
            assert method == 80, "a nack from a client"
            self.acknowledge(tag, multiple=bool(bits & 1))
        elif method == 90:
            tag = arguments.longlong()
            if not self.forgives or tag in self.unacknowledged:
                self.reject(tag)
        else:
            raise AssertionError(f"basic method {method} is not known here")

    def _consume(self, arguments: Arguments) -> None:
        arguments.short()
        queue = self.broker.queue(arguments.shortstr())
        self.broker.may("read", f"queue '{queue.name}'")
        assert not self.consuming, f"{self.connection.client}: a second consumer on a channel"
        if self.queue is not queue:
            self.deaf = False
            self.queue.consumers = [one for one in self.queue.consumers if one is not self]
            self.queue = queue
        self._tags += 1
        self.consumer = arguments.shortstr() or f"amq.ctag-{self.number}-{self._tags}"
        self.write((amqp.BASIC, 21), "s", self.consumer)
        self.consume(self._qos or NO_LIMIT)

    def _get(self, queue: NamedQueue) -> None:
        self.broker.may("read", f"queue '{queue.name}'")
        entry = queue.get()
        if entry is None:
            self.write((amqp.BASIC, 72), "s", "")
            return
        self.tag += 1
        self.outstanding += 1
        self.unacknowledged[self.tag] = entry
        self.connection.write(*got(self, self.tag, entry, len(queue)))

    def deliver(self, entries: list[Entry]) -> None:
        """Write these to the connection."""
        first = self.tag - len(entries) + 1
        if self.deaf:
            self.kept += [self.unacknowledged.pop(tag) for tag in range(first, self.tag + 1)]
            self.tag = first - 1
        elif self.open:
            self.connection.write(*deliveries(self, first, entries))

    def acknowledge(self, tag: int, *, multiple: bool) -> None:
        """Take an acknowledgement that has arrived."""
        if self.forgives and tag not in self.unacknowledged:
            if multiple:
                self._apply([one for one in self.unacknowledged if one <= tag])
            return
        super().acknowledge(tag, multiple=multiple)

    def _apply(self, tags: list[int]) -> None:
        self.broker.operator = self.connection.operator
        super()._apply(tags)
        self.broker.operator = ""

    # What befalls it ------------------------------------------------------------------------------------------------

    def lose_consumer(self) -> None:
        """End its consumer, as the server does."""
        if self.consuming:
            self.cancel()
            self.write((amqp.BASIC, 30), "sB", self.consumer, 1)
            self.broker.consumer_gone(self.queue)

    def lose_queue(self, *, tells: bool) -> None:
        """Have no queue any more; `tells` unless the client is left in the belief that it consumes."""
        self.cancel()
        if tells:
            self.write((amqp.BASIC, 30), "sB", self.consumer, 1)
        self.queue = self.broker.nowhere

    def turn_deaf(self, queue: NamedQueue) -> None:
        """Believe that it consumes a queue that was declared anew."""
        self.deaf = self.consuming = True
        self.queue, self.outstanding = queue, 0
        queue.consumers.append(self)

    def take_back(self) -> None:
        """Give back what it has in hand, of which nothing is heard any more, with its consumer."""
        self.forgives = True
        entries, self.unacknowledged = list(self.unacknowledged.values()), {}
        self.lose_consumer()
        for queue in dict.fromkeys(entry.queue for entry in entries):
            queue.give_back([entry for entry in entries if entry.queue is queue])
