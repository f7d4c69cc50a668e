"""The order of a soak's faults."""

from __future__ import annotations

from itertools import islice
from random import Random

from tests.faults.campaign import cards_for
from tests.faults.soak import FIRST, FIRST_TIMES, LEAVE_ALL_ALIVE, in_rounds


def test_each_fault_comes_once_before_any_comes_again() -> None:
    """In another order each round and with each seed, after what fills a bridge's hands."""
    cards = [card for card in cards_for("redis") if card.name in LEAVE_ALL_ALIVE]
    orders = []
    for seed in range(5):
        dealt = [card.name for card in islice(in_rounds(cards, Random(seed)), FIRST_TIMES + 2 * len(cards))]
        assert [FIRST] * FIRST_TIMES == dealt[:FIRST_TIMES]
        del dealt[:FIRST_TIMES]
        for turn in (dealt[: len(cards)], dealt[len(cards) :]):
            assert sorted(card.name for card in cards) == sorted(turn)
            orders.append(tuple(turn))
    assert len(orders) == len(set(orders))
