"""Kind `operators`: the world `wire` with somebody who sends what is parked again, and moves to other queues."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

# All that the plug-in imports when it is used: what is imported within a play would keep that world's clock.
from celery_event_bridge.brokers.rabbitmq import migration, operator_queues as __, parked as ___, unready  # noqa: F401
from tests.simulation.faults import Card
from tests.simulation.operators import operator_cards
from tests.simulation.operators.counted_broker import CountedBroker
from tests.simulation.operators.operator import Operator
from tests.simulation.promises import Broken
from tests.simulation.rabbitmq import modelled_queues
from tests.simulation.wire.broker import LIVE, OVERFLOW, REJECTED, Broker
from tests.simulation.wire.wire import Wire

if TYPE_CHECKING:
    from tests.simulation.play import Play
    from tests.simulation.process import Process

BEFORE = (LIVE, OVERFLOW, REJECTED)
RETRY, HELD_BACK_FOR = 18.0, 28.0
"""Seconds after which RabbitMQ tries a dead-letter route again, and for which a migration waits for that: a tenth of
the first, and the same ten seconds between them, so that migrations end while there are faults."""
LAST_COMMAND = 600.0
"""Seconds after everything within which a migration ends that is killed a few times more."""
DRAINED_AFTER = 30.0
"""Seconds within which what a command has put into a queue is out of it."""


class Operators(Wire):
    """See the module's text."""

    cards: ClassVar[Mapping[str, Callable[[Play, Card], None]]] = {**Wire.cards, **operator_cards.CARDS}
    restricted: ClassVar[bool] = False
    broker: ClassVar[type[Broker]] = CountedBroker
    rabbit: CountedBroker

    def __init__(self, play: Play) -> None:
        super().__init__(play)
        self.operators: dict[str, Operator] = {}
        """By command, the last that was said."""

    @staticmethod
    def in_place(_: Callable[[], float]) -> list[tuple[object, str, object]]:
        return [
            (modelled_queues, "RETRY_DEAD_LETTERS", RETRY),
            (migration, "HELD_BACK_FOR", HELD_BACK_FOR),
            (unready.Unready.__init__, "__kwdefaults__", {"held_back_for": HELD_BACK_FOR, "sampled_within": 0.0}),
        ]

    def queue_of(self, process: Process) -> str:
        """Return the name of the live queue by the settings that a process was started with."""
        return self._plugins[process.number].names()["queue"]

    def is_parked(self, number: int) -> bool:
        return self.rabbit.keeps(number)

    def calm(self) -> None:
        """Wait until every command has come to its end, and look whether all is as it says."""
        for operator in self.operators.values():
            operator.heal()  # also those that began since
        world = self.play.world
        until = world.now + LAST_COMMAND
        while (left := [one for one in self.operators.values() if not one.done]) and world.now < until:
            world.run(world.now + 1.0)
        if left:
            raise Broken(f"held up: {left[0].name} was said {left[0].runs} times and is not done")
        world.run(world.now + (DRAINED_AFTER if self.operators else 0.0))
        if self.rabbit.name != LIVE and (old := [name for name in self.rabbit.queues if name in BEFORE]):
            raise Broken(f"held up: {old[0]} is there after the migration")
        super().calm()

    def heal(self) -> None:
        super().heal()
        for operator in self.operators.values():
            operator.heal()
