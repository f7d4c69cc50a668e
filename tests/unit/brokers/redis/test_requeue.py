"""What is sent again from the list of parked messages leaves it once who forwards has heard and stored it."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest

from celery_event_bridge.brokers.redis import parked
from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.link import Link
from celery_event_bridge.brokers.redis.parking import ParkedEntry
from celery_event_bridge.brokers.redis.silences import Position, Silence
from celery_event_bridge.contract.broker import BrokerUnavailable
from tests.support.redis_bench import SETTINGS
from tests.support.redis_links import ListLink, SetClock


def entry(number: int = 0) -> bytes:
    return msgspec.json.encode(ParkedEntry("2026-01-01", "decode", f"{number}", "", {}, "eA==", raw=True))


def requeued(monkeypatch: pytest.MonkeyPatch, *parked_before: bytes, cut: bool) -> tuple[int, ListLink]:
    """Send again what is parked, beside one that forwards; return how many were sent, and the list."""
    link, sent = ListLink(SetClock(), SETTINGS.names, [*parked_before]), 0

    def forwards(word: Control) -> None:
        if len(link.words) == 2:
            begin, end = (Position(each.mark, 0) for each in link.words)
            silence = Silence(begin, 1.0, "r", end, 0.0, "r", 1.0, 0.0)
            link.say(Control("b.1", "b", 5, end, silences=(silence,) if cut else ()))

    link.answer = forwards
    monkeypatch.setattr(parked, "connected_link", lambda *_, **__: cast("Link", link))
    with parked.parked_messages(SETTINGS) as messages:
        if cut:
            with pytest.raises(BrokerUnavailable, match="has not heard"):
                messages.requeue(lambda _: True)
        else:
            sent = messages.requeue(lambda _: True)
    return sent, link


def test_what_is_confirmed_leaves_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the place up to which all is."""
    sent, link = requeued(monkeypatch, entry(), cut=False)
    assert (1, []) == (sent, link.elements)


def test_what_who_forwards_has_not_heard_stays_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection was cut just then, and its place lies behind."""
    sent, link = requeued(monkeypatch, entry(), cut=True)
    assert (0, [entry()]) == (sent, link.elements)


def test_each_of_several_that_are_alike_is_sent_and_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that were parked within one millisecond are alike to the letter."""
    sent, link = requeued(monkeypatch, entry(1), entry(2), entry(1), cut=False)
    assert (3, 3, []) == (sent, len(link.again), link.elements)


def test_each_of_several_that_are_alike_is_shown_and_purged(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as were chosen, and no more: one that was parked meanwhile stays."""
    link = ListLink(SetClock(), SETTINGS.names, [entry(1), entry(2), entry(1)])
    monkeypatch.setattr(parked, "connected_link", lambda *_, **__: cast("Link", link))
    with parked.parked_messages(SETTINGS) as messages:
        assert ["1", "2", "1"] == [content.parked.error for content in messages.contents()]
        assert 2 == messages.purge(lambda one: one.error == "1")
        assert [entry(2)] == link.elements


@pytest.mark.parametrize("removed", [1, 30, 99, 100, 150, 10_000])
def test_what_another_operator_takes_out_meanwhile_hides_nothing(monkeypatch: pytest.MonkeyPatch, removed: int) -> None:
    """Each of the others is chosen all the same, once; what is parked meanwhile is left."""
    link = ListLink(SetClock(), SETTINGS.names, [entry(number // 2) for number in range(1000)])
    pages = 0

    def another() -> None:
        nonlocal pages
        pages += 1
        if pages % 2 == 0 and pages < 7:
            del link.elements[:removed]
            link.elements.append(b"parked meanwhile")

    monkeypatch.setattr(parked, "connected_link", lambda *_, **__: cast("Link", link))
    link.before_a_page = another
    with parked.parked_messages(SETTINGS) as messages:
        purged = messages.purge(lambda _: True)
    assert {b"parked meanwhile"} == {*link.elements}
    assert 1000 - 3 * removed <= purged <= 1000


@pytest.mark.parametrize(
    "element",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"parked_at":"\xff","reason":"","error":"","content_type":"","headers":{},"body":"eA=="}',
        b'{"parked_at":"","reason":"","error":"","content_type":"","headers":{},"body":"a"}',
        b'{"parked_at":"","reason":"","error":"","content_type":"","headers":{},"body":"\xc3\xa9"}',
        b'{"parked_at":"","reason":"","error":"","content_type":"","headers":{},"body":"","extra":' + b"[" * 100_000,
    ],
)
def test_what_somebody_else_has_put_into_the_list_is_shown_as_it_is(
    monkeypatch: pytest.MonkeyPatch, element: bytes
) -> None:
    """And holds up neither what a bridge has parked, nor its own removal."""
    link = ListLink(SetClock(), SETTINGS.names, [element, entry()])
    monkeypatch.setattr(parked, "connected_link", lambda *_, **__: cast("Link", link))
    with parked.parked_messages(SETTINGS) as messages:
        assert [element, b"x"] == [content.body for content in messages.contents()]
        assert 1 == messages.purge(lambda one: not one.reason)
    assert [entry()] == link.elements
