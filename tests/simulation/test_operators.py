"""Commands of an operator in the world `operators`, killed at any step and said again."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from celery_event_bridge.brokers.rabbitmq import migration, purged
from celery_event_bridge.brokers.rabbitmq.confirms import Confirms
from celery_event_bridge.brokers.rabbitmq.plugin import RabbitMQ
from celery_event_bridge.brokers.rabbitmq.unready import Unready
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.broker_plugin import QueuesInUse
from tests.simulation.faults import Card
from tests.simulation.operators.operator import Operator
from tests.simulation.operators.operators_kind import Operators
from tests.simulation.play import Play
from tests.simulation.run import play
from tests.simulation.wire.broker import EXCHANGE, LIVE, OVERFLOW, REJECTED
from tests.simulation.wire.declared import Binding

JUNK = "burst of what has to be parked"
BOTH = [
    Card(1.0, JUNK, 0.1, 0.8),
    *[Card(1.2 + at / 20, "rejected requeue", 0.3, 0.9) for at in range(15)],
    Card(2.5, "stream away", 0.1, 0.9),
    Card(6.0, "queues migrate", 0.4, 0.9),
    *[Card(13.0 + at / 3, "queues migrate", 0.4, 0.6) for at in range(3)],
]


def test_commands_that_are_killed_and_said_again_lose_nothing_and_come_to_their_end() -> None:
    """At any of their steps, also behind the removal of the first queue, with events in every queue."""
    one = Play("1", "operators", BOTH)
    one.run()
    kind = cast("Operators", one.kind)
    assert [True, True] == [each.done for each in kind.operators.values()]
    assert kind.operators["migrate"].runs > 3
    assert kind.rabbit.parked.total() > len(kind.rabbit.parked)


class Failed(Exception):
    """The command has ended without success."""


def test_queues_are_not_removed_while_something_waits_for_an_overflow_that_somebody_has_deleted() -> None:
    """`queues remove` makes it again, waits for what RabbitMQ holds back, and finds it there."""
    one = Play("1", "operators", [Card(1.0, "stream away", 0.1, 0.99), Card(8.1, "all replicas killed", 0.0, 0.0)])

    def retire() -> None:
        """Let no event reach the old queues, and all bridges begin with others."""
        kind = cast("Operators", one.kind)
        kind.rabbit.unbind(Binding(EXCHANGE, LIVE, to_queue=True, key="#"))
        kind.rabbit.replace_queue(REJECTED)  # and nothing is in it
        kind.rabbit.delete_queue(OVERFLOW)
        old, kind.settings = kind.settings, kind.settings.model_copy(update={"queue": "other"})
        kind.rabbit.name = "other"

        def command(operator: Operator) -> None:
            with RabbitMQ(old).queues() as queues:
                try:
                    queues.remove(operator.tell, force=False)
                except QueuesInUse as exc:
                    raise Failed(str(exc)) from exc

        one.world.after(8.0, Operator, one.world, "remove", command, [])

    one.world.after(8.05, retire)
    with pytest.raises(Failed, match=r"queue celeryev\.bridge\.overflow holds \d+ messages?:"):
        one.run()


def test_what_waits_for_an_overflow_that_somebody_has_deleted_is_moved() -> None:
    """RabbitMQ holds it back for its dead-letter route, where no look shows it, until that queue is there again."""
    cards = [
        Card(1.0, "stream away", 0.1, 0.99),
        Card(8.0, "queues migrate", 0.3, 0.0),
        Card(8.1, "all replicas killed", 0.0, 0.0),
    ]
    one = Play("1", "operators", cards)
    held_back: list[int] = []

    def delete() -> None:
        one.kind.rabbit.delete_queue(OVERFLOW)  # type: ignore[attr-defined]

    one.world.after(8.05, delete)
    one.world.after(12.0, lambda: held_back.append(len(one.kind.rabbit.queues[LIVE].in_limbo)))
    one.run()
    assert held_back[0]


def test_a_connection_that_is_lost_while_a_trace_is_left_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """`queues migrate` fails as with any other call, and no error of the client's comes out of it."""
    one = Play("1", "operators", [Card(1.0, "queues migrate", 0.0, 0.0)])
    leave, failed = purged.leave_trace, []

    def cut_and_leave(connection: object, live: str) -> None:
        for each in [*one.kind.rabbit.connections]:
            if each.client == "migrate":
                each.cut("connection reset")
        one.world.current.wait(0.1)  # type: ignore[union-attr]
        leave(connection, live)  # type: ignore[arg-type]

    def end(self: Operator) -> None:
        failed.append(self.done)
        raise Failed

    monkeypatch.setattr(migration, "leave_trace", cut_and_leave)
    monkeypatch.setattr(Operator, "_ended", end)
    with pytest.raises(Failed):
        one.run()
    assert failed == [False]


def take_out_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is published on is not waited for before it is taken out."""
    monkeypatch.setattr(Confirms, "wait", lambda *_: None)


def take_a_refusal_for_a_confirm(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a queue refuses is taken out all the same."""
    wait = Confirms.wait

    def wait_and_believe(self: Confirms[object], queue: str, timeout: float = 10.0) -> None:
        try:
            wait(self, queue, timeout)
        except BrokerUnavailable:
            self._waiting.clear()
            self.refused = False

    monkeypatch.setattr(Confirms, "wait", wait_and_believe)


@pytest.mark.parametrize(
    ("break_it", "command"),
    [
        (take_out_first, "rejected requeue"),
        (take_out_first, "queues migrate"),
        # `queues migrate` looks whether what was confirmed is there, and so does not come to this.
        (take_a_refusal_for_a_confirm, "rejected requeue"),
    ],
)
def test_a_command_that_takes_out_what_no_queue_has_is_found(
    monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None], command: str
) -> None:
    """By the judge of what leaves a queue, within a few seeds."""
    break_it(monkeypatch)
    cards = [
        Card(1.0, JUNK, 0.1, 0.8),
        Card(1.1, "stream away", 0.1, 0.9),
        *[Card(1.5 + at / 5, "parking nacked", 0.5, 0.9) for at in range(100)],
        *[Card(3.0 + at / 3, command, 0.3, 0.9) for at in range(60)],
    ]
    assert lost(cards)


def test_a_migration_that_removes_a_queue_with_messages_held_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same judge: they wait for their dead-letter route, and no look at the depth shows them."""
    monkeypatch.setattr(Unready, "none", lambda _: True)
    refused = [Card(4.0 + 4 * at, "dead letters refused", 0.1, 0.99) for at in range(8)]
    assert lost(
        sorted([Card(1.0, "stream away", 0.1, 0.95), Card(8.0, "queues migrate", 0.1, 0.05), *refused]),
    )


def lost(cards: list[Card]) -> list[str]:
    """Return what two seeds lose."""
    failures = [done.failure for seed in range(2) if (done := play("operators", str(seed), cards)[0]).failure]
    return [one for one in failures if one.startswith("lost")]
