"""The world of shards finds whatever lets an event overtake another."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celery_event_bridge.brokers.rabbitmq.lanes import Lanes
from celery_event_bridge.brokers.rabbitmq.shard_lane import ShardLane
from celery_event_bridge.forward import relay
from celery_event_bridge.forward.driver import Driver
from tests.simulation.ordered.ordered_sink import OrderedSink
from tests.simulation.ordered.ordered_source import OrderedSource
from tests.simulation.rabbitmq.modelled_rabbitmq import Channel
from tests.simulation.run import play

SEEDS = 40


def hand_over_past_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is new goes out while something is to be tried again."""
    hand_over = Driver.hand_over

    def unordered(self: Driver[object], now: float) -> None:
        self.ordered = False
        hand_over(self, now)

    monkeypatch.setattr(Driver, "hand_over", unordered)


def store_behind_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream takes what was sent behind a request that it has not taken."""
    monkeypatch.setattr(OrderedSink, "keeps_order", False)


def cancel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next in line is given what follows while we have something in hand."""
    leave = OrderedSource._leave

    def cancelled(self: OrderedSource, channel: Channel) -> None:
        leave(self, channel)
        channel.cancel()
        channel.queue.pump()

    monkeypatch.setattr(OrderedSource, "_leave", cancelled)


def ask_for_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has come back and is not in hand of the next one is before what that one gives back."""
    drop = OrderedSource.drop

    def fewer(self: OrderedSource) -> None:
        drop(self)
        self._prefetch = max(1, self._prefetch // 4)

    monkeypatch.setattr(OrderedSource, "drop", fewer)


def give_back_singly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds up others at a stop is given back before the channel is closed."""
    drain = relay.Relay._drain

    def drained(self: relay.Relay) -> int:
        self._driver.ordered = False
        return drain(self)

    monkeypatch.setattr(relay.Relay, "_drain", drained)


@pytest.mark.parametrize(
    "break_it", [hand_over_past_a_failure, store_behind_a_failure, cancel, ask_for_fewer, give_back_singly]
)
def test_what_lets_an_event_overtake_another_is_found(
    monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """Within some seeds, by the order of what is in the stream the first time."""
    break_it(monkeypatch)
    found = next((done.failure for seed in range(SEEDS) if (done := play("ordered", str(seed))[0]).failure), "")
    assert found.startswith("overtaken:"), found


# On the wire --------------------------------------------------------------------------------------------------------


def take_what_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives on a lane that has left is handed out, also once its channel is closed."""
    monkeypatch.setattr(Lanes, "some_left", property(lambda self: False))


def look_at_open_lanes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives while the channel is closed is handed out, and what came before it was not."""
    monkeypatch.setattr(Lanes, "some_left", property(lambda self: any(lane.leaves for lane in self)))


def cancel_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next in line is given what follows while we have something in hand."""
    leave = ShardLane.leave

    def cancelled(self: ShardLane) -> None:
        leave(self)
        self.cancel()

    monkeypatch.setattr(ShardLane, "leave", cancelled)


@pytest.mark.parametrize(
    ("break_it", "verdict"),
    [(take_what_comes_too_late, "twice:"), (look_at_open_lanes_alone, "twice:"), (cancel_a_shard, "overtaken:")],
)
def test_on_the_wire_it_is_found_too(
    monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None], verdict: str
) -> None:
    """In the plug-in, within some seeds."""
    break_it(monkeypatch)
    failures = (done.failure for seed in range(10, 10 + SEEDS) if (done := play("shards", str(seed))[0]).failure)
    assert any(failure.startswith(verdict) for failure in failures)
