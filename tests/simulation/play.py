"""A play: three replicas, publishers, a broker and a stream, under the cards that a seed deals, judged to its end."""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation import faults
from tests.simulation.faults import Card
from tests.simulation.kinds import Kind, kind_of
from tests.simulation.messages import Published, message
from tests.simulation.oracle import Broken, Oracle
from tests.simulation.rabbitmq import RETRY_DEAD_LETTERS
from tests.simulation.replica import Replica
from tests.simulation.virtual import virtual
from tests.simulation.world import World

SECONDS = 30.0
"""Simulated seconds in which the cards are dealt."""
CARDS = 300
REPLICAS = 3
EVERY = 0.1
"""Seconds between two rounds of publishing."""
RECOVERY = 25.0
"""Seconds after the last fault within which every replica consumes again: the longest pause between two attempts, the
longest wait for a heartbeat, and a start."""


class Play:
    """One seed in one kind of world."""

    def __init__(self, seed: str, kind: str = "contract", cards: Sequence[Card] | None = None) -> None:
        """Begin; with `cards`, those in the place of what the seed deals."""
        self.seed = seed
        self.world = World(f"{kind} {seed}")
        self.oracle = Oracle()
        self.cards = faults.deal(seed, CARDS, SECONDS, [*kind_of(kind).cards]) if cards is None else cards
        self._kind = kind
        self._number = 0
        self._rate = self.world.between(1, 30)
        """Messages a round."""

    def run(self) -> None:
        """Play it. Raises Broken, or whatever a model or the bridge raises."""
        with virtual(self.world, kind_of(self._kind).in_place):
            self.kind: Kind = kind_of(self._kind)(self)
            self.oracle.asks(self.kind.is_stored, self.kind.is_parked)
            self.replicas: list[Replica] = []
            try:
                self.replicas += (Replica(self.kind, f"replica {number}") for number in range(REPLICAS))
                self._run()
            finally:
                for replica in self.replicas:
                    replica.process.kill()
                self.kind.undo()

    def _run(self) -> None:
        world = self.world
        for card in self.cards:
            world.after(card.at, self._play, card)
        world.after(0.0, self._round)
        world.run(SECONDS)
        world.say("cards", "all is over")
        self.kind.heal()
        for replica in self.replicas:
            replica.process.thaw()
        world.run(world.now + RECOVERY)
        if deaf := [replica.name for replica in self.replicas if not self.kind.consumes(replica)]:
            raise Broken(f"held up: {deaf[0]} does not consume {RECOVERY:g} s after the last fault")
        world.run(world.now + RETRY_DEAD_LETTERS + RECOVERY)
        self.kind.judge()
        queues = (self.kind.rabbit.live, self.kind.rabbit.overflow)
        self.oracle.finish([f"{len(one)} messages wait in {one.name}" for one in queues if len(one)])

    def publish(self, count: int) -> None:
        """Publish so many messages, as far as RabbitMQ takes them now."""
        for _ in range(count):
            self._number += 1
            one: Published = message(self.world, self._number, self.kind.refuses)
            self.oracle.publishes(one)
            if self.kind.rabbit.publish(one):
                self.oracle.confirmed(one)

    def _play(self, card: Card) -> None:
        self.world.say("cards", card.name, card.who, card.much)
        self.kind.cards[card.name](self, card)

    def _round(self) -> None:
        self.publish(int(self.world.random.random() * 2 * self._rate))
        for replica in self.replicas:
            replica.check_memory()
        if self.world.now + EVERY < SECONDS:
            self.world.after(EVERY, self._round)
