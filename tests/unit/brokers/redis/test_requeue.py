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


def requeued(monkeypatch: pytest.MonkeyPatch, *, cut: bool) -> list[bytes]:
    """Send again what is parked, beside one that forwards; return what is left."""
    entry = ParkedEntry("2026-01-01", "decode", "no event", "", {}, "eA==", raw=True)
    link = ListLink(SetClock(), SETTINGS.names, [msgspec.json.encode(entry)])

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
            assert 1 == messages.requeue(lambda _: True)
    return link.elements


def test_what_is_confirmed_leaves_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the place up to which all is."""
    assert [] == requeued(monkeypatch, cut=False)


def test_what_who_forwards_has_not_heard_stays_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection was cut just then, and its place lies behind."""
    assert 1 == len(requeued(monkeypatch, cut=True))


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
    entry = msgspec.json.encode(ParkedEntry("2026-01-01", "decode", "no event", "", {}, "eA==", raw=True))
    link = ListLink(SetClock(), SETTINGS.names, [element, entry])
    monkeypatch.setattr(parked, "connected_link", lambda *_, **__: cast("Link", link))
    with parked.parked_messages(SETTINGS) as messages:
        assert [element, b"x"] == [content.body for content in messages.contents()]
        assert 1 == messages.purge(lambda one: not one.reason)
    assert [entry] == link.elements
