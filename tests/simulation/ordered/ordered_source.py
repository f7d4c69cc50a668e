"""Source that has a lane for each shard, and hands shards over: empty, or, where that takes too long, all at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from celery_event_bridge.contract.broker import GivenBack
from celery_event_bridge.contract.budget import Room
from tests.simulation.contract.source import ModelSource
from tests.simulation.knobs import Knobs
from tests.simulation.ordered.shards import ShardedRabbitMQ
from tests.simulation.process import Process
from tests.simulation.rabbitmq.modelled_rabbitmq import Channel

LEAVE_WITHIN = 3.0
"""Seconds in which a lane that leaves has nothing in hand any more, or all goes back; the plug-in takes ten."""


class OrderedSource(ModelSource):
    """See `celery_event_bridge.contract.broker.InOrder`. All consumers of a shard have the same prefetch, for good."""

    ordered = True
    leaves_after = None

    def __init__(self, process: Process, rabbit: ShardedRabbitMQ, knobs: Knobs) -> None:
        super().__init__(process, rabbit, knobs)
        self._prefetch = max(1, knobs.prefetch // len(rabbit.consumed))
        self._leaving: dict[Channel, float] = {}
        """Channels of which no more is taken, and since when."""
        self.gives_back = False
        """True if all that is in hand is to go back, as where it is too much."""

    def consume(self) -> None:
        for queue in self._rabbit.consumed:
            self._answered()
            self._channels.append(self._opened(queue, self._prefetch))
        self.has_consumed = True

    def steer(self, held_bytes: int, largest: Callable[[], int]) -> None:
        self._connected()
        if not self._channels:
            return
        if self.gives_back:
            self.gives_back = False
            raise GivenBack("told so by a card")
        held_bytes += sum(len(entry.message.body) for _, _, entry in self._inbox)
        if self._budget.room(held_bytes, largest) in (Room.PAUSE, Room.GIVE_BACK):
            for channel in self._holding():
                self._leave(channel)
        else:
            self._hand_over()

    def leave(self, number: float) -> None:
        """Hand over one of the shards, by a number between 0 and 1."""
        if self._channels:
            self._leave(self._channels[int(number * len(self._channels))])

    def leave_all(self) -> None:
        """Hand over every shard."""
        for channel in self._channels:
            self._leave(channel)

    def _leave(self, channel: Channel) -> None:
        if channel not in self._leaving:
            self._say("leaves", channel.queue.name)
            self._leaving[channel] = self._process.world.now

    def _hand_over(self) -> None:
        """Let go of those that have nothing in hand any more, and go to the end of their line."""
        holding = self._holding()
        for channel, since in [*self._leaving.items()]:
            if channel not in holding:
                self._answered()
                self._channels.remove(channel)
                channel.close()
                del self._leaving[channel]
                self._channels.append(self._opened(channel.queue, self._prefetch))
            elif self._process.world.now - since > LEAVE_WITHIN:
                raise GivenBack(f"{channel.queue.name} is not handed over within {LEAVE_WITHIN:g} s")

    def _holding(self) -> Sequence[Channel]:
        """Return those of which something is in hand."""
        return [*dict.fromkeys(channel for channel, _ in self.in_hand)]

    def _takes(self, channel: Channel) -> bool:
        return channel in self._channels and channel not in self._leaving

    def make_room(self, lane: Hashable) -> None:
        """Change nothing: the prefetch of all that stand in one line is the same."""

    def cancel(self) -> None:
        """Take nothing more: to cancel would give what comes next to the next in line, before ours is stored."""
        self.leave_all()
        self._answered()  # what was acknowledged has arrived
        self._inbox = []

    def drop(self) -> None:
        super().drop()
        self._leaving.clear()

    def _close_channels(self, *, in_order: bool) -> None:
        super()._close_channels(in_order=in_order)
        self._leaving.clear()
