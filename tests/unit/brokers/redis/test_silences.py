"""What one subscriber has not heard another one sets aside, by places in the order that both know, or by time."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import example, given, strategies as st

from celery_event_bridge.brokers.envelope import sealed
from celery_event_bridge.brokers.redis.aside import Aside
from celery_event_bridge.brokers.redis.held import Window
from celery_event_bridge.brokers.redis.silences import MOST, Position, Silence, Silences

LARGE = 2**40


def payload(number: int) -> bytes:
    return sealed(b"%d" % number, "application/json", {}, "celeryev", "task.sent")


def bodies(aside: Aside) -> list[int]:
    return [int(body) for body in aside.events]


def heard(window: Window, *numbers: int) -> None:
    for number in numbers:
        window.hear(payload(number))


def test_what_who_forwards_has_not_heard_is_set_aside() -> None:
    """And what lies around it, and is confirmed, is not."""
    forwarder, other = Window(LARGE, 0.0), Window(LARGE, 0.0)
    for window in (forwarder, other):
        window.subscribed("r", 0.0)
        window.mark("m", 1.0, 1.0)
        heard(window, 1, 2)
    heard(other, 3, 4)
    forwarder.deafened(1.0, 2.0)
    forwarder.subscribed("r", 2.0)
    for window in (forwarder, other):
        heard(window, 5)
        window.mark("n", 3.0, 3.0)
        heard(window, 6)
    assert other.confirmed_elsewhere(Position("n", 1), forwarder.silences.told(4.0), (4.0, 4.0))
    assert [3, 4] == bodies(other.aside)
    assert 0 == other.waiting


def test_what_was_heard_before_a_replica_was_there_is_set_aside() -> None:
    """It forwards as nobody else can, and those that come back have what it never heard."""
    forwarder, other = Window(LARGE, 0.0), Window(LARGE, 0.0)
    other.subscribed("r", 0.0)
    heard(other, 1, 2)
    forwarder.subscribed("r", 5.0)
    for window in (forwarder, other):
        heard(window, 3)
        window.mark("m", 6.0, 6.0)
    assert other.confirmed_elsewhere(Position("m", 0), forwarder.silences.told(7.0), (7.0, 7.0))
    assert [1, 2] == bodies(other.aside)


def test_what_was_handed_out_and_came_back_is_set_aside() -> None:
    """Its body is what it is known by."""
    other, silences = Window(LARGE, 0.0), Silences(0.0)
    other.subscribed("r", 0.0)
    heard(other, 1, 2)
    other.take(1)
    other.put_back()
    other.mark("m", 6.0, 6.0)
    silences.mark("m", 1, 6.0, 6.0)
    assert other.confirmed_elsewhere(Position("m", 0), silences.told(7.0), (7.0, 7.0))
    assert [1, 2] == bodies(other.aside)
    other.hear_again(payload(1))
    assert [2] == bodies(other.aside)


def test_what_is_set_aside_counts_to_the_bound_and_goes_first() -> None:
    """It is the oldest; who holds it tells of it."""
    one = len(payload(10)) + 200
    other, silences = Window(3 * one, 0.0), Silences(0.0)
    heard(other, 10, 11)
    other.mark("m", 1.0, 1.0)
    silences.mark("m", 1, 1.0, 1.0)
    assert other.confirmed_elsewhere(Position("m", 0), silences.told(2.0), (2.0, 2.0))
    heard(other, 12, 13, 14)
    assert [14 - number for number in range(3)][::-1] == [int(each.body) for each in other.take(9)[0]]
    left = len(other.aside.events)
    assert left < 2
    assert 2 - left == other.aside.tell()
    assert 0 == other.aside.tell()


def test_what_was_dropped_and_who_forwards_has_not_heard_is_told_of_here() -> None:
    """That one counts it as heard by another, and nobody has it."""
    one = len(payload(10)) + 200
    other, silences = Window(3 * one, 0.0), Silences(0.0)
    heard(other, *range(10, 20))
    other.mark("m", 1.0, 1.0)
    silences.mark("m", 1, 1.0, 1.0)
    kept = other.waiting
    assert other.confirmed_elsewhere(Position("m", 0), silences.told(2.0), (2.0, 2.0))
    assert (kept, 10 - kept) == (len(other.aside.events), other.aside.tell())


def test_many_silences_become_fewer_that_are_longer() -> None:
    """Else each word would be as long as a connection is bad."""
    silences = Silences(0.0)
    for number in range(100):
        silences.mark(f"m{number}", 10 * number + 1, float(number), float(number))
        silences.begin(Position(f"m{number}", 5), 10 * number + 6)
        silences.end(10 * number + 6, 0.1, number + 0.5)
    silences.mark("last", 1001, 100.0, 100.0)
    told = silences.told(100.0)
    assert MOST == len(told)
    assert told[0].begin is None
    assert silences.told(1000.0) == ()
    assert silences.told(1000.0, 950.0) == silences.told(1000.0, 1000.0) != (), "while something is not confirmed"


STEPS = (
    "event",
    "mark of one",
    "mark of the other",
    "one is cut",
    "one is back",
    "the other is cut",
    "the other is back",
)


class Heard:
    """One of two subscribers in a list of what happens, a second each."""

    def __init__(self) -> None:
        self.window = Window(LARGE, 0.0)
        self.hears = True
        self.events: set[int] = set()
        self._after = 0.0
        self._cut_at = 0.0
        self.window.subscribed("r", 0.0)

    def cut(self, now: float) -> None:
        if self.hears:
            self.hears, self._cut_at = False, now

    def back(self, now: float) -> None:
        if not self.hears:
            self.hears = True
            self.window.cut()
            self.window.deafened(now - self._cut_at, now)
            self.window.subscribed("r", now)

    def event(self, number: int) -> None:
        if self.hears:
            self.events.add(number)
            self.window.hear(payload(number))

    def mark(self, name: str, now: float, *, own: bool) -> None:
        if self.hears:
            self._after = now if own else self._after
            self.window.mark(name, now, self._after)


@given(st.lists(st.sampled_from(STEPS), max_size=60))
@example(["mark of one", "event", "the other is cut", "one is cut", "event", "one is back", "event", "mark of one",
          "the other is back", "mark of the other", "event"])  # fmt: skip
@example(["mark of one", "one is cut", "event", "one is back", "the other is cut", "event", "event",
          "the other is back", "mark of one"])  # fmt: skip
def test_nothing_that_one_has_not_heard_is_dropped_by_another(steps: Sequence[str]) -> None:
    """Whatever marks either has heard, and however often it was cut off."""
    one, other = Heard(), Heard()
    now = 0.0
    for step in (*steps, "one is back", "the other is back", "event", "mark of one", "event"):
        now += 1.0
        if step == "event":
            one.event(int(now))
            other.event(int(now))
        elif step == "mark of one":
            one.mark(f"m{now}", now, own=True)
            other.mark(f"m{now}", now, own=False)
        elif step == "mark of the other":
            one.mark(f"m{now}", now, own=False)
            other.mark(f"m{now}", now, own=True)
        else:
            who = one if step.startswith("one") else other
            (who.cut if step.endswith("cut") else who.back)(now)
    place = Position(f"m{now - 1}", 1)
    assert other.window.confirmed_elsewhere(place, one.window.silences.told(now), (now, now))
    assert other.events - one.events <= {*bodies(other.window.aside)}
    assert 0 == other.window.waiting


def test_a_mark_that_is_not_known_is_placed_by_the_server_that_it_was_published_at() -> None:
    """What was heard of another one is not in the silence that came before, if its end is known to be older."""
    silences = Silences(0.0)
    silences.subscribed("a", 1, 1.0)
    silences.mark("m", 1, 1.0, 1.0)
    silences.mark("m2", 9, 9.0, 9.0)
    silences.begin(Position("m2", 1), 10)
    silences.end(10, 1.0, 10.0)
    silences.subscribed("b", 10, 10.0)
    silences.mark("n", 30, 10.0, 10.0)
    old = Silence(None, 1e6, "", Position("x", 0), 99.5, "a", 1e6, 99.5)  # ended at 0.5, before we were there
    assert (0, 1) == silences.span(old, 100.0, 100.0)
    later = Silence(None, 1e6, "", Position("x", 0), 90.0, "a", 1e6, 90.0)  # ended at 10.0, when we had left
    assert (0, 10) == silences.span(later, 100.0, 100.0)
    elsewhere = Silence(None, 1e6, "", Position("x", 0), 95.0, "b", 1e6, 95.0)  # ended at 5.0, when we were at `a`
    assert (0, 10) == silences.span(elsewhere, 100.0, 100.0)
