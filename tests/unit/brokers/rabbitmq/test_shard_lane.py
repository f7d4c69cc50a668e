"""The lane of a shard: never cancelled, and closed with nothing in hand where it can be."""

from __future__ import annotations

import time
from typing import Any

from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.shard_lane import RECENT, SHARD_PREFETCH, ShardLane
from celery_event_bridge.brokers.rabbitmq.window import Window
from celery_event_bridge.contract.budget import Room


class Channel:
    """What a lane asks of one, written down."""

    channel_id = 1

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.arguments: Any = None
        self.prefetch = 0

    def basic_qos(self, _: int, prefetch: int, __: bool) -> None:
        self.prefetch = prefetch
        self.calls.append("qos")

    def basic_consume(self, *_: Any, arguments: Any, consumer_tag: str, **__: Any) -> str:
        self.calls.append("consume")
        self.arguments = arguments
        return consumer_tag

    def basic_cancel(self, *_: Any) -> None:
        self.calls.append("cancel")

    def basic_ack(self, tag: int, multiple: bool) -> None:
        self.calls.append(f"ack {tag} {multiple}")

    def basic_reject(self, tag: int, requeue: bool) -> None:
        self.calls.append(f"reject {tag} {requeue}")


def lane(priority: int = 2) -> tuple[ShardLane, Channel]:
    channel = Channel()
    made = ShardLane(channel, "q.0", Window(2000, 2**20), lambda _: None, expired=False)
    made.priority = priority
    made.consume()
    return made, channel


def arrive(shard: ShardLane, *tags: int) -> None:
    shard.observe([Delivered(shard, tag, b"{}", "application/json", {}, False, False, {}, "x", "k") for tag in tags])


def test_it_stands_in_line_by_its_priority() -> None:
    """RabbitMQ gives the shard to the highest, from 4.0 on."""
    assert {"x-priority": 2} == lane()[1].arguments


def test_all_that_stand_in_line_have_the_same_prefetch() -> None:
    """Whatever the settings, the sizes, or what came before: RabbitMQ puts what goes back behind what had gone back."""
    shard, channel = lane()
    found = [channel.prefetch]
    shard.window.shrink()
    shard.consume()
    found.append(channel.prefetch)
    small = ShardLane(channel, "q.0", Window(10, 2**20), lambda _: None, expired=False)
    small.consume()
    assert [SHARD_PREFETCH] * 3 == [*found, channel.prefetch]


def test_nothing_cancels_it() -> None:
    """Neither a budget that is used up, nor a stop: RabbitMQ would give what comes next to somebody else at once."""
    shard, channel = lane()
    arrive(shard, *range(1, 200))
    for room in Room:
        shard.adjust(room)
    shard.finish()
    assert (["qos", "consume", "qos"], True) == (channel.calls, shard.leaves), "the last one waits for an answer"


def test_it_is_empty_once_all_that_it_has_taken_is_acknowledged() -> None:
    """Cumulatively, one by one, or given back."""
    shard, _ = lane()
    arrive(shard, 1, 2, 3, 4)
    shard.leave()
    found = [shard.empty]
    shard.acknowledge(2, multiple=True)
    shard.acknowledge(4, multiple=False)
    found.append(shard.empty)
    shard.give_back(3)
    found.append(shard.empty)
    arrive(shard, 5)
    found.append(shard.empty)
    shard.acknowledge(5, multiple=True)
    assert [False, False, True, False, True] == [*found, shard.empty]


def test_a_lane_that_nothing_comes_on_stands_by() -> None:
    """It is no quiet channel to be replaced, and has nothing to hand over."""
    shard, _ = lane()
    now = time.monotonic()
    assert (False, False, False, False) == (shard.was_quiet(), shard.was_quiet(), shard.progresses(now), shard.leaves)
    arrive(shard, 1)
    now = time.monotonic()
    assert not shard.progresses(now)
    shard.acknowledge(1, multiple=True)
    found = [shard.progresses(now), shard.progresses(now + 2 * RECENT)]
    assert [True, False] == found


def test_it_says_for_how_long_it_has_taken_no_more() -> None:
    """From the first time that it was told to."""
    shard, _ = lane()
    assert shard.leaving_for(time.monotonic()) is None
    shard.leave()
    since = time.monotonic()
    shard.leave()
    left = shard.leaving_for(since + 5)
    assert left is not None
    assert 5.0 <= left < 6.0
