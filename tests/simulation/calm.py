"""The end of a play: with nothing wrong any more, everything is through soon, and once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.messages import Published
from tests.simulation.promises import Broken

if TYPE_CHECKING:
    from tests.simulation.play import Play

REST = 12.0
"""Seconds without anything to be parked, longer than a confirm is waited for."""
SOON = 3.0
"""Seconds within which what is published is stored or parked."""
ROUNDS, A_ROUND = 10, 4
"""Rounds of publishing, and the messages of each."""


def pass_through(play: Play) -> None:
    """Publish a little, rest, and publish again. Raises Broken where a message is late, or is there twice.

    One alone is to be parked: where one is refused, or more comes than fits, others come again, and may.
    """
    for seconds in (REST, SOON):
        published: list[Published] = []
        for _ in range(ROUNDS):
            published += play.publish(A_ROUND, plain=True)
            play.world.run(play.world.now + 0.1)
        published += play.publish(1, junk=True)
        if len(published) < ROUNDS * A_ROUND + 1:
            raise Broken("held up: RabbitMQ takes no message, though nothing is wrong with it")
        play.world.run(play.world.now + seconds)
        for message in published:
            _judge(play, message)


def _judge(play: Play, message: Published) -> None:
    if owed := play.oracle.owed(message):
        raise Broken(f"held up: message {message.number} is {owed} within {SOON:g} s, though nothing is wrong")
    parked = play.kind.rabbit.parked[message.number]
    copies = {event: play.kind.copies(event) for event in message.events if event not in message.poisoned}
    if parked > 1 or any(count > 1 for count in copies.values()):
        raise Broken(f"twice: message {message.number} is parked {parked} times, its events are stored {copies}")
