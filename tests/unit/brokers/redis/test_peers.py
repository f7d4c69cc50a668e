"""Replicas on one lease with other settings of what is stored: each is told of it, once."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.settings import Settings
from celery_event_bridge.contract import notices
from tests.support.redis_bench import SETTINGS, Bench


@pytest.fixture(autouse=True)
def _no_notices_before() -> Iterator[None]:
    notices.NOTICES.clear()
    yield
    notices.NOTICES.clear()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("given", "theirs", "said"),
    [
        ({}, {"types": "task-*", "name": ""}, ("BRIDGE_EVENT_TYPES=task-*,", "BRIDGE_EVENT_TYPES=*:")),
        (
            {"event_types": "!worker-*,task-*"},
            {"types": "", "name": ""},
            ("BRIDGE_EVENT_TYPES=*,", "BRIDGE_EVENT_TYPES=!worker-*,task-*:"),
        ),
        ({}, {"types": "", "name": "eu"}, ("BRIDGE_BROKER_NAME=eu,", "no BRIDGE_BROKER_NAME:")),
        ({"broker_name": "us"}, {"types": "", "name": ""}, ("no BRIDGE_BROKER_NAME,", "BRIDGE_BROKER_NAME=us:")),
    ],
)
def test_other_settings_of_what_is_stored_are_told_of_once(
    caplog: pytest.LogCaptureFixture, given: dict[str, str], theirs: dict[str, str], said: tuple[str, str]
) -> None:
    """With both values, by the one that forwards as by one that stands by; it keeps nobody from forwarding."""
    bench = Bench(settings=Settings(broker_url="redis://h", **given))  # type: ignore[arg-type]
    bench.take()
    caplog.clear()
    for number in range(50):
        bench.link.say(Control(f"b.{number}", "b", 0, None, **theirs))  # type: ignore[arg-type]
        bench.turn(0.5)
    (line,) = told(caplog)
    assert all(part in line for part in said), line
    assert 2 <= notices.NOTICES.counts()["competitor"] <= 3  # with each look
    assert bench.source.held_up is None


def test_the_same_settings_in_another_order_are_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """A requeue, and a bridge of an earlier version, say nothing of theirs."""
    bench = Bench(settings=Settings(broker_url="redis://h", event_types="task-*,+!own,!worker-*", broker_name="us"))  # type: ignore[arg-type]
    bench.take()
    (types, name) = (bench.link.words[-1].types, bench.link.words[-1].name)
    other = Bench(settings=Settings(broker_url="redis://h", event_types="!worker-*,task-*,!own", broker_name="us"))  # type: ignore[arg-type]
    other.take()
    assert (types, name) == (other.link.words[-1].types, other.link.words[-1].name)
    caplog.clear()
    bench.link.say(Control("b.1", "b", 0, None, types=types, name=name))
    bench.link.say(Control("c.1", "c", 0, None))
    bench.link.overhear(b'["d.1","d",0,null,false,[],0]')
    bench.turn()
    assert [] == told(caplog)


def test_it_is_over_when_nobody_says_so_any_more(caplog: pytest.LogCaptureFixture) -> None:
    """As replicas are replaced one after the other, both settings are there for a while."""
    caplog.set_level(logging.INFO)
    bench = Bench()
    bench.link.say(Control("b.1", "b", 0, None, types="task-*", name=""))
    bench.turn()
    for _ in range(30):
        bench.turn(0.5)
    lines = [record.getMessage() for record in caplog.records if "BRIDGE_EVENT_TYPES" in record.getMessage()]
    assert 2 == len(lines)
    assert lines[1].startswith("no longer so")


def test_what_is_said_of_long_patterns_is_bounded() -> None:
    """It is said twenty times a second; two that differ behind the bound differ all the same."""
    said = []
    for last in "ab":
        many = ",".join(f"+type-{number}" for number in range(1000)) + f",+zzz-{last}"
        bench = Bench(settings=SETTINGS.model_copy(update={"event_types": tuple(many.split(","))}))
        bench.take()
        said.append(bench.link.words[-1].types or "")
    assert said[0] != said[1]
    assert max(map(len, said)) < 250
