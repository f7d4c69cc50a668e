"""Deck of faults: each card is a time, a name, and numbers between 0 and 1 that say whom it meets, and for how long.

A list of cards is all that a seed deals, so that a failing one can be made shorter by leaving cards out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tests.simulation.play import Play
    from tests.simulation.replica import Replica


Cards = Mapping[str, Callable[["Play", "Card"], None]]
"""By name, what each does."""


RARE = 0.1


class Card(NamedTuple):
    """A fault to come."""

    at: float
    name: str
    who: float
    much: float

    def seconds(self, least: float, most: float) -> float:
        """Return how long it lasts: short ones are as frequent as long ones."""
        return float(least * (most / least) ** self.much)


def deal(
    seed: str, count: int, seconds: float, names: Sequence[str], preference: int = 3, rare: Collection[str] = ()
) -> list[Card]:
    """Deal so many cards over that time. Each seed prefers a few of the names, and few those that are `rare`."""
    draw = random.Random(f"cards {seed}")
    weights = [draw.random() ** preference * (RARE if name in rare else 1.0) for name in names]
    chosen = draw.choices(names, weights, k=count)
    times = sorted(draw.random() * seconds for _ in range(count))
    return [Card(at, name, draw.random(), draw.random()) for at, name in zip(times, chosen, strict=True)]


def _kill(play: Play, card: Card) -> None:
    one(play, card).kill()


def _kill_all(play: Play, card: Card) -> None:
    for replica in play.replicas:
        replica.kill()


def _stop(play: Play, card: Card) -> None:
    one(play, card).stop()


def _stop_at_single_acks(play: Play, card: Card) -> None:
    """Stop it when it acknowledges several one by one: RabbitMQ may hold such back, and they would go with a close."""
    replica = one(play, card)
    replica.source.stop_at_singles = replica.stop


def _freeze(play: Play, card: Card) -> None:
    replica, seconds = one(play, card), card.seconds(0.01, 30.0)
    play.world.say(replica.name, "is frozen for", seconds)
    replica.process.freeze(seconds)


def _set_clock(play: Play, card: Card) -> None:
    one(play, card).set_clock((card.much - 0.5) * 7200)


def _cut(play: Play, card: Card) -> None:
    if connections := play.kind.rabbit.connections:
        connections[int(card.who * len(connections))].cut("connection reset")


def _half_open(play: Play, card: Card) -> None:
    if connections := play.kind.rabbit.connections:
        connection = connections[int(card.who * len(connections))]
        connection.cut("no heartbeat", noticed_after=card.seconds(0.1, 20.0))


def _restart(play: Play, card: Card) -> None:
    play.kind.rabbit.stop()
    play.world.after(card.seconds(0.1, 10.0), play.kind.rabbit.start)


def _lose_leader(play: Play, card: Card) -> None:
    play.kind.rabbit.lose_leader(card.seconds(0.05, 10.0))


def _alarm(play: Play, card: Card) -> None:
    set_for(play, play.kind.rabbit, "alarm", True, False, card.seconds(0.1, 20.0))


def _break_route(play: Play, card: Card) -> None:
    set_for(play, play.kind.rabbit, "route_broken", True, False, card.seconds(0.1, 5.0))


def _double(play: Play, card: Card) -> None:
    play.kind.rabbit.doubles += 1 + int(card.much * 20)


def _slow_broker(play: Play, card: Card) -> None:
    set_for(play, play.kind.rabbit, "slow", card.seconds(0.001, 1.0), 0.0, card.who * 5)


def _sink_away(play: Play, card: Card) -> None:
    play.kind.stream.outages += 1
    play.world.after(card.seconds(0.1, 40.0), play.kind.stream.end_outage)


def _slow_sink(play: Play, card: Card) -> None:
    set_for(play, play.kind.stream, "slow", card.seconds(0.001, 3.0), 0.0, card.who * 5)


def _lose_answers(play: Play, card: Card) -> None:
    one(play, card).sink.lose_answers += 1 + int(card.much * 3)


def _fail_batches(play: Play, card: Card) -> None:
    one(play, card).sink.fail_batches += 1 + int(card.much * 3)


def _halve(play: Play, card: Card) -> None:
    one(play, card).sink.halve += 1 + int(card.much * 3)


def _late(play: Play, card: Card) -> None:
    one(play, card).sink.late += 1 + int(card.much * 3)


def _refuse_parking(play: Play, card: Card) -> None:
    one(play, card).parking.refuse += 1 + int(card.much * 5)


def _burst(play: Play, card: Card) -> None:
    play.publish(int(card.seconds(10, 400)))


def _parking_away(play: Play, card: Card) -> None:
    rabbit = play.kind.rabbit
    rabbit.parking_outages += 1
    play.world.after(card.seconds(1.0, 25.0), rabbit.end_parking_outage)


def _quiet(play: Play, card: Card) -> None:
    play.quiet_until = play.world.now + card.seconds(0.3, 8.0)


def _junk(play: Play, card: Card) -> None:
    play.publish(int(card.seconds(10, 300)), junk=True)


def _refuse_queue(play: Play, card: Card) -> None:
    set_for(play, play.kind.rabbit, "refuses_queue", True, False, card.seconds(0.1, 5.0))


def _refuse_large(play: Play, card: Card) -> None:
    set_for(play, play.kind.rabbit, "refuses_large", True, False, card.seconds(1.0, 20.0))


OF_REPLICAS: Cards = {
    "replica killed": _kill,
    "all replicas killed": _kill_all,
    "replica stopped": _stop,
    "replica frozen": _freeze,
    "clock set": _set_clock,
    "burst": _burst,
    "nothing published": _quiet,
    "burst of what has to be parked": _junk,
}
OF_RABBITMQ: Cards = {
    "connection cut": _cut,
    "connection half open": _half_open,
    "RabbitMQ restarted": _restart,
    "leader lost": _lose_leader,
    "alarm": _alarm,
    "replica stopped at single acknowledgements": _stop_at_single_acks,
    "dead letters refused": _break_route,
    "dead letters doubled": _double,
    "RabbitMQ slow": _slow_broker,
    "parking refused": _refuse_parking,
    "parking away": _parking_away,
    "parking refuses large ones": _refuse_large,
    "a queue of other arguments": _refuse_queue,
}
OF_STREAMS: Cards = {
    "stream away": _sink_away,
    "stream slow": _slow_sink,
    "answers lost": _lose_answers,
    "batches failed": _fail_batches,
    "batches stored by half": _halve,
    "answers late": _late,
}


def set_for(play: Play, what: object, name: str, value: object, before: object, seconds: float) -> None:
    """Set an attribute for so long."""
    setattr(what, name, value)
    play.world.after(seconds, setattr, what, name, before)


def one(play: Play, card: Card) -> Replica:
    """Return the replica that a card meets."""
    return play.replicas[int(card.who * len(play.replicas))]
