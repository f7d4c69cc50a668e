"""The source beside the others: what it says of how far all is confirmed, and of what nobody has heard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celery_event_bridge.brokers.redis.control import Control
from celery_event_bridge.brokers.redis.settings import Settings
from celery_event_bridge.brokers.redis.silences import Position
from celery_event_bridge.contract import notices
from tests.support.redis_bench import Bench


@pytest.fixture(autouse=True)
def _no_notices_before() -> Iterator[None]:
    notices.NOTICES.clear()
    yield
    notices.NOTICES.clear()


def age(arguments: Any) -> float:
    return float(arguments[8]) / 1000


def test_the_record_says_since_when_something_is_not_confirmed() -> None:
    """Else who takes over after all have died would tell of a gap from the last word, however much was waiting."""
    bench = Bench()
    bench.take()
    assert 0.0 == age(bench.link.looks[-1])
    bench.link.publish(b"1")
    assert [b"1"] == bench.turn()
    for _ in range(8):
        bench.turn(0.5)
    assert 3.0 < age(bench.link.looks[-1]) < 5.0


def test_a_lease_given_up_on_a_new_connection_says_that_nothing_was_heard() -> None:
    """What was published since nobody may have: it is not to be taken for confirmed."""
    bench = Bench()
    bench.take()
    bench.clock.now += 3.0
    bench.source.drop()
    bench.source.open()
    (release,) = bench.link.looks
    assert release[2] == "release"
    assert 3.0 <= age(release) < 4.0


def test_who_gives_it_up_before_it_forwards_leaves_a_wait() -> None:
    """Its connection is lost while it waits for one that may forward still: the next one would not."""
    bench = Bench()
    for _ in range(10):
        if not bench.source.forwards and bench.link.holder != "a":
            bench.turn(0.5)
    bench.source.drop()
    bench.source.open()
    assert "leave" == bench.link.looks[0][2]


def test_what_nobody_has_heard_at_another_server_is_a_gap() -> None:
    """Behind a partition this one heard the old master until just now: the new one has published meanwhile."""
    bench = Bench()
    bench.take()
    bench.source.drop()
    bench.run, bench.record = "r2", ("a", round((bench.clock.now - 5.0) * 1000), "m", 0, "r", "here", "1", "a", "")
    bench.source.open()
    bench.source.consume()
    bench.link.publish(b"1")
    for _ in range(10):
        bench.turn(0.5)
    assert 4.4 < notices.NOTICES.seconds("gap") < 5.1


def test_what_it_says_of_one_server_it_does_not_say_to_another() -> None:
    """There the same place is another one."""
    bench = Bench()
    bench.take()
    bench.source.drop()
    bench.run = "r2"
    bench.source.open()
    (release,) = bench.link.looks
    assert ("release", "") == (release[2], release[3])


def test_who_forwards_is_listened_to_though_tokens_have_begun_anew() -> None:
    """The record was deleted, and the server's clock set back: else what is confirmed would wait here for ever."""
    bench = Bench()
    bench.link.holder = "b"
    bench.link.say(Control("b.1", "b", 9, None))
    bench.turn()
    bench.link.publish(b"1")
    bench.turn(1.0)  # and the server's token is a lower one
    bench.link.say(Control("b.2", "b", 1, Position("b.1", 1)))
    bench.turn()
    bench.link.holder = ""
    assert [] == [body for _ in range(10) for body in bench.turn(0.5)]
    assert bench.link.holder == "a"


def test_a_gap_is_told_of_though_the_first_answer_was_lost() -> None:
    """The record names this one by then, and says since when nothing is confirmed still by another one's word."""
    bench = Bench()
    bench.link.record = ("a", round((bench.clock.now - 7.0) * 1000), "m", 0, "r", "here", "1", "b", "")
    bench.take()
    assert 6.4 < notices.NOTICES.seconds("gap") < 7.1


def test_who_stood_still_while_it_read_hands_out_nothing() -> None:
    """What it has read another one forwards by then."""
    bench = Bench()
    bench.take()
    bench.link.stands_still = 3.0
    bench.link.publish(b"1")
    assert [] == bench.turn()


def test_what_was_in_hand_is_handed_out_again_after_a_lost_connection() -> None:
    """The relay has forgotten it, and nobody else has it if none stands by."""
    bench = Bench()
    bench.take()
    bench.link.publish(b"1", b"2")
    assert [b"1", b"2"] == bench.turn()
    bench.source.drop()
    bench.source.open()
    bench.source.consume()
    assert [b"1", b"2"] == [body for _ in range(12) for body in bench.turn(0.5)]


def test_a_word_without_a_place_takes_none_back() -> None:
    """Who knows the last place has missed nothing, and takes a free lease at once."""
    bench = Bench()
    bench.link.holder = "b"
    bench.link.say(Control("b.1", "b", 1, None))
    bench.link.say(Control("b.2", "b", 1, Position("b.1", 0)))
    bench.link.say(Control("b.3", "b", 1, None))
    bench.turn()
    bench.link.holder = ""
    bench.turn(0.5)
    assert "a" == bench.link.holder


def test_what_is_read_after_standing_still_may_have_come_long_ago() -> None:
    """And the connection may be gone since: nothing shows that more was heard than before."""
    bench = Bench()
    bench.take()
    bench.link.say(Control("b.1", "b", 0, None))
    bench.link.stands_still = 5.0
    bench.turn()
    bench.source.drop()
    bench.source.open()
    assert age(bench.link.looks[0]) >= 5.0


def test_who_is_deaf_notices_though_the_script_is_refused() -> None:
    """And what is answered meanwhile is no sign that anything was heard."""
    bench = Bench()
    bench.take()
    bench.link.is_deaf = bench.link.refuses = True
    for _ in range(6):
        bench.turn(0.5)
    assert 2 == len(bench.links)
    assert age(bench.link.looks[0]) >= 1.0


def test_a_spool_that_cannot_be_is_told_of_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is written first in an outage of the sink, when it is too late; and once, not with each connection."""
    (tmp_path / "file").touch()
    bench = Bench(settings=Settings(broker_url="redis://h", spool=tmp_path / "file"))
    (told,) = caplog.messages
    assert f"BRIDGE_SPOOL={tmp_path}/file: {tmp_path}/file is no directory: name one" in told
    bench.source.drop()
    caplog.clear()
    bench.source.open()
    assert not any("BRIDGE_SPOOL" in each for each in caplog.messages)
    Bench(settings=Settings(broker_url="redis://h", spool=tmp_path / "spool", spool_max_bytes="1MiB"))
    assert not any("BRIDGE_SPOOL" in each for each in caplog.messages)


def test_a_minute_without_events_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Once, by whoever listens, until they come: another database or exchange than Celery's is silent for ever."""
    caplog.set_level("INFO")
    bench = Bench()
    for _ in range(59):
        bench.turn(1.0)
    assert 0 == notices.NOTICES.counts()["no-events"]
    for _ in range(60):
        bench.turn(1.0)
    (told,) = [each for each in caplog.messages if "no event has come" in each]
    assert "on channel /0.celeryev/* for 60 s" in told
    assert "are the database, global_keyprefix and event_exchange those of Celery?" in told
    assert 6 == notices.NOTICES.counts()["no-events"], "each ten seconds"
    bench.link.publish(b"1")
    bench.turn()
    bench.turn(0.1)
    assert "events come on channel /0.celeryev/*" in caplog.messages
    bench.turn(1.0)
    assert 6 == notices.NOTICES.counts()["no-events"]


@pytest.mark.parametrize(
    "word",
    [
        b"",
        b"\xff\xfe",
        b'["\xff","b",1,null]',
        b'["m","b",1,null,false,[],0,' + b"[" * 100_000 + b"]" * 100_000 + b"]",
        b'["m","b",1,["m",1e400]]',
        b'{"a":1}',
    ],
)
def test_what_somebody_else_says_on_the_bridges_channel_is_passed_over(word: bytes) -> None:
    """Every bridge hears it: it ends none of them."""
    bench = Bench()
    bench.take()
    bench.link.overhear(word)
    bench.link.publish(b"1")
    assert [b"1"] == bench.turn()


def test_a_message_that_is_refused_stays_said_while_the_lease_is_not() -> None:
    """The next look at the lease succeeds, and nobody hears how far all is confirmed all the same."""
    bench = Bench()
    bench.take()
    bench.link.refuses_messages = True
    bench.turn(0.5)
    for _ in range(8):
        bench.turn(0.2)
        assert "NOPERM" in str(bench.source.held_up)
    bench.link.refuses_messages = False
    for _ in range(4):
        bench.turn(0.3)
    assert bench.source.held_up is None


def test_who_forwards_says_so_and_no_other_one() -> None:
    """From when it may hand out events until its lease is over, renewed or not."""
    bench = Bench()
    assert not bench.source.forwards
    bench.take()
    assert bench.source.forwards
    bench.clock.now += 2.5
    assert not bench.source.forwards
    bench.link.holder = "b"
    bench.turn()
    assert not bench.source.forwards


def test_an_event_shows_that_all_before_it_was_heard() -> None:
    """A gap begins where the last one was read, and not at the last mark."""
    bench = Bench()
    bench.take()
    bench.link.refuses_messages = True
    for _ in range(3):
        bench.link.publish(b"1")
        bench.store(0.3)
    bench.source.drop()
    bench.source.open()
    assert age(bench.link.looks[0]) < 0.4


def test_who_tells_of_a_gap_says_so_to_the_others() -> None:
    """They keep the same times, and would tell of them after it."""
    bench = Bench()
    bench.take()
    bench.clock.now += 3.0
    bench.source.drop()
    bench.source.open()
    bench.source.consume()
    bench.link.publish(b"1")
    for _ in range(12):
        bench.store(0.5)
    assert 2.9 < notices.NOTICES.seconds("gap") < 4.0
    assert 1 == len(bench.link.words[-1].told)
    assert () == bench.link.words[-1].gaps
    assert any(word.gaps for word in bench.link.words), "it had waited"
    assert any("[[" in str(look[9]) for look in bench.link.looks), "in the record, too"
    assert "" == bench.link.looks[-1][9]


def test_the_last_word_of_who_ends_says_what_it_has_told() -> None:
    """Nobody hears it any more, but for those that were slow."""
    bench = Bench()
    bench.take()
    bench.clock.now += 3.0
    bench.source.drop()
    bench.source.open()
    bench.source.consume()
    bench.link.publish(b"1")
    for _ in range(7):
        bench.store(0.3)
    link = bench.link
    assert 0.0 == notices.NOTICES.seconds("gap")
    bench.source.close()
    assert 2.9 < notices.NOTICES.seconds("gap") < 4.0
    assert 1 == len(link.words[-1].told)
