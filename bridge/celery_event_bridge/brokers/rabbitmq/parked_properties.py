"""Properties of a message that is parked: its own, as far as they do no harm and fit, and why it is parked. No I/O."""

from __future__ import annotations

from typing import Any, cast

from amqp.basic_message import Message as AmqpMessage

from celery_event_bridge.brokers.parked_message import MAX_ERROR, OURS, now
from celery_event_bridge.brokers.rabbitmq.delivered import Delivered
from celery_event_bridge.brokers.rabbitmq.headers import LEFT_OFF, RENAMED, without_brokers_own, writable
from celery_event_bridge.contract.broker import Parcel

FRAME_ROOM = 64
"""Bytes of a frame that are not the content header's: the frame's own 8, and what a broker may count otherwise."""
EMPTY_TABLE = 4
"""Bytes of a table of headers without any."""


def parked_properties(parcel: Parcel) -> dict[str, Any]:
    """Return the properties to park a message with: its own, and why, whence and when it was parked.

    Three would do harm and are kept in headers: `expiration` would remove it, `user_id` would have it refused,
    `CC` would copy it elsewhere.
    """
    message = cast("Delivered", parcel.message)
    properties = dict(message.properties)
    exchange, routing_key = origin(message)
    # One that was parked before and sent again came from there first.
    exchange = message.headers.get(f"{OURS}exchange", exchange)
    routing_key = message.headers.get(f"{OURS}routing-key", routing_key)
    headers = {RENAMED.get(name, name): value for name, value in without_brokers_own(message.headers).items()}
    for name in ("expiration", "user_id"):
        if (value := properties.pop(name, None)) is not None:
            headers[OURS + name.replace("_", "-")] = value
    properties["application_headers"] = headers | {
        f"{OURS}reason": parcel.why.reason,
        f"{OURS}error": parcel.why.error[:MAX_ERROR],
        f"{OURS}exchange": exchange,
        f"{OURS}routing-key": routing_key,
        f"{OURS}parked-at": now(),
    }
    return properties


def fitting(properties: dict[str, Any], frame_max: int) -> dict[str, Any]:
    """Return it with as many of the publisher's headers, largest last, as fit into AMQP's one frame for them.

    They filled it, or nearly, and why and whence it was parked come on top. Those left off are named in a header. A
    message that cannot be parked would come again and again.
    """
    headers, left = writable(properties["application_headers"])
    if left:
        headers[LEFT_OFF] = left[:100]
    theirs: list[Any] | None = None
    while (excess := size_of(properties | {"application_headers": headers}) - frame_max + FRAME_ROOM) > 0:
        if theirs is None:
            theirs = [name for name in headers if not str(name).startswith(OURS)]
            # Each is measured once: there may be as many as a frame has room for.
            sizes = {name: size_of({"application_headers": {name: headers[name]}}) - EMPTY_TABLE for name in theirs}
            theirs.sort(key=sizes.__getitem__)
        if not theirs:
            break
        while excess > 0 and theirs:
            largest = theirs.pop()
            excess -= sizes[largest]
            del headers[largest]
            left.append(str(largest)[:100])
        headers[LEFT_OFF] = left[:100]
    return properties | {"application_headers": headers}


def size_of(properties: dict[str, Any]) -> int:
    """Return the bytes of a content header, without those of its frame."""
    message = AmqpMessage("", **properties)
    return len(message._serialize_properties())  # noqa: SLF001 - nobody else knows how many it writes


def origin(message: Delivered) -> tuple[str, str]:
    """Exchange and routing key that it was published with, also where it came through overflow."""
    deaths = message.headers.get("x-death")
    if message.expired and isinstance(deaths, list) and deaths and isinstance(deaths[-1], dict):
        first = deaths[-1]  # RabbitMQ puts the latest first
        keys = first.get("routing-keys")
        if isinstance(keys, list) and keys:
            return str(first.get("exchange", "")), str(keys[0])
    return message.exchange, message.routing_key
