"""What a parked message carries: its own properties but for those that would do harm, and why, whence and when."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import pytest
from amqp.basic_message import Message as AmqpMessage
from hypothesis import given, strategies as st

from celery_event_bridge.brokers.parked_message import MAX_ERROR
from celery_event_bridge.brokers.rabbitmq import parked_properties as properties_module
from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.headers import LEFT_OFF
from celery_event_bridge.brokers.rabbitmq.parked_properties import fitting, origin, parked_properties
from celery_event_bridge.contract import JSON, Rejection
from celery_event_bridge.contract.broker import Message, Parcel

OURS = {"x-bridge-reason", "x-bridge-error", "x-bridge-exchange", "x-bridge-routing-key", "x-bridge-parked-at"}
WHY = Rejection("content-type", "application/x-python-serialize is neither JSON nor msgpack")
DEATH = {
    "queue": "celeryev.bridge",
    "reason": "expired",
    "count": 1,
    "exchange": "celeryev",
    "routing-keys": ["worker.heartbeat"],
}


def message(
    headers: Mapping[str, Any] | None = None,
    properties: Mapping[str, Any] | None = None,
    *,
    exchange: str = "celeryev",
    routing_key: str = "task.multi",
    expired: bool = False,
) -> Message:
    headers = headers or {}
    properties = {"application_headers": headers} | dict(properties or {})
    return Delivered("lane", 1, b"{}", JSON, headers, False, expired, properties, exchange, routing_key)


def overflowed(headers: Mapping[str, Any]) -> Message:
    """As it arrives from the overflow queue: the default exchange routed it there."""
    return message(headers, exchange="", routing_key="celeryev.bridge.overflow", expired=True)


def parked(subject: Message, why: Rejection = WHY) -> dict[str, Any]:
    return parked_properties(Parcel(subject, why))


def parked_headers(subject: Message, why: Rejection = WHY) -> dict[str, Any]:
    headers: dict[str, Any] = parked(subject, why)["application_headers"]
    return headers


def test_it_says_why_and_whence() -> None:
    """Reason, error, exchange and routing key are headers of the names that the contract gives."""
    headers = parked_headers(message())
    assert set(headers) == OURS
    assert {
        "x-bridge-reason": WHY.reason,
        "x-bridge-error": WHY.error,
        "x-bridge-exchange": "celeryev",
        "x-bridge-routing-key": "task.multi",
    } == {name: value for name, value in headers.items() if name != "x-bridge-parked-at"}


def test_it_says_when() -> None:
    """The time of parking is ISO 8601, in UTC, to the millisecond."""
    before = datetime.datetime.now(datetime.UTC)
    text = parked_headers(message())["x-bridge-parked-at"]
    after = datetime.datetime.now(datetime.UTC)
    at = datetime.datetime.fromisoformat(text)
    assert datetime.timedelta(0) == at.utcoffset()
    assert before - datetime.timedelta(milliseconds=1) <= at <= after
    assert len("2026-01-02T03:04:05.678+00:00") == len(text)


def test_its_own_properties_and_headers_stay() -> None:
    """What does no harm is as its publisher sent it."""
    own = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "delivery_mode": 1,
        "priority": 3,
        "correlation_id": "c",
        "reply_to": "r",
        "message_id": "m",
        "timestamp": 1_700_000_000,
        "type": "t",
        "app_id": "a",
    }
    properties = parked(message({"hostname": "w@h", "compression": "gzip"}, own))
    assert own == {name: value for name, value in properties.items() if name != "application_headers"}
    headers = properties["application_headers"]
    assert ("w@h", "gzip") == (headers["hostname"], headers["compression"])


@pytest.mark.parametrize(
    ("name", "header", "value"),
    [("expiration", "x-bridge-expiration", "5000"), ("user_id", "x-bridge-user-id", "guest")],
)
def test_properties_that_would_do_harm_move_to_headers(name: str, header: str, value: str) -> None:
    """An expiration would remove the parked message, a user id would have it refused."""
    properties = parked(message(properties={name: value}))
    assert name not in properties
    assert value == properties["application_headers"][header]


@pytest.mark.parametrize("name", ["expiration", "user_id"])
def test_a_property_that_is_not_set_leaves_no_header(name: str) -> None:
    """The headers say only what was there."""
    assert OURS == set(parked_headers(message(properties={name: None})))


@pytest.mark.parametrize(("name", "header"), [("CC", "x-bridge-cc"), ("BCC", "x-bridge-bcc")])
def test_routes_for_copies_move_to_other_headers(name: str, header: str) -> None:
    """Parking sends the message to one queue, whatever else it was sent to."""
    headers = parked_headers(message({name: ["audit", "billing"]}))
    assert name not in headers
    assert ["audit", "billing"] == headers[header]


@pytest.mark.parametrize(
    "name",
    [
        *("x-death", "x-delivery-count", "x-acquired-count"),
        *("x-first-death-queue", "x-first-death-reason", "x-first-death-exchange"),
        *("x-last-death-queue", "x-last-death-reason", "x-last-death-exchange"),
    ],
)
def test_what_the_broker_added_is_stripped(name: str) -> None:
    """With a history of deaths, a message that is requeued later would be taken for a cycle and dropped."""
    assert OURS == set(parked_headers(message({name: [DEATH]})))


def test_headers_that_only_resemble_the_brokers_stay() -> None:
    """A publisher's own header is not taken for RabbitMQ's."""
    own = {"x-deaths": 1, "x-first": 2, "x-delivery": 3, "cc": "x"}
    assert own.items() <= parked_headers(message(own)).items()


def test_an_expired_message_keeps_where_it_was_published() -> None:
    """Not the default exchange that overflow is fed by, but the exchange and key of its first death."""
    latest = DEATH | {"exchange": "", "routing-keys": ["celeryev.bridge.overflow"], "queue": "celeryev.bridge.overflow"}
    subject = overflowed({"x-death": [latest, DEATH]})
    assert ("celeryev", "worker.heartbeat") == origin(subject)
    headers = parked_headers(subject)
    assert ("celeryev", "worker.heartbeat") == (headers["x-bridge-exchange"], headers["x-bridge-routing-key"])
    assert "x-death" not in headers


def test_a_message_that_did_not_expire_has_its_own_origin() -> None:
    """A history of deaths that its publisher made up, or another queue's, does not count."""
    assert ("celeryev", "task.multi") == origin(message({"x-death": [DEATH]}))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-death": []},
        {"x-death": "expired"},
        {"x-death": ["expired"]},
        {"x-death": [{"exchange": "celeryev"}]},
        {"x-death": [DEATH | {"routing-keys": []}]},
        {"x-death": [DEATH | {"routing-keys": "task.multi"}]},
    ],
)
def test_without_a_history_the_origin_is_where_it_was_delivered_from(headers: dict[str, Any]) -> None:
    """A history of another form is no reason to fail."""
    assert ("", "celeryev.bridge.overflow") == origin(overflowed(headers))


def test_an_error_is_cut_to_fit_a_frame() -> None:
    """The headers of a message have to fit into one frame, however much a library has to say."""
    longest = parked_headers(message(), Rejection("undecodable", "é" * (MAX_ERROR + 1)))
    assert "é" * MAX_ERROR == longest["x-bridge-error"]


def test_reasons_of_an_earlier_parking_are_replaced() -> None:
    """A message that was requeued and is parked again says why this time."""
    again = parked_headers(message({"x-bridge-reason": "refused", "x-bridge-error": "then", "x-bridge-note": "own"}))
    assert (WHY.reason, WHY.error, "own") == (
        again["x-bridge-reason"],
        again["x-bridge-error"],
        again["x-bridge-note"],
    )


def test_the_message_itself_is_not_touched() -> None:
    """Parking that fails is tried again, with what was received."""
    headers = {"CC": ["audit"], "x-death": [DEATH], "hostname": "h"}
    properties = {"expiration": "5", "user_id": "u"}
    subject = message(headers, properties)
    first = parked_headers(subject)
    assert {"CC": ["audit"], "x-death": [DEATH], "hostname": "h"} == subject.headers
    assert {"application_headers": headers, "expiration": "5", "user_id": "u"} == subject.properties
    second = parked_headers(subject)
    assert first | {"x-bridge-parked-at": None} == second | {"x-bridge-parked-at": None}


@given(
    st.dictionaries(st.sampled_from(["hostname", "CC", "x-death", "x-delivery-count", "own"]), st.text(max_size=5)),
    st.dictionaries(st.sampled_from(["expiration", "user_id", "content_type", "app_id"]), st.text(max_size=5)),
    st.text(max_size=50),
)
def test_every_parked_message_can_be_published(headers: dict[str, Any], properties: dict[str, Any], error: str) -> None:
    """The client takes the properties, and reads back the same ones."""
    made = parked(message(headers, properties), Rejection("refused", error))
    sent = AmqpMessage(b"{}", **made)
    received = AmqpMessage()
    received._load_properties(60, sent._serialize_properties(), 0)
    assert made == received.properties


@given(st.dictionaries(st.text("abcdé", min_size=1, max_size=8), st.integers(0, 70_000), max_size=6))
def test_headers_that_fill_a_frame(sizes: Mapping[str, int]) -> None:
    """The largest are left off and named until the rest fits with ours; of those that fit, none."""
    headers = {name: "x" * size for name, size in sizes.items()}
    properties = fitting(parked(message(headers)), 131072)
    found = properties["application_headers"]
    assert len(AmqpMessage("", **properties)._serialize_properties()) <= 131072 - 8
    left = found.get(LEFT_OFF, [])
    assert set(headers) | OURS == ({*found} | {*left}) - {LEFT_OFF}
    assert {name: headers[name] for name in headers if name not in left}.items() <= found.items()
    if sum(sizes.values()) < 120_000:
        assert LEFT_OFF not in found
    taken = {name: len(name.encode()) + size for name, size in sizes.items()}  # its name takes room as well
    kept = max((taken[name] for name in headers if name not in left), default=0)
    assert all(taken[name] >= kept for name in left)


def test_any_number_of_headers_is_fitted_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is measured once: a frame has room for thousands, and a loop that stands still loses its connection."""
    measured = 0

    def counted(properties: dict[str, Any]) -> int:
        nonlocal measured
        measured += len(properties["application_headers"])
        return size(properties)

    size = properties_module.size_of
    monkeypatch.setattr(properties_module, "size_of", counted)
    many = {f"{number:x}": None for number in range(27_000)}
    properties = fitting(parked(message(many)), 131_072)
    assert size(properties) <= 131_072 - properties_module.FRAME_ROOM
    assert len(properties["application_headers"]) > 20_000
    assert measured < 10 * len(many)
