"""Lanes of one connection: the live queues' and overflow's, and their replacement."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed, ResourceLocked

from celery_event_bridge.brokers.rabbitmq.bulk import Scanner
from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.former import FormerQueues
from celery_event_bridge.brokers.rabbitmq.lane import Lane
from celery_event_bridge.brokers.rabbitmq.presence import OUR_TAG, presence_queue
from celery_event_bridge.brokers.rabbitmq.shard_lane import ShardLane
from celery_event_bridge.brokers.rabbitmq.share_out import ShareOut
from celery_event_bridge.brokers.rabbitmq.watches import Watches
from celery_event_bridge.brokers.rabbitmq.window import Window
from celery_event_bridge.contract.broker import BrokerUnavailable

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings
    from celery_event_bridge.brokers.rabbitmq.topology import Topology

OVERFLOW_PREFETCH = 200
"""Beside a live consumer on the same connection this delays live events by 10 ms; 2,000 would by 300 ms."""
QUIET_INTERVAL = 5.0
"""Seconds without a delivery after which a channel is replaced. When a queue is deleted and declared again at once,
RabbitMQ (seen with 3.10.8) may send no `basic.cancel`, and keeps what the channel should have from then on."""


class Lanes:
    """Lanes that are open, in the order in which they were opened. Calls raise what the client raises."""

    def __init__(
        self, settings: Settings, topology: Topology, watches: Watches, deliver: Callable[[Delivered], None]
    ) -> None:
        self._topology = topology
        self._watches = watches
        self._deliver = deliver
        self._open: list[Lane] = []
        self._owner = f"{uuid.uuid4().hex[:5]}."
        self._connection: amqp.Connection | None = None
        self.scanner = Scanner()
        """Taker of their deliveries."""
        # Overflow's share is small: fresh events go first.
        share = settings.max_inflight_bytes * 3 // 4 // len(topology.lives)
        self._live_windows = {queue.name: Window(settings.prefetch, share) for queue in topology.lives}
        self._overflow_window = Window(min(settings.prefetch, OVERFLOW_PREFETCH), settings.max_inflight_bytes // 4)
        shards, presence = [queue.name for queue in topology.lives], presence_queue(topology.name)
        self._shares = ShareOut(shards, presence, self._reopen) if topology.ordered else None
        self._declares = settings.declare
        self._former = FormerQueues(topology)
        self._overflow_refused = False
        """True if the last attempt to consume overflow failed."""
        self._reopened = False
        self._quiet_due = 0.0

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._open)

    def __bool__(self) -> bool:
        return bool(self._open)

    @property
    def some_left(self) -> bool:
        """Tell whether any of this connection's may have left."""
        return self._shares is not None or self._reopened

    @property
    def drains(self) -> bool:
        """Tell whether overflow is consumed."""
        return any(lane.expired for lane in self._open)

    @property
    def mean_live(self) -> float:
        """Bytes of a live message's body, lately."""
        return max(window.mean_body for window in self._live_windows.values())

    @property
    def mean_overflow(self) -> float:
        """Bytes of the body of one from overflow, lately."""
        return self._overflow_window.mean_body

    def begin(self, connection: amqp.Connection) -> None:
        """Begin on a connection just made, with none open."""
        self._connection, self._open, self.scanner, self._reopened = connection, [], Scanner(), False

    def consume(self) -> None:
        """Open the channels and consume: live first."""
        for name, window in self._live_windows.items():
            self._open_lane(name, window, expired=False, ordered=self._topology.ordered)
        self._former.begin()
        self._open_overflow()

    def take_all(self) -> list[Lane]:
        """Return all; none is open any more, as far as deliveries go."""
        lanes, self._open = self._open, []
        self.scanner.lanes.clear()
        return lanes

    def try_overflow(self) -> None:
        """Consume overflow, which could not be consumed before, if it can be now."""
        if self._open and not self.drains:
            self._open_overflow()

    def take_former(self) -> None:
        """Consume queues of former settings too, which nobody else does."""
        if not self._open or not self._declares:
            return
        for former in self._former.take(self._watches.upkeep.asking):
            if former.name not in [lane.queue for lane in self._open]:
                self._open_lane(former.name, self._overflow_window, expired=former.expired, ordered=former.ordered)

    def share_out(self) -> None:
        """See to an even share of the shards. Raises GivenBack."""
        if self._shares is not None:
            self._shares.see_to(self._open, self._watches.upkeep.asking)

    def take_no_more(self) -> None:
        """Let each shard of which something is in hand be handed over, since the memory is used up."""
        for lane in self._open:
            if isinstance(lane, ShardLane) and not lane.empty:
                lane.leave()

    def replace_quiet(self) -> None:
        """Replace each on which nothing arrives; to be called with nothing in hand."""
        now = time.monotonic()
        if now < self._quiet_due:
            return
        self._quiet_due = now + QUIET_INTERVAL
        for lane in [lane for lane in self._open if lane.was_quiet()]:
            self._reopen(lane)

    def _reopen(self, lane: Lane) -> None:
        """Close a channel, with nothing of it in hand, and open another one for the same queue."""
        self._reopened = True
        self._open.remove(lane)
        self.scanner.lanes.pop(lane.channel_number, None)
        lane.close()
        self._open_lane(lane.queue, lane.window, expired=lane.expired, ordered=isinstance(lane, ShardLane))

    def _open_lane(self, queue: str, window: Window, *, expired: bool, ordered: bool = False) -> None:
        made = ShardLane if ordered else Lane
        lane = made(
            self._channel(),
            queue,
            window,
            self._deliver,
            expired=expired,
            cancelled=self._watches.upkeep.cancelled,
            begins=self._watches.neighbours.drains if expired else lambda: None,
            owner=self._owner,
        )
        if self._shares is not None and isinstance(lane, ShardLane):
            lane.priority = self._shares.priority(queue)
        self._open.append(lane)
        lane.consume()
        self.scanner.lanes[lane.channel_number] = lane

    def _open_overflow(self) -> None:
        """Consume overflow too, if it can be: somebody else's queue of that name holds up no live event."""
        overflow = self._topology.overflow
        if overflow is None or overflow.name in self._watches.upkeep.differing.unusable:
            return
        lanes = len(self._open)
        try:
            if self._overflow_refused:
                self._try_to_consume(overflow.name)
            self._open_lane(overflow.name, self._overflow_window, expired=True)
        except (AccessRefused, NotFound, ResourceLocked, PreconditionFailed) as exc:
            del self._open[lanes:]
            self._watches.upkeep.differing.cannot_be_consumed(overflow.name, exc)
            self._overflow_refused = True
        else:
            self._overflow_refused = False
            self._watches.upkeep.differing.is_consumed(overflow.name)

    def _try_to_consume(self, queue: str) -> None:
        """Raise what the client raises where a queue still cannot be consumed, before the others are told that it is.

        What was delivered meanwhile, one message, goes back with the channel.
        """
        channel = self._channel()
        channel.basic_qos(0, 1, False)  # noqa: FBT003 - AMQP's own positional flag
        channel.basic_consume(queue, consumer_tag=f"{OUR_TAG}trial", callback=lambda _: None, on_cancel=lambda _: None)
        channel.close()

    def _channel(self) -> amqp.Channel:
        if self._connection is None:
            raise BrokerUnavailable("not connected")
        return self._connection.channel()
