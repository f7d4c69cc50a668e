"""The window with a file behind it: in order, without loss, bounded, and found by who comes next."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings as limits, strategies as st

from celery_event_bridge.brokers.envelope import opened, sealed
from celery_event_bridge.brokers.redis.hole import Hole
from celery_event_bridge.brokers.redis.silences import Position, Silences
from celery_event_bridge.brokers.redis.spool import Spool
from celery_event_bridge.brokers.redis.spooled import Inheritance, SpooledWindow
from celery_event_bridge.contract.broker import Ack, BrokerUnavailable

MEMORY = 2000
"""Bytes, for some five events."""
LARGE = 2**40


def payload(number: int) -> bytes:
    return sealed(b"%d" % number, "application/json", {}, "celeryev", "task.sent")


OPENED: list[Spool] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPENED:
        killed(OPENED.pop())


def spool_in(folder: Path, max_bytes: int = LARGE) -> Spool:
    OPENED.append(Spool(folder, "q", max_bytes))
    return OPENED[-1]


def killed(spool: Spool) -> None:
    """Let go of the file as the kernel does for a process that is killed: what was not written is gone."""
    spool.file.release()


def window_in(folder: Path, max_bytes: int = LARGE) -> tuple[SpooledWindow, Spool]:
    spool = spool_in(folder, max_bytes)
    window = SpooledWindow(MEMORY, 0.0, spool, "celeryev")
    window.mark("m", 0.0)
    return window, spool


def numbers(window: SpooledWindow, most: int = 1000) -> list[int]:
    """Take and acknowledge, until nothing comes."""
    found: list[int] = []
    while (taken := window.take(most))[0]:
        assert [] == taken[1]
        found += [int(each.body) for each in taken[0]]
        window.acknowledge([Ack(taken[0][-1].lane, taken[0][-1].tag, multiple=True)])
    return found


def test_what_has_no_room_in_memory_comes_from_the_file_in_order(tmp_path: Path) -> None:
    """A hundred times what memory holds, and the file is empty in the end."""
    window, spool = window_in(tmp_path)
    for number in range(500):
        window.hear(payload(number))
    assert window.waiting_bytes < 2 * MEMORY
    assert 500 == window.waiting
    assert list(range(500)) == numbers(window)
    assert Position("m", 500) == window.confirmed()
    window.tidy()
    spool.close()
    assert [] == list(tmp_path.glob("*.spool"))


def test_what_is_heard_while_the_file_is_read_stays_behind_it(tmp_path: Path) -> None:
    """However the two come in turn."""
    window, _ = window_in(tmp_path)
    found: list[int] = []
    for number in range(300):
        window.hear(payload(number))
        if number % 3 == 2:
            events, _ = window.take(2)
            found += [int(each.body) for each in events]
    assert list(range(300)) == found + numbers(window)


def test_a_hole_keeps_its_place_in_the_file(tmp_path: Path) -> None:
    """It is told of when what comes after it is handed out."""
    window, _ = window_in(tmp_path)
    for number in range(50):
        window.hear(payload(number))
    window.deafened(2.5, 9.0)
    window.hear(payload(50))
    found: list[object] = []
    while (taken := window.take(1))[0]:
        found += [*taken[1], *(int(each.body) for each in taken[0])]
    assert [*range(50), Hole(seconds=2.5, until=9.0), 50] == found
    assert window.is_whole


def test_past_the_bound_of_the_file_the_newest_are_dropped_and_counted(tmp_path: Path) -> None:
    """In their place, also where others follow."""
    window, _ = window_in(tmp_path, max_bytes=20 * 350)
    for number in range(100):
        window.hear(payload(number))
    events, holes = [], []
    while (taken := window.take(10))[0]:
        events += [int(each.body) for each in taken[0]]
        holes += taken[1]
        window.acknowledge([Ack(taken[0][-1].lane, taken[0][-1].tag, multiple=True)])
    holes += taken[1]
    assert events == list(range(len(events)))
    assert [Hole(dropped=100 - len(events))] == holes
    window.tidy()
    window.hear(payload(100))
    assert [100] == numbers(window)


def test_what_another_one_has_confirmed_is_dropped_from_the_file_too(tmp_path: Path) -> None:
    """Up to that place, with the holes before it."""
    window, _ = window_in(tmp_path)
    for number in range(100):
        window.hear(payload(number))
    assert window.confirmed_elsewhere(Position("m", 80))
    assert list(range(80, 100)) == numbers(window)


@pytest.mark.parametrize("handed", [0, 3, 50])
def test_who_comes_next_finds_what_one_that_was_killed_has_left(tmp_path: Path, handed: int) -> None:
    """What was in its file, and what was in memory when its connection was lost, each once, until it is stored."""
    window, spool = window_in(tmp_path)
    for number in range(100):
        window.hear(payload(number))
    window.take(handed)
    window.put_back()
    window.write_all(0.0)
    killed(spool)
    for first in (True, False):  # who adopts it may be killed as well
        after = spool_in(tmp_path)
        after.adopt(time.time())
        inherited = Inheritance(after)
        found = inherited.take(1000)
        assert [int(each.body) for each in found] == list(range(100))
        assert [] == inherited.take(1000)
        if first:
            killed(after)
    inherited.acknowledge([Ack(found[59].lane, found[59].tag, multiple=True)])
    inherited.put_back()
    assert list(range(60, 100)) == [int(each.body) for each in inherited.take(1000)]


def test_of_what_several_have_left_each_event_is_taken_once(tmp_path: Path) -> None:
    """Also where one had it in hand already, so that it was sealed anew."""
    for _ in range(3):
        window, spool = window_in(tmp_path)
        for number in range(60):
            window.hear(payload(number))
        window.take(2)
        window.put_back()
        window.write_all(0.0)
        spool.close()
    after = spool_in(tmp_path)
    after.adopt(time.time())
    assert list(range(60)) == [int(each.body) for each in Inheritance(after).take(1000)]
    assert 1 == len(list(tmp_path.glob("*.spool")))


def test_what_this_one_has_heard_by_itself_it_does_not_inherit(tmp_path: Path) -> None:
    """Or the long outage of a sink would end in everything twice."""
    window, spool = window_in(tmp_path)
    for number in range(60):
        window.hear(payload(number))
    spool.close()
    beside = spool_in(tmp_path)
    beside.adopt(time.time() - 3600)
    assert [] == Inheritance(beside).take(1000)
    assert [] == list(tmp_path.glob("*.lock"))[1:]


def test_a_file_that_is_in_use_or_no_spool_is_left_alone(tmp_path: Path) -> None:
    """And told of, where it cannot be read."""
    window, spool = window_in(tmp_path)
    for number in range(60):
        window.hear(payload(number))
    spool.flush()
    (tmp_path / "q-foreign.spool").write_text("no database")
    after = spool_in(tmp_path)
    after.adopt(0.0)
    assert [] == Inheritance(after).take(10)
    assert 2 <= len(list(tmp_path.glob("*.spool")))


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """With the setting."""
    (tmp_path / "file").write_text("")
    spool = spool_in(tmp_path / "file")
    spool.add(1, payload(1))
    with pytest.raises(BrokerUnavailable, match="BRIDGE_SPOOL"):
        spool.flush()


def test_what_is_set_aside_comes_out_of_the_file_by_parts(tmp_path: Path) -> None:
    """No more than memory has room for at a time, and all of it in the end."""
    window, _ = window_in(tmp_path)
    for number in range(100):
        window.hear(payload(number))
    window.mark("n", 1.0, 1.0)
    silences = Silences(0.0)  # of one that has heard nothing of it
    silences.mark("n", 1, 1.0, 1.0)
    found: list[int] = []
    for _ in range(100):
        assert window.confirmed_elsewhere(Position("n", 0), silences.told(2.0), (2.0, 2.0))
        assert window.aside.bytes <= 2 * MEMORY
        for each in window.aside.first():
            found.append(int(opened(each, None, 0).body))
            window.aside.heard_again(each)
    assert [*range(100)] == found
    assert 0 == window.waiting


def test_what_is_set_aside_at_a_stop_is_found_by_who_comes_next(tmp_path: Path) -> None:
    """Nobody may be there to hear it published again."""
    spool, following = spool_in(tmp_path), spool_in(tmp_path)
    event = payload(1)
    spool.leave([event])
    spool.close()
    following.adopt(0.0)
    assert [event] == [each for _, each in following.inherited(10)]


def test_its_files_are_the_users_alone(tmp_path: Path) -> None:
    """Events may be personal."""
    window, spool = window_in(tmp_path / "spool")
    for number in range(60):
        window.hear(payload(number))
    spool.flush()
    (file,) = (tmp_path / "spool").glob("*.spool")
    assert 0 == file.stat().st_mode & 0o077
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT count(*) FROM heard").fetchone()[0]
    database.close()


@given(
    st.lists(
        st.tuples(st.sampled_from(["hear", "take", "ack", "back", "hole", "tidy"]), st.integers(1, 20)), max_size=40
    )
)
@limits(max_examples=60)
def test_against_a_plain_list(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]) -> None:
    """Whatever is done, each event is handed out in order, and again until it is confirmed."""
    window, spool = window_in(tmp_path_factory.mktemp("spool"))
    published, expected, unconfirmed = 0, 1, 1
    last = None
    for step, number in steps:
        if step == "hear":
            for _ in range(number):
                published += 1
                window.hear(payload(published))
        elif step == "take":
            events, _ = window.take(number)
            assert list(range(expected, expected + len(events))) == [int(each.body) for each in events]
            expected += len(events)
            last = events[-1] if events else last
        elif step == "ack" and last is not None:
            window.acknowledge([Ack(last.lane, last.tag, multiple=True)])
            unconfirmed, last = int(last.body) + 1, None
        elif step == "back":
            window.put_back()
            expected, last = unconfirmed, None
        elif step == "hole":
            window.deafened(1.0, 0.0)
        else:
            window.tidy()
    rest = []
    while events := window.take(7)[0]:
        rest += [int(each.body) for each in events]
    assert list(range(expected, published + 1)) == rest
    spool.close()
