"""A play of the kind `account`: what is published is said by workers that keep account."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.account.account_kind import AccountKind
from tests.simulation.messages import Published, unreadable
from tests.simulation.play import Play
from tests.simulation.promises import Broken


class AccountPlay(Play):
    """See the module's text."""

    kind: AccountKind

    def say(self, what: Callable[[int], Published | None]) -> bool:
        """Publish what a worker says, now that nothing is wrong; return whether it has said anything.

        Raises Broken where RabbitMQ does not take it.
        """
        self._number += 1
        if (one := what(self._number)) is None:
            return False
        self.oracle.publishes(one)
        if not self.kind.rabbit.publish(one):
            raise Broken("held up: RabbitMQ takes no message, though nothing is wrong with it")
        self.oracle.confirmed(one)
        return True

    def _drawn(self, *, junk: bool) -> Published:
        if junk or self.world.chance(0.03):
            return unreadable(self.world, self._number, self.knobs.max_message_bytes)
        # Now and then a list is parked, as too large: the stream lacks what is in it.
        return self._said(self.knobs.max_message_bytes if self.world.chance(0.01) else 0)

    def _plain(self) -> Published:
        return self._said()

    def _said(self, filler: int = 0) -> Published:
        workers = self.kind.workers
        return workers[int(self.world.random.random() * len(workers))].message(self._number, filler)
