"""The prefetch follows the sizes of the messages."""

from __future__ import annotations

from celery_event_bridge.brokers.rabbitmq.window import COPIES, FIRST_PREFETCH, OVERHEAD, Window

MIB = 1024 * 1024


def test_it_begins_small() -> None:
    """Before any size is known a lane asks for few messages."""
    assert FIRST_PREFETCH == Window(2000, 12 * MIB).prefetch
    assert 5 == Window(5, 12 * MIB).prefetch


def test_small_messages_get_the_whole_prefetch() -> None:
    """Messages of 350 bytes are bounded by their number, not by their bytes."""
    window = Window(2000, 12 * MIB)
    window.observe([350] * FIRST_PREFETCH)
    assert window.retune()
    assert 2000 == window.prefetch
    assert not window.retune()


def test_large_messages_get_what_fits() -> None:
    """Messages of 200 kB are bounded so that the budget holds them."""
    window = Window(2000, 12 * MIB)
    window.observe([200_000] * FIRST_PREFETCH)
    assert window.retune()
    assert 12 * MIB // (200_000 * COPIES + OVERHEAD) == window.prefetch


def test_a_change_of_size_is_followed() -> None:
    """When messages grow the prefetch shrinks, within about as many messages as it takes to tell."""
    window = Window(2000, 12 * MIB)
    window.observe([350] * 100)
    assert window.retune()
    for _ in range(10):
        window.observe([200_000] * 30)
    assert window.retune()
    assert window.prefetch < 30


def test_one_message_is_always_asked_for() -> None:
    """A message larger than the whole budget is admitted alone."""
    window = Window(2000, MIB)
    window.observe([16 * MIB] * FIRST_PREFETCH)
    assert window.retune()
    assert 1 == window.prefetch


def test_nothing_changes_before_enough_is_known() -> None:
    """One message is no reason to consume anew."""
    window = Window(2000, 12 * MIB)
    window.observe([350])
    assert not window.retune()


def test_it_shrinks_when_more_came_than_fits() -> None:
    """After an overrun the next connection asks for a quarter."""
    window = Window(2000, 12 * MIB)
    window.shrink()
    assert FIRST_PREFETCH // 4 == window.prefetch
