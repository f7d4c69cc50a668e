"""Kind `gaps`: the one of `pubsub`, with few faults, of those that cut off subscribers: gaps are as long as told."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, ClassVar

from tests.simulation import faults
from tests.simulation.faults import Card, Cards
from tests.simulation.kinds import Kind
from tests.simulation.pubsub.pubsub_cards import OF_PUBSUB, fail_over_soon, restart_soon
from tests.simulation.pubsub.pubsub_kind import PubSubKind
from tests.simulation.pubsub.pubsub_play import PubSubPlay

if TYPE_CHECKING:
    from tests.simulation.play import Play

OF_CONNECTIONS = (
    "connection cut", "all connections cut", "connection half open", "output buffer full", "subscription gone",
    "replica cut off", "replica stands still",
)  # fmt: skip
OF_REPLICAS = ("replica killed", "replica stopped", "replica frozen")


APART = 6.0
"""Seconds between a change of server and any other fault."""
LASTING = ("connection half open", "replica cut off", "replica stands still", "replica frozen")
"""Faults that may last until then."""


class GapsKind(PubSubKind):
    """See the module's text."""

    played_by: ClassVar[str] = "tests.simulation.pubsub.gaps_kind:GapsPlay"
    cards: ClassVar[Cards] = {
        **{name: OF_PUBSUB[name] for name in OF_CONNECTIONS},
        **{name: faults.OF_REPLICAS[name] for name in OF_REPLICAS},
        "Redis restarted": restart_soon,
        "Redis failed over": fail_over_soon,
    }
    rare: ClassVar[Collection[str]] = ()
    decks: ClassVar[Sequence[tuple[int, int]]] = ((2, 1), (4, 1), (8, 2))
    rates: ClassVar[tuple[float, float]] = (1, 8)
    is_exact: ClassVar[bool] = True

    def __init__(self, play: Play) -> None:
        super().__init__(play)
        self.is_lively = True
        servers = self.servers
        servers.hides_run = servers.sets_clocks = servers.loses_keys = False


class GapsPlay(PubSubPlay):
    """A play in which nothing else befalls what is changed by a restart or a failover.

    With a forwarder that was cut off a second before, what the next server knows of the lease is as old.
    """

    def _deal(self, kind: type[Kind]) -> Sequence[Card]:
        cards = super()._deal(kind)
        changes = [card for card in cards if card.name.startswith("Redis ")]
        return [
            card
            for card in cards
            if all(card is one or abs(card.at - one.at) > APART for one in changes)
            and not (changes and card.name in LASTING)
        ]
