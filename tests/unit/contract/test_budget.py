"""Budget of memory: a broker's end stops at the whole of it, and goes on at the half."""

from __future__ import annotations

import pytest

from celery_event_bridge.contract.budget import Budget


@pytest.mark.parametrize(
    ("held", "receiving", "paused"),
    [(0, False, False), (499, False, False), (500, False, True), (999, False, True), (1000, True, True)],
)
def test_an_end_pauses_at_the_budget_and_goes_on_below_its_half(held: int, receiving: bool, paused: bool) -> None:
    """Between the two it goes on as before, or it would change with every message."""
    budget = Budget(1000, 100)
    assert receiving is budget.pauses(held, lambda: 0, paused=False)
    assert paused is budget.pauses(held, lambda: 0, paused=True)


def test_an_end_that_gives_nothing_back_pauses_where_another_would() -> None:
    """Far over the budget, too, and with a single large message in hand."""
    assert Budget(1000, 100).pauses(5000, lambda: 10, paused=False)
    assert Budget(1000, 100).pauses(5000, lambda: 5000, paused=False)
