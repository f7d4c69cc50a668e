"""RabbitMQ as the source: one connection, a channel for the live queue and one for overflow.

It never publishes: under a memory or disk alarm RabbitMQ blocks a connection that has published, and then its
acknowledgements stop too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from celery_event_bridge.brokers.rabbitmq.bulk import CHUNK, reader
from celery_event_bridge.brokers.rabbitmq.connection import abandon, translated
from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.lane import Lane
from celery_event_bridge.brokers.rabbitmq.lanes import Lanes
from celery_event_bridge.brokers.rabbitmq.left_behind import LeftBehind
from celery_event_bridge.brokers.rabbitmq.readable import Readable
from celery_event_bridge.brokers.rabbitmq.urls import Urls
from celery_event_bridge.brokers.rabbitmq.watches import Watches
from celery_event_bridge.contract import LOOK_INTERVAL
from celery_event_bridge.contract.broker import Ack, BrokerUnavailable, GivenBack
from celery_event_bridge.contract.budget import Budget, Room
from celery_event_bridge.contract.secrets import hide_in_url

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings
    from celery_event_bridge.brokers.rabbitmq.topology import Topology

LITTLE = 4096
"""Bytes below which all that was there has been read: more is not asked for."""
POLL_MESSAGES, POLL_BYTES = 500, 4 * CHUNK
"""Messages and bytes after which a poll reads no more, so that the loop turns."""


class AmqpSource:
    """See the protocol `celery_event_bridge.contract.broker.Source` for what each method does and when it is called."""

    def __init__(
        self,
        settings: Settings,
        topology: Topology,
        location: Callable[[], str] | None = None,
        parked_body: Callable[[], float] = lambda: 0.0,
        left: LeftBehind | None = None,
        look_interval: float = LOOK_INTERVAL,
    ) -> None:
        """`location` says where the events are stored, for the mark that other deployments see; None: no mark.

        `parked_body` says how many bytes a parked message has, the mean; `left` looks at the brokers of other URLs.
        """
        self._settings = settings
        self._topology = topology
        self._urls = Urls(settings)
        self._connection: amqp.Connection | None = None
        self._inbox: list[Delivered] = []
        self._budget = Budget(settings.max_inflight_bytes, settings.max_message_bytes)
        left = left or LeftBehind(settings, topology)
        self._watches = Watches(settings, topology, location, parked_body, left, look_interval)
        self._lanes = Lanes(settings, topology, self._watches, self._deliver)

    @property
    def depths(self) -> Mapping[str, int]:
        """Ready messages by queue, as last seen."""
        return self._watches.depths

    @property
    def leaves_after(self) -> float | None:
        """Seconds of age at which a live message that is given back goes on to overflow."""
        return self._settings.queue_ttl if self._topology.overflow else None

    @property
    def ordered(self) -> bool:
        """True if each queue's events are to be stored in their order."""
        return self._topology.ordered

    @property
    def held_up(self) -> str | None:
        """Name what keeps events from us though the live queue is consumed; None where nothing does."""
        overflow = self._topology.overflow
        if self._watches.held_up:
            return self._watches.held_up
        if overflow is None or not self._lanes or self._lanes.drains:
            return None
        return f"queue {overflow.name!r} cannot be consumed: what is in it waits"

    def open(self) -> None:
        """Connect to the next URL and declare the queues."""
        self._connection = self._urls.connect()
        self._lanes.begin(self._connection)
        self._reader = reader(self._connection, self._lanes.scanner)
        self._readable = Readable(self._connection)
        with translated("declaring the queues"):
            self._watches.open(self._connection, self._urls.current)

    def consume(self) -> None:
        """Open the channels and consume: live first."""
        with translated("consuming"):
            self._lanes.consume()

    def poll(self, timeout: float) -> Sequence[Delivered]:
        """Read what has arrived; see to the heartbeat, and to what is ours there."""
        connection = self._connected()
        with translated("connection lost"):
            connection.heartbeat_tick()
            self._look()
            if self._inbox:
                timeout = 0.0
            read = 0
            while self._readable.within(timeout):
                try:
                    read += (came := self._reader.read(self._inbox))
                except TimeoutError:
                    break
                if 0 < came < LITTLE or len(self._inbox) >= POLL_MESSAGES or read >= POLL_BYTES:
                    break
                timeout = 0.0
        return self._take_inbox()

    def steer(self, held_bytes: int, largest: Callable[[], int]) -> None:
        """Cancel the consumers, or consume again, as the budget says; follow the windows."""
        self._watches.upkeep.steered(receiving=bool(self._lanes) and not held_bytes)
        if not self._lanes:
            return
        held_bytes += sum(len(message.body) for message in self._inbox)
        room = self._budget.room(held_bytes, largest)
        is_full = room in (Room.PAUSE, Room.GIVE_BACK)
        if is_full and self.ordered:
            # A smaller prefetch, with which all would come again, would turn an order round.
            room = Room.PAUSE
            self._lanes.take_no_more()
        elif room is Room.GIVE_BACK:
            # What the broker has already written to the socket cannot be called back, only cut off.
            for lane in self._lanes:
                lane.window.shrink()
            self._urls.go_to(self._urls.current)
            raise GivenBack(f"{held_bytes} bytes in hand, twice BRIDGE_MAX_INFLIGHT_BYTES: given back")
        if not is_full:
            with translated("sharing the shards out"):
                self._lanes.share_out()
        if not held_bytes:
            self._go_where_something_waits()
            with translated("consuming anew, as nothing has come for a while"):
                self._lanes.replace_quiet()
        with translated("changing the prefetch"):
            for lane in self._lanes:
                lane.adjust(room)

    def _go_where_something_waits(self) -> None:
        """Leave this broker, with nothing in hand, for another one whose queues nobody consumes."""
        if (url := self._watches.destination()) is not None:
            self._urls.go_to(url)
            raise GivenBack(f"messages wait at another broker, {hide_in_url(url)}")

    def acknowledge(self, acks: Sequence[Ack]) -> None:
        """Send the acknowledgements."""
        with translated("acknowledging"):
            for ack in acks:
                cast("Lane", ack.lane).acknowledge(ack.tag, multiple=ack.multiple)

    def give_back(self, messages: Sequence[Ack]) -> None:
        """Reject each, to be delivered again."""
        with translated("giving back"):
            for each in messages:
                cast("Lane", each.lane).give_back(each.tag)

    def make_room(self, lane: Hashable) -> None:
        """Count a message against the lane's prefetch until it consumes anew, which `steer` sees to."""
        cast("Lane", lane).aside += 1

    def let_go(self) -> None:
        """Close the consuming channels."""
        with translated("letting go"):
            for lane in self._lanes.take_all():
                lane.close()
        self._take_inbox()

    def cancel(self) -> None:
        """Cancel the consumers. What had not been polled yet goes back when the channels close."""
        with translated("cancelling the consumers"):
            for lane in self._lanes:
                lane.finish()
        self._take_inbox()

    def close(self) -> None:
        """Channels first, then the connection."""
        connection = self._connected()
        self.let_go()
        with translated("closing"):
            connection.close()
        self._connection = None
        self._watches.drop()

    def drop(self) -> None:
        """Cut the connection."""
        abandon(self._connection)
        self._connection = None
        self._lanes.take_all()
        self._watches.drop()
        self._take_inbox()

    def _connected(self) -> amqp.Connection:
        if self._connection is None:
            raise BrokerUnavailable("not connected")
        return self._connection

    def _deliver(self, message: Delivered) -> None:
        self._inbox.append(message)

    def _take_inbox(self) -> list[Delivered]:
        messages, self._inbox = self._inbox, []
        if self._lanes.some_left:  # of one that is closed by now, too
            messages = [message for message in messages if not cast("Lane", message.lane).leaves]
        if messages:
            for lane in self._lanes:
                lane.observe(messages)
            self._watches.arrived(messages)
        return messages

    def _look(self) -> None:
        """See again to what is ours on the broker and others can change."""
        if not self._watches.begin():
            return
        self._lanes.try_overflow()
        self._lanes.take_former()
        self._watches.finish(
            drains=self._lanes.drains, mean_live=self._lanes.mean_live, mean_overflow=self._lanes.mean_overflow
        )
