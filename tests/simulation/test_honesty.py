"""The model of RabbitMQ does what a real one does, and a model that does not is found."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.simulation.honesty import AT_ONCE, difference
from tests.simulation.rabbitmq.modelled_queues import Entry, Queue

SCHEDULES = 16


def differences(url: str, first: int) -> list[str]:
    """Play schedules side by side; return how the two differ."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda seed: difference(url, seed), range(first, first + SCHEDULES))
        return [one for one in found if one]


def test_the_model_does_what_rabbitmq_does(broker_url: str) -> None:
    """Step by step: what is delivered, again or for the first time, and what waits where in the end."""
    assert [] == differences(broker_url, 1)


def test_a_model_that_is_wrong_is_found(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in which what comes back goes behind the others."""

    def give_back(self: Queue, entries: Iterable[Entry]) -> None:
        for entry in entries:
            entry.returned = True
            self.ready.append(entry)
            self.size += len(entry.message.body)
        self.expire()
        self.pump()

    monkeypatch.setattr(Queue, "give_back", give_back)
    assert differences(broker_url, 1)
