"""The queues and their arguments, exactly; and what the broker says about them, in words for an operator."""

from __future__ import annotations

from typing import Any

import pytest
from amqp.exceptions import AccessRefused, NotFound, PreconditionFailed

from bridge.settings_source import load
from bridge.topology import Topology, explain

LIVE = {
    "x-queue-type": "quorum",
    "x-message-ttl": 5000,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "celeryev.bridge.overflow",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
    "x-delivery-limit": 1_000_000,
    "x-max-length-bytes": 4 * 2**30,
}
OVERFLOW = {
    "x-queue-type": "quorum",
    "x-max-length-bytes": 4 * 2**30,
    "x-overflow": "drop-head",
    "x-delivery-limit": 1_000_000,
}


def topology(**variables: str) -> Topology:
    return Topology.from_settings(load(variables).settings)


def test_the_arguments_are_the_contracts() -> None:
    """They cannot be changed later, so not one may differ."""
    queues = {queue.name: dict(queue.arguments) for queue in topology().queues}
    assert {
        "celeryev.bridge": LIVE,
        "celeryev.bridge.overflow": OVERFLOW,
        "celeryev.bridge.rejected": OVERFLOW | {"x-max-length-bytes": 256 * 2**20},
    } == queues


def test_overflow_is_declared_before_live() -> None:
    """A dead-letter route has to lead somewhere from the first moment on."""
    names = [queue.name for queue in topology().queues]
    assert names.index("celeryev.bridge.overflow") < names.index("celeryev.bridge")


def test_without_a_ttl_there_is_no_overflow() -> None:
    """No TTL, no dead-letter route, no overflow queue."""
    without = topology(BRIDGE_QUEUE_TTL="0")
    assert ["celeryev.bridge.rejected", "celeryev.bridge"] == [queue.name for queue in without.queues]
    assert {"x-queue-type", "x-overflow", "x-delivery-limit", "x-max-length-bytes"} == set(without.live.arguments)


def test_classic_queues_have_no_quorum_arguments() -> None:
    """A classic queue is refused with an argument that it does not know."""
    for queue in topology(BRIDGE_QUEUE_TYPE="classic").queues:
        assert "classic" == queue.arguments["x-queue-type"]
        assert not {"x-delivery-limit", "x-dead-letter-strategy"} & set(queue.arguments)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '7000' but current is '5000'",
            "queue 'q' exists with x-message-ttl=5000, the settings ask for x-message-ttl=7000: set BRIDGE_QUEUE_TTL",
        ),
        (
            (
                "inequivalent arg 'x-dead-letter-exchange' for queue 'q' in vhost '/': "
                "received none but current is the value '' of type 'longstr'"
            ),
            "exists with x-dead-letter-exchange='', the settings ask for x-dead-letter-exchange=none: set BRIDGE_QUEUE",
        ),
        (
            "inequivalent arg 'durable' for exchange 'celeryev' in vhost '/': received 'true' but current is 'false'",
            "exchange 'celeryev' exists with durable=false, Celery's is durable=true: set BRIDGE_EVENT_EXCHANGE",
        ),
    ],
)
def test_other_arguments_in_words(text: str, wanted: str) -> None:
    """The line names what exists, both values and the way out."""
    assert wanted in explain(refusal(PreconditionFailed, 406, f"PRECONDITION_FAILED - {text}"))


def test_missing_rights_and_queues_in_words() -> None:
    """The line says what to grant, or what to set."""
    assert "grant this user configure" in explain(refusal(AccessRefused, 403, "ACCESS_REFUSED - no"))
    assert "BRIDGE_DECLARE=false" in explain(refusal(NotFound, 404, "NOT_FOUND - no queue"))
    assert "ConnectionResetError: gone" == explain(ConnectionResetError("gone"))


def refusal(kind: Any, code: int, text: str) -> Exception:
    error: Exception = kind(text, (50, 10), "Queue.declare")
    assert code == kind.code
    return error
