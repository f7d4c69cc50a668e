"""Faults by name, under load, with an oracle. `make faults-all` plays every one; here it is one of each class."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import Campaign, cards_for
from tests.faults.cards import Card
from tests.faults.stage import stage
from tests.support.stores import FULL

ONE_OF_EACH = {
    "sqlite": ("all bridges killed", "rights withdrawn", "network stalls", "SQLite locked"),
    "redis": ("bridge killed", "RabbitMQ stopped and started", "replies dropped", "Redis full", "Redis killed"),
    "kafka": ("bridge frozen", "connections closed", "Kafka's leader killed"),
}

NODES = {"sqlite": 3, "redis": 1, "kafka": 1}
"""Of RabbitMQ at most: what a cluster's faults do is the same to every stream."""

pytestmark = [pytest.mark.fault, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("sink", ONE_OF_EACH if FULL else ["sqlite"])
def test_one_fault_of_each_class(sink: str, tmp_path: Path) -> None:
    """After each every replica consumes again within 15 s, and in the end nothing is lost or changed."""
    cards = {card.name: card for card in cards_for(sink)}
    assert_nothing_is_lost(sink, [cards[name] for name in ONE_OF_EACH[sink]], tmp_path)


if FULL:

    @pytest.mark.parametrize(
        ("sink", "name"), [(sink, card.name) for sink in ONE_OF_EACH for card in cards_for(sink, nodes=NODES[sink])]
    )
    def test_a_fault(sink: str, name: str, tmp_path: Path) -> None:
        """Twice in a row: every replica consumes again within 15 s, and nothing is lost or changed."""
        cards = [card for card in cards_for(sink, nodes=3) if card.name == name]
        assert_nothing_is_lost(sink, cards * 2, tmp_path)


def assert_nothing_is_lost(sink: str, cards: list[Card], folder: Path) -> None:
    with stage(sink, folder, max(card.nodes for card in cards)) as on:
        campaign = Campaign(on, seed=1)
        campaign.play(cards)
        verdict = campaign.verdict()
    print(verdict)
    assert campaign.holds(verdict), verdict
