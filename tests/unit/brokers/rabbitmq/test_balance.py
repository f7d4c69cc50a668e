"""Even shares: who hands over what."""

from __future__ import annotations

import pytest

from celery_event_bridge.brokers.rabbitmq.balance import LAST, LOOKS, Balance, fair_share, priorities

SHARDS = ["q.0", "q.1", "q.2", "q.3"]


@pytest.mark.parametrize(("replicas", "share"), [(0, 4), (1, 4), (2, 2), (3, 2), (4, 1), (9, 1)])
def test_a_fair_share_is_the_next_whole_number(replicas: int, share: int) -> None:
    """So that what nobody would take is nobody's to hand over."""
    assert share == fair_share(4, replicas)


def test_each_shard_has_a_priority_of_its_own() -> None:
    """A replica that comes is first on some shards, and not on all."""
    assert [0, 1, 2, 3] == sorted(priorities(4))


def test_what_is_too_much_is_handed_over_and_not_taken_back() -> None:
    """The shards past the share, with a priority below everybody's from then on."""
    balance = Balance(SHARDS)
    assert ["q.2", "q.3"] == list(balance.surplus(SHARDS, 2))
    assert [LAST, LAST] == [balance.priorities[name] for name in ("q.2", "q.3")]
    assert LAST not in [balance.priorities[name] for name in ("q.0", "q.1")]


@pytest.mark.parametrize(("active", "replicas"), [(SHARDS[:2], 2), (SHARDS, 1), (SHARDS, 0), ([], 9)])
def test_a_share_that_is_fair_is_kept(active: list[str], replicas: int) -> None:
    """And all of it by who is alone, as far as anybody can tell: there is nobody to take any."""
    assert [] == list(Balance(SHARDS).surplus(active, replicas))


def test_a_consumer_that_is_gone_is_made_anew() -> None:
    """After some looks, as others come and go."""
    balance = Balance(SHARDS)
    consumers = {"q.0": 1, "q.1": 0, "q.2": 1, "q.3": 0}
    looks = [list(balance.lacking(consumers)) for _ in range(LOOKS)]
    assert [[]] * (LOOKS - 1) + [["q.1", "q.3"]] == looks


def test_one_that_has_none_for_a_moment_is_not_made_anew() -> None:
    """The count of looks begins again."""
    balance = Balance(SHARDS)
    none, some = {"q.0": 0}, {"q.0": 1}
    looks = [list(balance.lacking(counts)) for counts in [none] * (LOOKS - 1) + [some] + [none] * (LOOKS - 1)]
    assert not any(looks)
