"""Broker that knows in how many queues each message is, and judges what a command takes out of them, or deletes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.simulation.line import Line
from tests.simulation.messages import Published
from tests.simulation.scheduler import World
from tests.simulation.wire.amqp_server import AmqpConnection
from tests.simulation.wire.broker import Broker


class CountedBroker(Broker):
    """See the module's text."""

    def __init__(
        self,
        world: World,
        removed: Callable[[Published, str, str], None],
        connection: Callable[[Broker, Line], AmqpConnection],
    ) -> None:
        self.copies: Counter[int] = Counter()
        """How many of each message are in all queues together, by its number."""
        self.destroyed: set[int] = set()
        """Messages of which a bound has dropped a copy, or somebody with its queue."""
        super().__init__(world, removed, connection)

    def entered(self, message: Published) -> None:
        self.copies[message.number] += 1

    def publish(self, message: Published, *, expired: bool = False) -> bool:
        """Take a message of a worker into every queue that is bound; False where none gets it, or nobody can tell."""
        if not self.up or self.alarm or self.stalled:
            return False
        size = len(message.body)
        room = [queue for queue in self.queues.values() if self.binds(queue.name) and not queue.full(size)]
        if not room:
            return False
        self.messages[message.number] = message
        self.by_body[message.body] = message.number
        for queue in [self.overflow] if expired else room:
            queue.add(message, expired=expired)
        return True

    def _leaves(self, message: Published, queue: str, how: str) -> None:
        number = message.number
        self.copies[number] -= 1
        if self.operator and how in ("acknowledged", "deleted"):
            self.world.say(queue, f"{how} by", self.operator, number)
            if not self.copies[number] and number not in self.destroyed:
                self._judge(message, queue, "acknowledged")  # unless a bridge has seen to the other copy already
            return
        if how in ("dropped", "deleted"):
            self.destroyed.add(number)
        if not queue.endswith(".rejected"):
            self.world.say(queue, how, number)
            self._judge(message, queue, how)

    def keeps(self, number: int) -> bool:
        """Return whether a message that has to be parked was, and is in some queue still unless that was destroyed."""
        return number in self.parked and (self.copies[number] > 0 or number in self.destroyed)
