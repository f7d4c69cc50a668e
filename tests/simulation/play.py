"""A play: three replicas, publishers, a broker and a stream, under the cards that a seed deals, judged to its end."""

from __future__ import annotations

import random
from collections.abc import Sequence

from celery_event_bridge.forward.parker import REFUSED_AGAIN
from tests.simulation import calm, faults
from tests.simulation.faults import Card
from tests.simulation.kinds import Kind, kind_of
from tests.simulation.knobs import LARGEST, Knobs
from tests.simulation.messages import Published, message, unreadable
from tests.simulation.promises import Broken, Oracle
from tests.simulation.rabbitmq import modelled_queues
from tests.simulation.replica import Replica
from tests.simulation.scheduler import World
from tests.simulation.virtual import virtual

EVERY = 0.1
"""Seconds between two rounds of publishing."""


class Play:
    """One seed in one kind of world."""

    def __init__(self, seed: str, kind: str = "contract", cards: Sequence[Card] | None = None) -> None:
        """Begin; with `cards`, those in the place of what the seed deals."""
        self.seed = seed
        self.world = World(f"{kind} {seed}")
        self.oracle = Oracle()
        # Imported here: what is imported within a play would keep that world's clock.
        self.cards = self._deal(kind_of(kind)) if cards is None else cards
        self.knobs = Knobs.drawn(seed, scarce=kind_of(kind).scarce, restricted=kind_of(kind).restricted)
        self._kind = kind
        self._number = 0
        self.quiet_until = 0.0
        """Time until which nobody publishes."""
        self._rate = self.world.between(*kind_of(kind).rates)
        """Messages a round."""

    def _deal(self, kind: type[Kind]) -> Sequence[Card]:
        count, preference = random.Random(f"deck {self.seed}").choice(kind.decks)
        return faults.deal(self.seed, count, kind.seconds, [*kind.cards], preference, kind.rare)

    def run(self) -> None:
        """Play it. Raises Broken, or whatever a model or the bridge raises."""
        kind = kind_of(self._kind)
        with virtual(self.world, lambda clock: [*kind.in_place(clock), *self.knobs.in_place()]):
            self.kind: Kind = kind(self)
            self.oracle.asks(self.kind.is_stored, self.kind.is_parked)
            self.replicas: list[Replica] = []
            try:
                self.replicas += (Replica(self.kind, f"replica {number}") for number in range(self.kind.count))
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
        world.run(self.kind.seconds)
        world.say("cards", "all is over")
        self.kind.heal()
        for replica in self.replicas:
            replica.process.thaw()
        recovery = self.kind.recovery
        world.run(world.now + recovery)
        until = world.now + 3.0
        while (deaf := self._deaf()) and world.now < until:
            world.run(world.now + 1.0)  # a channel that is replaced consumes nothing for a moment
        if deaf:
            raise Broken(f"held up: {deaf[0]} does not consume {recovery:g} s after the last fault")
        self.kind.calm()
        # What the broker has refused for good comes again after that time.
        world.run(world.now + (REFUSED_AGAIN if self.kind.rabbit.has_refused else 0.0))
        world.run(world.now + modelled_queues.RETRY_DEAD_LETTERS + recovery)
        self.kind.provoke()
        calm.pass_through(self)
        self.kind.finish()
        self.kind.judge()
        queues = self.kind.rabbit.consumed
        for replica in self.replicas:
            replica.check_rest()
        self.oracle.finish([f"{len(one)} messages wait in {one.name}" for one in queues if len(one)])

    def _deaf(self) -> list[str]:
        return [replica.name for replica in self.replicas if not self.kind.consumes(replica)]

    def publish(self, count: int, *, junk: bool = False, expired: bool = False, plain: bool = False) -> list[Published]:
        """Publish so many messages, and return those that RabbitMQ takes.

        With `junk`, none that can be read; with `expired`, into overflow; with `plain`, small ones, all readable.
        """
        taken = []
        for _ in range(count):
            self._number += 1
            one = self._plain() if plain else self._drawn(junk=junk)
            self.oracle.publishes(one)
            if self.kind.rabbit.publish(one, expired=expired):
                self.oracle.confirmed(one)
                taken.append(one)
        return taken

    def _drawn(self, *, junk: bool) -> Published:
        too_large = self.knobs.max_message_bytes
        if junk:
            return unreadable(self.world, self._number, too_large)
        return message(self.world, self._number, self.kind.refuses, too_large)

    def _plain(self) -> Published:
        while (one := message(self.world, self._number, self.kind.refuses, LARGEST)).junk or one.poisoned:
            pass
        return one

    def _play(self, card: Card) -> None:
        self.world.say("cards", card.name, card.who, card.much)
        self.kind.cards[card.name](self, card)

    def _round(self) -> None:
        if self.world.now >= self.quiet_until:
            self.publish(int(self.world.random.random() * 2 * self._rate))
        for replica in self.replicas:
            replica.check_memory()
            replica.check_outages()
        self.kind.check()
        if self.world.now + EVERY < self.kind.seconds:
            self.world.after(EVERY, self._round)
