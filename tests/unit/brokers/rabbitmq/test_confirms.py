"""Publisher confirms, in whatever order and however coalesced they come."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.brokers.rabbitmq.confirms import Confirms
from celery_event_bridge.contract.broker import BrokerUnavailable


class Channel:
    """A channel whose broker confirms as a script says: (tag, multiple) in turn."""

    def __init__(self, script: list[tuple[int, bool]]) -> None:
        self.events: dict[str, set[Any]] = defaultdict(set)
        self.connection = self
        self._script = list(script)
        self.published = 0

    def confirm_select(self) -> None:
        pass

    def basic_publish(self, *_: Any, **__: Any) -> None:
        self.published += 1

    def drain_events(self, timeout: float) -> None:
        if not self._script:
            raise TimeoutError
        tag, multiple = self._script.pop(0)
        for callback in self.events["basic_ack"]:
            callback(tag, multiple)


def test_confirms_that_come_coalesced_and_out_of_order_are_all_counted() -> None:
    """As RabbitMQ gave them: 3799 alone, then all up to 3798, then 3800 alone."""
    channel = Channel([(3799, False), (3798, True), (3800, False)])
    confirms: Confirms[None] = Confirms(channel)  # type: ignore[arg-type]
    for _ in range(3800):
        confirms.publish(None, object(), "q")
    confirms.wait("q", timeout=0.2)
    confirms.publish(None, object(), "q")
    with pytest.raises(BrokerUnavailable, match="no confirm within"):
        confirms.wait("q", timeout=0.05)


@given(st.integers(1, 40), st.randoms(use_true_random=False))
def test_against_a_naive_model(count: int, draw: Any) -> None:
    """Nothing counts as confirmed that is not, and all that is does, whatever the order."""
    channel = Channel([])
    confirms: Confirms[int] = Confirms(channel)  # type: ignore[arg-type]
    for tag in range(1, count + 1):
        confirms.publish(tag, object(), "q")
    left = set(range(1, count + 1))
    while left:
        tag = draw.choice(sorted(left))
        multiple = draw.random() < 0.3
        done = {each for each in left if each <= tag} if multiple else {tag}
        left -= done
        for callback in channel.events["basic_ack"]:
            callback(tag, multiple)
        assert sorted(left) == list(confirms.waiting)
        assert sorted(done) == confirms.take()
