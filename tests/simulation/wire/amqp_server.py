"""Server's end of a connection by AMQP 0-9-1: login, heartbeats, channels, and the ways in which it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.rabbitmq.modelled_rabbitmq import Connection
from tests.simulation.wire import amqp_frames as amqp
from tests.simulation.wire.amqp_channel import AmqpChannel
from tests.simulation.wire.amqp_frames import Arguments, Frames

if TYPE_CHECKING:
    from tests.simulation.line import Line
    from tests.simulation.wire.broker import Broker

MOST_CHANNELS = 10
"""Channels that a bridge may have on a connection at once: `topology.CHANNELS` promises no more."""
CAPABILITIES = (
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
)
FRAME_MAX = (131_072, 131_072, 8_192, 4_096)
PASSWORD = b"secret"
OPERATORS = ("rejected", "queues")
"""Commands that take messages out of one queue once another has them."""


class AmqpConnection(Connection):
    """See `tests.simulation.line.Server` for who calls `received` and `closed`."""

    def __init__(self, broker: Broker, line: Line) -> None:
        super().__init__(broker, line.process.name, lambda _: None)
        self.broker = broker
        self.line = line
        self.frame_max = FRAME_MAX[int(broker.world.random.random() * len(FRAME_MAX))]
        self.numbered: dict[int, AmqpChannel] = {}
        self.reads = self.writes = -1
        """Frames that it still reads, or writes, before it is cut; -1 for one that is not to be cut."""
        self.role = ""
        """Name that the client gives it."""
        self.operator = ""
        """Command that has it, empty for a bridge."""
        self.half = False
        """True if half of the next frame is written as well."""
        self._frames = Frames()
        self._heartbeat = 0
        self._heard = self._spoke = False
        self._silent = 0
        self._blocked = False
        self._ended = False
        """True if the client is gone, though it may have left something to read."""
        self._closing = False
        """True once it was told that it is over: only its assent counts."""

    # What comes -----------------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Take bytes that have arrived."""
        self._frames.add(data)
        self._heard = True
        self._read()

    def closed(self) -> None:
        """Take note that the client is gone."""
        self._ended = True
        if not self._blocked:
            self._gone()

    def _read(self) -> None:
        if self._frames.greeting():
            self._start()
        while self.open and not self._blocked and (found := self._frames.next()) is not None:
            if self.reads == 0:
                self.cut("connection reset")
                return
            self.reads -= self.reads > 0
            self._take(*found)
        if self._ended and not self._blocked:
            self._gone()

    def _take(self, kind: int, number: int, payload: bytes) -> None:
        assert len(payload) + 8 <= self.frame_max, f"{self.client} sends a frame of {len(payload) + 8} bytes"
        if kind == amqp.HEARTBEAT:
            return
        if number == 0:
            arguments = Arguments(payload)
            self._connection_method((arguments.short(), arguments.short()), arguments)
        elif not self._closing:
            self._channel_frame(kind, number, payload)

    def _connection_method(self, method: amqp.Method, arguments: Arguments) -> None:
        if method == (amqp.CONNECTION, 51):
            self.line.finish()
        elif method == (amqp.CONNECTION, 50):
            for channel in [*self.numbered.values()]:
                channel.end()
            self.write(amqp.method(0, (amqp.CONNECTION, 51)))
            self.line.finish()
        elif self._closing:
            return
        elif method == (amqp.CONNECTION, 11):
            self._log_in(arguments)
        elif method == (amqp.CONNECTION, 31):
            arguments.short()
            self.frame_max, self._heartbeat = arguments.long(), arguments.short()
            if self._heartbeat:
                self.broker.world.after(self._heartbeat / 2, self._beat)
        elif method == (amqp.CONNECTION, 40):
            self.write(amqp.method(0, (amqp.CONNECTION, 41), "s", ""))
        else:
            raise AssertionError(f"{self.client} sends {method} on a connection")

    def _channel_frame(self, kind: int, number: int, payload: bytes) -> None:
        channel = self.numbered.get(number)
        if kind == amqp.METHOD and payload[:4] == b"\x00\x14\x00\x0a":
            assert channel is None, f"{self.client} opens channel {number} again"
            channel = self.numbered[number] = AmqpChannel(self, number)
            self.channels.append(channel)
            assert len(self.numbered) <= MOST_CHANNELS + self.broker.shards, (
                f"{self.client} has {len(self.numbered)} channels"
            )
            self.write(amqp.method(number, (amqp.CHANNEL, 11), "S", b""))
        elif channel is None:
            raise AssertionError(f"{self.client} sends on channel {number}, which is not open")
        else:
            channel.frame(kind, payload)

    # Login and heartbeats -------------------------------------------------------------------------------------------

    def _start(self) -> None:
        properties = {
            "capabilities": dict.fromkeys(CAPABILITIES, True),
            "cluster_name": "rabbit@host",
            "product": "RabbitMQ",
            "version": self.broker.version,
        }
        self.write(amqp.method(0, (amqp.CONNECTION, 10), "BBFSS", 0, 9, properties, "PLAIN AMQPLAIN", "en_US"))

    def _log_in(self, arguments: Arguments) -> None:
        self.role = arguments.table()["connection_name"]
        command = self.role.rpartition(" ")[2]
        self.operator = command if command in OPERATORS else ""
        self.broker.connected += command == "consumer"
        mechanism, response = arguments.shortstr(), arguments.longstr()
        assert PASSWORD in response, f"{self.client} logs in by {mechanism} without its password"
        if self.broker.denied.get("login"):
            self.refuse(403, f"ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}.")
        else:
            self.write(amqp.method(0, (amqp.CONNECTION, 30), "HIH", 2047, self.frame_max, 60))

    def refuse(self, code: int, text: str) -> None:
        """End it with a reason. The client may answer, or not."""
        self._closing = True
        self.write(amqp.method(0, (amqp.CONNECTION, 50), "HsHH", code, text, 0, 0))
        self.broker.world.after(2.0, self.line.finish)

    def _beat(self) -> None:
        if not self.open:
            return
        if not self._spoke:
            self.write(amqp.WITHOUT_TIDINGS)
        self._silent = 0 if self._heard or self._blocked else self._silent + 1
        self._spoke = self._heard = False
        if self._silent >= 4:
            self.broker.world.say("RabbitMQ", "has missed heartbeats of", self.client)
            self.line.finish()
        else:
            self.broker.world.after(self._heartbeat / 2, self._beat)

    # What goes ------------------------------------------------------------------------------------------------------

    def write(self, *frames: bytes) -> None:
        """Send frames, or those up to where it is cut."""
        self._spoke = True
        if self.writes < 0:
            self.line.send(b"".join(frames))
            return
        if self.writes > len(frames):
            self.writes -= len(frames)
            self.line.send(b"".join(frames))
            return
        sent, rest = frames[: self.writes], frames[self.writes :]
        part = rest[0][: len(rest[0]) // 2] if rest and self.half else b""
        self.line.send(b"".join([*sent, part]))
        self.line.open = False  # what is written from now on goes nowhere
        self.broker.world.after(0.0, self._end_after_what_was_sent)

    def _end_after_what_was_sent(self) -> None:
        self.line.open = True
        self.line.finish()

    # What befalls it ------------------------------------------------------------------------------------------------

    def block(self) -> None:
        """Read no more, by an alarm."""
        if not self._blocked:
            self._blocked = True
            self.write(amqp.method(0, (amqp.CONNECTION, 60), "s", "low on memory"))

    def unblock(self) -> None:
        """Read again."""
        if self._blocked:
            self._blocked = False
            self.write(amqp.method(0, (amqp.CONNECTION, 61)))
            self._read()

    def cut(self, why: str, *, noticed_after: float | None = 0.0) -> None:
        """End it; the client can know it later only, where its peer is gone without a word."""
        self.broker.world.say("RabbitMQ", why, self.client)
        self.line.reset(noticed_after=noticed_after)
        if self._ended and not self._blocked:
            self._gone()  # the client was gone before, with frames to be read still

    def die(self, *, with_a_word: bool) -> None:
        """End it now, as its broker ends."""
        self._blocked = False
        if with_a_word:
            text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
            self.write(amqp.method(0, (amqp.CONNECTION, 50), "HsHH", 320, text, 0, 0))
            self.line.finish()
        else:
            self.cut("is gone")
        self._gone()

    def _gone(self) -> None:
        if self.open:
            self.open = False
            self.broker.connections.remove(self)
            for channel in [*self.numbered.values()]:
                channel.end()
