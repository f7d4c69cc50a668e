"""Schedules that have broken a promise in the world `pubsub`, made short: each keeps every one now."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.simulation.faults import Card
from tests.simulation.run import play


def deleted_twice(restart: float, late: float, also_late: float) -> Sequence[Card]:
    return [
        Card(0.0631, "Redis restarted", 0.0993, restart),
        Card(1.9687, "lease deleted", 0.7, 0.9),
        Card(1.9834, "commands late", late, 0.9584),
        Card(2.1257, "commands late", also_late, 0.6038),
        Card(2.8902, "lease deleted", 0.2, 0.7),
    ]


def left_by(stopped: tuple[float, float], cut: tuple[float, float], late: tuple[float, float], at: float) -> list[Card]:
    return [
        Card(at, "commands late", late[0], 0.95),
        Card(at + 0.02, "commands late", late[1], 0.95),
        Card(at + 0.1, "lease deleted", 0.5, 0.5),
        Card(cut[0], "connection cut", cut[1], 0.5),
        Card(stopped[0], "replica stopped", stopped[1], 0.5),
    ]


TAKEN_ANEW = {
    "14": deleted_twice(0.4033, 0.2122, 0.9517),
    "17": deleted_twice(0.3436, 0.7821, 0.2178),
    "25": deleted_twice(0.2504, 0.1399, 0.6835),
}
LEFT = {
    "0": left_by((6.0865, 0.8706), (6.2633, 0.2236), (0.5234, 0.5605), 4.6958),
    "5": left_by((6.1659, 0.2111), (5.6903, 0.9653), (0.7387, 0.4486), 4.58),
    "6": left_by((5.0763, 0.8166), (4.8488, 0.3473), (0.2139, 0.8297), 4.1101),
}

LATE = {
    "48": [Card(3.5695, "Redis parted", 0.2573, 0.9261), Card(7.1573, "connection half open", 0.5937, 0.85)],
    "56": [Card(3.2458, "Redis parted", 0.2555, 0.9917), Card(7.8324, "connection half open", 0.9233, 0.8916)],
}


@pytest.mark.parametrize("seed", LATE)
def test_who_comes_late_from_another_server_cuts_no_gap_short(seed: str) -> None:
    """All were behind the partition: what that one has heard until then was published elsewhere."""
    assert "" == play("pubsub", seed, LATE[seed])[0].failure


def test_a_lease_that_was_given_up_does_not_say_when_servers_parted() -> None:
    """Who comes next finds no time of a renewal: what it missed is no longer than the others say."""
    card = Card(3.397098029999727, "Redis failed over", 0.9586086201564052, 0.09716606150071072)
    assert "" == play("gaps", "700233", [card])[0].failure


@pytest.mark.parametrize("seed", TAKEN_ANEW)
def test_a_lease_that_is_deleted_twice_lets_nobody_forward_beside_another(seed: str) -> None:
    """Who takes it anew waits for the first one still, whose renewals are late: it does not know yet."""
    assert "" == play("pubsub", seed, TAKEN_ANEW[seed])[0].failure


@pytest.mark.parametrize("seed", LEFT)
def test_a_lease_that_is_given_up_too_early_lets_nobody_forward_beside_another(seed: str) -> None:
    """Who gives it up has waited for the first one: the next one does, too."""
    assert "" == play("pubsub", seed, LEFT[seed])[0].failure


def test_an_event_that_was_published_again_is_held_in_its_new_place() -> None:
    """Its first place, in the same window, is let go of, as it lies before what is confirmed: nothing is lost."""
    assert "" == play("pubsub", "40", deleted_twice(0.4106, 0.0404, 0.5771))[0].failure


def test_of_a_server_that_has_known_of_no_lease_no_gap_is_known() -> None:
    """It was promoted before anybody had taken one: nobody can tell from when on others have published there."""
    card = Card(1.1193319176469307, "Redis parted", 0.030546751900334068, 0.9428624880510588)
    assert "" == play("pubsub", "440", [card])[0].failure
