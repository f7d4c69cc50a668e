"""The queues and their arguments, exactly; and what the broker says about them, in words for an operator."""

from __future__ import annotations

from typing import Any

import pytest
from amqp.exceptions import AccessRefused, NotAllowed, NotFound, PreconditionFailed, ResourceError

from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import DELIVERY_LIMIT, QueueSpec, Topology, declare_queue, explain
from celery_event_bridge.config.loading import load

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


def rabbitmq(variables: dict[str, str]) -> Settings:
    _, made = load(variables).broker
    assert isinstance(made, Settings)
    return made


def topology(**variables: str) -> Topology:
    return Topology.from_settings(rabbitmq(variables))


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
            "exchange 'celeryev' exists with durable=false, Celery's is durable=true: delete it, if it is the one",
        ),
    ],
)
def test_other_arguments_in_words(text: str, wanted: str) -> None:
    """The line names what exists, both values and the way out."""
    assert wanted in explain(refusal(PreconditionFailed, 406, f"PRECONDITION_FAILED - {text}"))


def test_missing_rights_and_queues_in_words() -> None:
    """The line says what to grant, or what to set."""
    assert "grant this user configure" in explain(refusal(AccessRefused, 403, "ACCESS_REFUSED - no"))
    assert "queues declare" in explain(refusal(NotFound, 404, "NOT_FOUND - no queue"))
    assert "ConnectionResetError: gone" == explain(ConnectionResetError("gone"))


def refusal(kind: Any, code: int, text: str) -> Exception:
    error: Exception = kind(text, (50, 10), "Queue.declare")
    assert code == kind.code
    return error


class Recorder:
    """A channel that writes down what it is asked."""

    connection = None

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def exchange_declare(self, exchange: str, kind: str, **flags: bool) -> None:
        self.calls.append(("exchange", exchange, kind, flags))

    def queue_declare(self, queue: str, *, arguments: dict[str, Any], **flags: bool) -> None:
        self.calls.append(("queue", queue, arguments, flags))

    def queue_bind(self, queue: str, exchange: str, *, routing_key: str) -> None:
        self.calls.append(("bind", queue, exchange, routing_key))


def test_what_is_declared() -> None:
    """Celery's exchange as Celery declares it, the queues in their order, the live one bound to every event."""
    channel, lasting = Recorder(), {"durable": True, "auto_delete": False}
    topology(BRIDGE_EVENT_EXCHANGE="events", BRIDGE_QUEUE="q").declare(channel)
    assert [
        ("exchange", "events", "topic", lasting),
        ("queue", "q.rejected", OVERFLOW | {"x-max-length-bytes": 256 * 2**20}, lasting),
        ("queue", "q.overflow", OVERFLOW, lasting),
        ("queue", "q", LIVE | {"x-dead-letter-routing-key": "q.overflow"}, lasting),
        ("bind", "q", "events", "#"),
    ] == channel.calls


def test_the_arguments_given_to_the_client_are_its_own() -> None:
    """It may change them; the specification stays."""
    channel, arguments = Recorder(), {"x-queue-type": "quorum"}
    declare_queue(channel, QueueSpec("q", arguments))
    (_, _, given, _) = channel.calls[0]
    assert arguments == given
    assert arguments is not given


def test_arguments_without_a_ttl() -> None:
    """All that is left of the live queue's; the parking queue's are the same as ever."""
    without = topology(BRIDGE_QUEUE_TTL="0")
    kept = ("x-queue-type", "x-overflow", "x-delivery-limit", "x-max-length-bytes")
    assert without.overflow is None
    assert {name: LIVE[name] for name in kept} == dict(without.live.arguments)
    assert OVERFLOW | {"x-max-length-bytes": 256 * 2**20} == dict(without.rejected.arguments)


def test_arguments_of_classic_queues() -> None:
    """What a broker without quorum queues understands, and dead-lettering at most once."""
    classic = topology(BRIDGE_QUEUE_TYPE="classic", BRIDGE_OVERFLOW_MAX_BYTES="1GiB", BRIDGE_REJECTED_MAX_BYTES="5")
    bounded = {"x-queue-type": "classic", "x-overflow": "drop-head"}
    assert {
        "celeryev.bridge.rejected": bounded | {"x-max-length-bytes": 5},
        "celeryev.bridge.overflow": bounded | {"x-max-length-bytes": 2**30},
        "celeryev.bridge": {
            "x-queue-type": "classic",
            "x-overflow": "reject-publish",
            "x-max-length-bytes": 2**30,
            "x-message-ttl": 5000,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": "celeryev.bridge.overflow",
        },
    } == {queue.name: dict(queue.arguments) for queue in classic.queues}


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("0.5", 500), ("1ms", 1), ("0.1ms", 1), ("2.0004", 2000), ("4294967", 4294967000)]
)
def test_the_ttl_is_whole_milliseconds(text: str, milliseconds: int) -> None:
    """RabbitMQ refuses a fraction, and 2^32 and more."""
    ttl = topology(BRIDGE_QUEUE_TTL=text).live.arguments["x-message-ttl"]
    assert (milliseconds, int) == (ttl, type(ttl))
    assert ttl < 2**32


def test_a_crash_loop_throws_no_event_away() -> None:
    """RabbitMQ 4 gives a message up after 20 returns unless told otherwise."""
    limits = {queue.name: queue.arguments["x-delivery-limit"] for queue in topology().queues}
    assert {DELIVERY_LIMIT} == set(limits.values())
    assert DELIVERY_LIMIT > 100_000


WAYS_OUT = "or choose another name with BRIDGE_QUEUE and move with `queues migrate --from "
MISMATCH = "PRECONDITION_FAILED - inequivalent arg"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            f"{MISMATCH} 'x-message-ttl' for queue 'ie' in vhost '/': received '7000' but current is '5000'",
            (
                "queue 'ie' exists with x-message-ttl=5000, the settings ask for x-message-ttl=7000: "
                f"set BRIDGE_QUEUE_TTL to match it, {WAYS_OUT}ie`"
            ),
        ),
        (
            (
                f"{MISMATCH} 'x-dead-letter-exchange' for queue 'ie' in vhost '/': "
                "received none but current is the value '' of type 'longstr'"
            ),
            (
                "queue 'ie' exists with x-dead-letter-exchange='', the settings ask for x-dead-letter-exchange=none: "
                f"set BRIDGE_QUEUE_TTL to match it, {WAYS_OUT}ie`"
            ),
        ),
        (
            (
                f"{MISMATCH} 'x-overflow' for queue 'a: b' in vhost 'v': received the value 'drop-head' of type "
                "'longstr' but current is none"
            ),
            (
                "queue 'a: b' exists with x-overflow=none, the settings ask for x-overflow=drop-head: "
                f"delete it once it is empty, {WAYS_OUT}a: b`"
            ),
        ),
        (
            f"{MISMATCH} 'durable' for queue 'q' in vhost '/': as nobody has ever seen it",
            (
                "queue 'q' exists with durable=one, the settings ask for durable=another: "
                f"delete it once it is empty, {WAYS_OUT}q`"
            ),
        ),
    ],
)
def test_a_mismatch_is_one_line_with_two_ways_out(text: str, line: str) -> None:
    """It names the queue, the argument and both values, whichever way RabbitMQ says it."""
    assert line == explain(refusal(PreconditionFailed, 406, text))


def test_a_refusal_keeps_the_brokers_own_words() -> None:
    """They name the queue, the user and the vhost."""
    refused = "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'u'"
    assert explain(refusal(AccessRefused, 403, refused)).startswith(f"{refused}: grant this user")
    missing = "NOT_FOUND - no queue 'q' in vhost '/'"
    assert explain(refusal(NotFound, 404, missing)).startswith(
        f"{missing}: declare it, `celery-event-bridge queues declare` does"
    )
    other = "PRECONDITION_FAILED - unknown delivery tag 7"
    assert f"406 {other}" == explain(refusal(PreconditionFailed, 406, other))


@pytest.mark.parametrize(
    "text", ["No free channel ids, current=2, channel_max=2", "NOT_ALLOWED - number of channels opened has reached 2"]
)
def test_too_few_channels_are_said_with_the_limits_to_raise(text: str) -> None:
    """Of the connection and of the user; the bare code helps nobody."""
    kind, code = (NotAllowed, 530) if text.startswith("NOT") else (ResourceError, 506)
    said = explain(refusal(kind, code, text))
    assert said.startswith(f"{code} {text}: a connection of a bridge needs 10 channels; raise RabbitMQ's channel_max")


def test_an_error_without_words_is_named() -> None:
    """A line that says nothing helps nobody."""
    assert "TimeoutError" == explain(TimeoutError())
    assert explain(AccessRefused()).startswith("AccessRefused")


@pytest.mark.parametrize(("ttl", "doubted"), [("0", False), ("5", False), ("1h", False), ("5000", True), ("2h", True)])
def test_a_ttl_that_was_hardly_meant_is_doubted(ttl: str, doubted: bool) -> None:
    """An hour is a wish; 5000 were ms elsewhere."""
    text = topology(BRIDGE_QUEUE_TTL=ttl).doubt
    assert doubted == bool(text)
    assert ttl != "5000" or "BRIDGE_QUEUE_TTL=5000 is in seconds" in text
    assert ttl != "5000" or "if ms were meant, say 5." in text
