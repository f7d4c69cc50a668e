"""The models of RabbitMQ and of Redis do what real ones do, and a model that does not is found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.simulation.honesty import AT_ONCE, difference
from tests.simulation.rabbitmq.modelled_queues import Entry, Queue
from tests.simulation.redis import redis_honesty
from tests.simulation.redis.redis_stream import StreamKey
from tests.support.servers import newer_redis, redis

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


@pytest.fixture(params=["older", "newer"])
def real_redis(request: pytest.FixtureRequest) -> Iterator[redis_honesty.Real]:
    """A Redis that knows no IDMP, and one that does."""
    with redis(own=True) if request.param == "older" else newer_redis() as server:
        real = redis_honesty.Real("127.0.0.1", int(server.url.rpartition(":")[2].partition("/")[0]))
        yield real
        real.close()


def test_the_model_answers_as_redis_does(real_redis: redis_honesty.Real, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command by command, right ones and wrong ones; a model that forgets an entry is found."""
    assert [] == [found for seed in range(SCHEDULES) if (found := redis_honesty.difference(real_redis, seed))]
    monkeypatch.setattr(StreamKey, "take", lambda *_: [])
    assert [found for seed in range(SCHEDULES) if (found := redis_honesty.difference(real_redis, seed))]
