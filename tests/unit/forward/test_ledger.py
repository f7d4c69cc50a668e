"""The ledger: what may be acknowledged, and when."""

from __future__ import annotations

import weakref

import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.contract import Rejection
from celery_event_bridge.forward.ledger import MANY_LANES, PARKING_PINNED_AFTER, PINNED_AFTER, Ack, Delivery, Ledger

BAD = Rejection("undecodable", "not JSON")


def enter(ledger: Ledger[str], lane: object, tag: int, owes: int = 1, **more: object) -> Delivery[str]:
    return ledger.enter(lane, tag, size=10, owes=owes, now=0.0, message=f"m{tag}", **more)  # type: ignore[arg-type]


def test_a_settled_prefix_is_acknowledged_by_naming_its_last_tag() -> None:
    """Three settled deliveries at the head take one cumulative acknowledgement."""
    ledger: Ledger[str] = Ledger()
    first, second, third, fourth = (enter(ledger, "lane", tag) for tag in (1, 2, 3, 4))
    for delivery in (third, first, second):
        ledger.stored([delivery])
    assert [Ack("lane", 3, multiple=True)] == ledger.take_acks(0.0)
    assert (1, 10) == (ledger.messages, ledger.size)
    ledger.stored([fourth])
    assert [Ack("lane", 4, multiple=True)] == ledger.take_acks(0.0)


def test_nothing_is_acknowledged_past_a_delivery_that_still_owes() -> None:
    """A delivery of two events with one confirm holds back itself and those behind it."""
    ledger: Ledger[str] = Ledger()
    head, behind = enter(ledger, "lane", 1, owes=2), enter(ledger, "lane", 2)
    ledger.stored([head])
    ledger.stored([behind])
    assert [] == ledger.take_acks(0.0)
    ledger.stored([head])
    assert [Ack("lane", 2, multiple=True)] == ledger.take_acks(0.0)


def test_a_delivery_that_owes_nothing_is_settled_at_once() -> None:
    """A message whose events were all filtered away is acknowledged without a confirm."""
    ledger: Ledger[str] = Ledger()
    enter(ledger, "lane", 7, owes=0)
    assert [Ack("lane", 7, multiple=True)] == ledger.take_acks(0.0)


def test_those_stuck_behind_a_slow_head_are_acknowledged_singly_after_a_while() -> None:
    """Behind a head that does not move, settled deliveries are named one by one, each once."""
    ledger: Ledger[str] = Ledger()
    head, *behind = (enter(ledger, "lane", tag) for tag in (1, 2, 3))
    for delivery in behind:
        ledger.stored([delivery])
    assert [] == ledger.take_acks(PINNED_AFTER / 2)
    assert [Ack("lane", 2, multiple=False), Ack("lane", 3, multiple=False)] == ledger.take_acks(PINNED_AFTER)
    assert [] == ledger.take_acks(3 * PINNED_AFTER)
    ledger.stored([head])
    assert [Ack("lane", 1, multiple=True)] == ledger.take_acks(4 * PINNED_AFTER)
    assert (0, 0) == (ledger.messages, ledger.size)


def test_one_that_is_never_settled_holds_nothing_but_itself() -> None:
    """What was acknowledged behind it counts no longer, however much that is: else consuming would end."""
    ledger = Ledger[str]()
    ledger.enter("lane", 1, 10, 0, 0.0, "cannot be parked", Rejection("content-type", "no"))
    for tag in range(2, 1000):
        ledger.stored([ledger.enter("lane", tag, 10, 1, 0.0, "good")])
    assert 998 == len(ledger.take_acks(PARKING_PINNED_AFTER))
    assert (1, 10) == (ledger.messages, ledger.size)
    assert [] == ledger.take_acks(2 * PINNED_AFTER)
    assert 1 == ledger.forget()


def test_the_watermark_never_names_a_tag_that_was_acknowledged_singly() -> None:
    """RabbitMQ answers 406 to a tag it no longer holds, so the highest outstanding one is named."""
    ledger: Ledger[str] = Ledger()
    head, second, third = (enter(ledger, "lane", tag) for tag in (1, 2, 3))
    ledger.stored([third])
    assert [Ack("lane", 3, multiple=False)] == ledger.take_acks(PINNED_AFTER)
    ledger.stored([second])
    ledger.stored([head])
    assert [Ack("lane", 2, multiple=True)] == ledger.take_acks(PINNED_AFTER)


def test_no_single_acknowledgements_at_shutdown() -> None:
    """RabbitMQ loses single acknowledgements that come just before a close, so there are none then."""
    ledger: Ledger[str] = Ledger()
    enter(ledger, "lane", 1)
    ledger.stored([enter(ledger, "lane", 2)])
    assert [] == ledger.take_acks(2 * PINNED_AFTER, singly=False)


def test_a_refused_delivery_waits_for_its_parking() -> None:
    """A message with a refused event is acknowledged when the parking is confirmed, not before."""
    ledger: Ledger[str] = Ledger()
    delivery = enter(ledger, "lane", 1, owes=2)
    ledger.refused(delivery, BAD)
    ledger.stored([delivery])
    assert [] == ledger.take_acks(0.0)
    ledger.parked(delivery)
    assert [Ack("lane", 1, multiple=True)] == ledger.take_acks(0.0)


def test_an_undecodable_delivery_is_parked_at_once() -> None:
    """A message without a good event owes nothing but its parking."""
    ledger: Ledger[str] = Ledger()
    delivery = enter(ledger, "lane", 1, owes=0, refusal=BAD)
    assert [] == ledger.take_acks(0.0)
    ledger.parked(delivery)
    assert [Ack("lane", 1, multiple=True)] == ledger.take_acks(0.0)


def test_a_late_verdict_acknowledges_nothing_on_a_new_channel() -> None:
    """After a reconnect the same tag is another message; the old delivery's confirm must not touch it."""
    ledger: Ledger[str] = Ledger()
    old = enter(ledger, "old lane", 1)
    assert 1 == ledger.forget()
    assert old.released
    enter(ledger, "new lane", 1)
    ledger.stored([old])
    assert [] == ledger.take_acks(0.0)
    assert 1 == ledger.messages


def test_lanes_do_not_hold_each_other_up() -> None:
    """The live queue's channel and overflow's each have a watermark of their own."""
    ledger: Ledger[str] = Ledger()
    enter(ledger, "overflow", 1)
    ledger.stored([enter(ledger, "live", 1)])
    assert [Ack("live", 1, multiple=True)] == ledger.take_acks(0.0)


class Channel:
    """What a lane is to the ledger: an object of its own."""


def test_channels_that_were_replaced_are_not_kept() -> None:
    """A quiet one is replaced without a word to the ledger; those with something in hand stay, also set aside."""
    ledger: Ledger[str] = Ledger()
    owing, aside = Channel(), Channel()
    slow, stuck = enter(ledger, owing, 1), enter(ledger, aside, 1, owes=0, refusal=BAD)
    ledger.set_aside(stuck)
    seen: list[weakref.ref[Channel]] = []
    for number in range(1000):
        channel = Channel()
        seen.append(weakref.ref(channel))
        enter(ledger, channel, 1, owes=0)
        assert Ack(channel, 1, multiple=True) in ledger.take_acks(float(number))
        del channel
    assert len([one for one in seen if one() is not None]) <= MANY_LANES
    assert 2 == ledger.messages
    ledger.stored([slow])
    assert [Ack(owing, 1, multiple=True)] == ledger.take_acks(1000.0)
    assert Ack(aside, 1, multiple=False) == ledger.give_back(stuck)
    assert 0 == ledger.messages


def test_two_verdicts_on_one_event_are_a_bug() -> None:
    """A sink that decides an event twice would make the ledger acknowledge too early: it is told so."""
    ledger: Ledger[str] = Ledger()
    delivery = enter(ledger, "lane", 1)
    ledger.stored([delivery])
    with pytest.raises(ValueError, match="two verdicts"):
        ledger.stored([delivery])


@given(
    owes=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    order=st.randoms(use_true_random=False),
    times=st.floats(0.1, 3.0),
)
def test_against_a_naive_model(owes: list[int], order: object, times: float) -> None:
    """Whatever the order of confirms: each tag is acknowledged once, not while it owes, and in the end all are."""
    ledger: Ledger[str] = Ledger()
    deliveries = {tag: enter(ledger, "lane", tag, owes=count) for tag, count in enumerate(owes, 1)}
    confirms = [tag for tag, count in enumerate(owes, 1) for _ in range(count)]
    order.shuffle(confirms)  # type: ignore[attr-defined]
    owed = dict(enumerate(owes, 1))
    outstanding = set(owed)
    now = 0.0
    for tag in [0, *confirms]:
        now += times
        if tag:
            ledger.stored([deliveries[tag]])
            owed[tag] -= 1
        for ack in ledger.take_acks(now):
            covered = {other for other in outstanding if other <= ack.tag} if ack.multiple else {ack.tag}
            assert ack.tag in outstanding
            assert all(not owed[other] for other in covered)
            outstanding -= covered
    assert set() == outstanding
    assert (0, 0) == (ledger.messages, ledger.size)


def test_what_is_set_aside_takes_no_memory_and_holds_nothing_up() -> None:
    """Those behind it are acknowledged one by one, at once, and it is not."""
    ledger: Ledger[str] = Ledger()
    bad = enter(ledger, "lane", 1, owes=0, refusal=BAD)
    ledger.set_aside(bad)
    assert (1, 0, None) == (ledger.messages, ledger.size, bad.message)
    ledger.stored([enter(ledger, "lane", 2), enter(ledger, "lane", 3)])
    assert [Ack("lane", 2, multiple=False), Ack("lane", 3, multiple=False)] == ledger.take_acks(0.0)
    ledger.stored([enter(ledger, "lane", 4)])
    assert [] == ledger.take_acks(0.0, singly=False)
    assert Ack("lane", 1, multiple=False) == ledger.give_back(bad)
    assert [Ack("lane", 4, multiple=True)] == ledger.take_acks(0.0, singly=False)
    assert (0, 0) == (ledger.messages, ledger.size)


STEPS = st.lists(
    st.tuples(st.sampled_from(["arrives", "bad", "stored", "aside", "back", "parked", "acks"]), st.integers(0, 30)),
    max_size=60,
)


@given(STEPS, st.floats(0.0, 2.0))
def test_against_a_naive_model_with_those_that_cannot_be_parked(steps: list[tuple[str, int]], pause: float) -> None:
    """Nothing is acknowledged that owes, waits or was given back; each once; and the count is always right."""
    ledger: Ledger[str] = Ledger()
    deliveries: dict[int, Delivery[str]] = {}
    state: dict[int, str] = {}
    now = 0.0
    for step, pick in [*steps, ("acks", 0), ("acks", 0)]:
        now += pause
        chosen = list(state)[pick % len(state)] if state else 0
        if step in ("arrives", "bad"):
            tag = len(deliveries) + 1
            bad = step == "bad"
            deliveries[tag] = enter(ledger, "lane", tag, owes=int(not bad), refusal=BAD if bad else None)
            state[tag] = "waits" if bad else "owes"
        elif step == "stored" and state.get(chosen) == "owes":
            ledger.stored([deliveries[chosen]])
            state[chosen] = "settled"
        elif step == "aside" and state.get(chosen) == "waits":
            ledger.set_aside(deliveries[chosen])
            state[chosen] = "aside"
        elif step == "parked" and state.get(chosen) == "waits":
            ledger.parked(deliveries[chosen])
            state[chosen] = "settled"
        elif step == "back" and state.get(chosen) in ("waits", "aside"):
            assert chosen == ledger.give_back(deliveries[chosen]).tag
            del state[chosen]
        elif step == "acks":
            for ack in ledger.take_acks(now):
                covered = [tag for tag in state if tag <= ack.tag] if ack.multiple else [ack.tag]
                assert ack.tag in covered
                assert {"settled"} == {state.pop(tag) for tag in covered}
        assert ledger.messages == len(state)
        assert ledger.size == 10 * sum(each != "aside" for each in state.values())
    head = next(iter(state), None)
    assert head is None or state[head] != "settled"
