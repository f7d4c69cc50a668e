"""Cards of what operators do while all the rest goes on: send again what is parked, and move to other queues.

A card for a command that is under way kills it; it is said again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from celery_event_bridge.brokers.rabbitmq.plugin import RabbitMQ
from celery_event_bridge.contract.broker_plugin import Parked, QueuesInUse
from tests.simulation.faults import Card, Cards
from tests.simulation.operators.operator import Operator
from tests.simulation.wire.broker import LIVE

if TYPE_CHECKING:
    from tests.simulation.operators.operators_kind import Operators
    from tests.simulation.play import Play

WAIT, SHORT_WAIT = 300.0, (1.0, 30.0)
"""Seconds that `queues migrate` waits, by default and where somebody has said less, in every third command."""
LAST_LINES = 9
"""Lines of `queues migrate`, at most, at each of which it may be killed."""
ROLLS_OUT = 15.0
"""Seconds within which every bridge is started with the new settings."""
NOTHING_BESIDE, NOTHING_LEFT = "is beside it", "there is no queue"
"""What it says where the parking queue was deleted, and where nothing is there to be moved."""


def _requeue(play: Play, card: Card) -> None:
    """Send some again, by the first digit of their id."""
    kind = _kind(play)
    if _is_under_way(kind, "requeue"):
        return

    def wanted(parked: Parked) -> bool:
        return int(parked.id[0], 16) <= card.who * 16

    def command(operator: Operator) -> None:
        with RabbitMQ(kind.settings).parked() as queue:
            operator.tell(f"{queue.requeue(wanted)} sent again")
            queue.in_hand()

    often = int(card.much * 4)
    kills = [(0, play.world.between(0.001, 10.0)) for _ in range(often)]
    kind.operators["requeue"] = Operator(play.world, "requeue", command, kills)


def _migrate(play: Play, card: Card) -> None:
    """Move all bridges to another queue, once in a play; they are started anew before the command, or after."""
    kind, world = _kind(play), play.world
    if _is_under_way(kind, "migrate") or kind.rabbit.name != LIVE:
        return
    old = kind.settings
    new = kind.settings = old.model_copy(
        update={
            "queue": f"{old.queue}2",
            "queue_ttl": 5.0 if card.much < 0.5 else 10.0,
            "overflow_max_bytes": 9 * 10**6,
        }
    )
    kind.rabbit.name = new.queue

    def command(operator: Operator) -> None:
        with RabbitMQ(new).queues() as queues:
            try:
                hurried = not operator.is_patient and world.chance(0.3)
                queues.migrate(old.queue, world.between(*SHORT_WAIT) if hurried else WAIT, operator.tell)
            except QueuesInUse as exc:
                if NOTHING_BESIDE in str(exc):
                    declare()
                if NOTHING_LEFT not in str(exc):
                    raise
                # It was killed behind its last step, or somebody has deleted them all.
        if old.queue in [kind.queue_of(replica.process) for replica in play.replicas]:
            raise QueuesInUse("a bridge of the old settings runs still, and may have declared its queues again")

    def declare() -> None:
        with RabbitMQ(old).queues() as queues:
            queues.declare()

    draw = world.random.random
    kills = [(int(draw() * LAST_LINES), world.between(0.0001, 5.0)) for _ in range(int(card.much * 5))]
    first = card.who * ROLLS_OUT
    for replica in play.replicas:
        world.after(draw() * ROLLS_OUT, replica.stop)
    world.after(first, _say, kind, command, kills)


def _say(kind: Operators, command: Callable[[Operator], None], kills: list[tuple[int, float]]) -> None:
    kind.operators["migrate"] = Operator(kind.play.world, "migrate", command, kills)


def _is_under_way(kind: Operators, name: str) -> bool:
    operator = kind.operators.get(name)
    if operator is not None and not operator.done:
        operator.kill()
        return True
    return False


def _kind(play: Play) -> Operators:
    return cast("Operators", play.kind)


CARDS: Cards = {"rejected requeue": _requeue, "queues migrate": _migrate}
