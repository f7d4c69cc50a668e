"""Way from the model of RabbitMQ to the relay, by the contract's protocol `Source`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

from celery_event_bridge.contract.broker import Ack, BrokerUnavailable, GivenBack, Message, RefusedForGood
from celery_event_bridge.contract.budget import Budget, Room
from tests.simulation.knobs import Knobs
from tests.simulation.messages import Published
from tests.simulation.process import Process
from tests.simulation.promises import Broken
from tests.simulation.rabbitmq.modelled_queues import TTL, Entry, Queue
from tests.simulation.rabbitmq.modelled_rabbitmq import FEW_ACKS, Channel, Connection, RabbitMQ

TURN = 0.001
"""Seconds that a turn of the loop takes at least."""
QUIET = 0.5
"""Seconds without a delivery, with nothing in hand, after which a channel is replaced: the plug-in takes five."""
COARSE = 0.02
"""Seconds that a short wait is drawn out to: a busy machine does no better, and a run has fewer turns."""


class Delivered(Message, frozen=True, gc=False):
    """A message with what the oracle knows it by."""

    number: int = 0


class ModelSource:
    """See `celery_event_bridge.contract.broker.Source`. A call that asks RabbitMQ waits for its answer."""

    def __init__(self, process: Process, rabbit: RabbitMQ, knobs: Knobs) -> None:
        self._process = process
        self._rabbit = rabbit
        self._prefetch = knobs.prefetch
        self._budget = Budget(knobs.max_inflight_bytes, knobs.max_message_bytes)
        self._connection: Connection | None = None
        self._channels: list[Channel] = []
        self._inbox: list[tuple[Channel, int, Entry]] = []
        self.has_consumed = False
        self.in_hand: dict[tuple[Channel, int], Published] = {}
        """Messages that were polled and are not acknowledged or given back, by channel and tag."""
        self.is_being_parked: Callable[[Hashable, int], bool] = lambda *_: False
        """Tells of a delivery, by lane and tag, whether the parking has it and has not confirmed it."""
        self.stop_at_singles: Callable[[], None] | None = None
        """Called with the next single acknowledgements past those that RabbitMQ takes at once."""
        self._refused = False
        self._quiet_since = 0.0

    depths: Mapping[str, int] = {}
    leaves_after: float | None = TTL
    held_up: str | None = None

    def open(self) -> None:
        self._process.wait(self._rabbit.delay())
        if not self._rabbit.up:
            raise BrokerUnavailable("connection refused")
        if self._rabbit.refuses_queue:
            if self._refused and not self.has_consumed:
                raise Broken(f"refused: {self._process.name} has never consumed, was refused for good, and asks again")
            self._refused = True
            raise RefusedForGood("the queue is there with other arguments")
        self._connection = self._rabbit.connect(self._process.name, self._arrived)
        self._connection.lost = self._process.wake
        self._answered()

    def consume(self) -> None:
        for queue, prefetch in ((self._rabbit.live, self._prefetch), (self._rabbit.overflow, self._prefetch // 4)):
            self._answered()
            self._channels.append(self._opened(queue, prefetch))
        self.has_consumed = True

    def poll(self, timeout: float) -> Sequence[Message]:
        self._connected()
        if not self._inbox:
            self._process.wait(max(timeout, COARSE) if timeout else TURN)
        else:
            self._process.wait(TURN)
        self._connected()
        arrived, self._inbox = self._inbox, []
        arrived = [one for one in arrived if self._takes(one[0])]
        if arrived:
            self._quiet_since = self._process.world.now
        self.in_hand.update(((channel, tag), entry.message) for channel, tag, entry in arrived)
        return [
            Delivered(
                channel.lane,
                tag,
                entry.message.body,
                entry.message.content_type,
                entry.message.headers,
                redelivered=entry.returned,
                expired=entry.expired,
                number=entry.message.number,
            )
            for channel, tag, entry in arrived
        ]

    def _takes(self, channel: Channel) -> bool:
        """Return whether what has arrived on a channel is taken."""
        return channel.open

    def steer(self, held_bytes: int, largest: Callable[[], int]) -> None:
        connection = self._connected()
        if not self._channels:
            return
        held_bytes += sum(len(entry.message.body) for _, _, entry in self._inbox)
        if not held_bytes and self._process.world.now - self._quiet_since > QUIET:
            self._replace_quiet()
        room = self._budget.room(held_bytes, largest)
        if room is Room.GIVE_BACK:
            self._prefetch = max(1, self._prefetch // 4)  # so does the plug-in, or all would come again at once
            raise GivenBack("too many bytes in hand")
        for channel in self._channels:
            if room is Room.PAUSE and channel.consuming:
                self._answered()
                channel.cancel()
            elif room is Room.TAKE and not channel.consuming and connection.open:
                self._answered()
                channel.consume(self._prefetch)

    def _replace_quiet(self) -> None:
        """Replace a channel, as the plug-in does where nothing comes."""
        self._quiet_since = self._process.world.now
        index = int(self._process.world.random.random() * len(self._channels))
        old = self._channels[index]
        self._answered()
        old.close()
        self._channels[index] = self._opened(old.queue, old.prefetch)

    def _opened(self, queue: Queue, prefetch: int) -> Channel:
        channel = Channel(self._connected(), queue)
        channel.lane = object()
        self._connected().channels.append(channel)
        channel.consume(max(1, prefetch))
        return channel

    def acknowledge(self, acks: Sequence[Ack]) -> None:
        connection = self._connected()
        if self.stop_at_singles and sum(not ack.multiple for ack in acks) > FEW_ACKS:
            stop, self.stop_at_singles = self.stop_at_singles, None
            stop()
        for ack in acks:
            channel = self._channel(ack.lane)
            self._say("acknowledges", channel.queue.name, ack.tag, "and all before" if ack.multiple else "")
            for one in [one for one in self.in_hand if one[0] is channel]:
                if one[1] == ack.tag or (ack.multiple and one[1] < ack.tag):
                    del self.in_hand[one]
            connection.to_broker(lambda channel=channel, ack=ack: channel.acknowledge(ack.tag, multiple=ack.multiple))

    def give_back(self, messages: Sequence[Ack]) -> None:
        connection = self._connected()
        for each in messages:
            channel = self._channel(each.lane)
            self._say("gives back", channel.queue.name, each.tag)
            message = self.in_hand.pop((channel, each.tag), None)
            if message is not None and self.is_being_parked(each.lane, each.tag):
                raise Broken(f"twice: message {message.number} is given back while it is being parked")
            connection.to_broker(channel.reject, each.tag)

    def make_room(self, lane: Hashable) -> None:
        self._channel(lane).prefetch += 1

    def let_go(self) -> None:
        self._close_channels(in_order=False)

    def cancel(self) -> None:
        for channel in self._channels:
            self._answered()
            channel.cancel()
        self._inbox = []

    def close(self) -> None:
        self._close_channels(in_order=True)
        self._answered()
        self._connected().cut("closed in order")
        self._connection = None

    def drop(self) -> None:
        connection, self._connection = self._connection, None
        self._channels, self._inbox = [], []
        self.in_hand.clear()
        if connection is not None:
            connection.cut("closed by the client")

    def _arrived(self, deliveries: list[tuple[Channel, int, Entry]]) -> None:
        if not self._process.dead:
            self._inbox += deliveries
            self._process.wake()

    def _connected(self) -> Connection:
        if self._connection is None:
            raise BrokerUnavailable("not connected")
        if self._connection.error is not None:
            raise BrokerUnavailable(self._connection.error)
        return self._connection

    def _answered(self) -> None:
        """Wait until RabbitMQ has answered. What was sent before has arrived then, as frames keep their order."""
        connection = self._connected()
        done: list[bool] = []

        def answer() -> None:
            done.append(True)
            self._process.wake()

        connection.to_broker(answer)
        while not done:
            self._process.wait(COARSE)
            self._connected()

    def _close_channels(self, *, in_order: bool) -> None:
        channels, self._channels = self._channels, []
        for channel in channels:
            self._answered()
            channel.close(in_order=in_order)
        self._inbox = []
        self.in_hand.clear()

    def _channel(self, lane: Hashable) -> Channel:
        for channel in self._channels:
            if channel.lane is lane:
                return channel
        raise AssertionError(f"{self._process.name} names a channel that it has closed")

    def _say(self, *what: object) -> None:
        self._process.world.say(self._process.name, *what)  # type: ignore[arg-type]
