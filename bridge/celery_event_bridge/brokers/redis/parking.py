"""Parking: what can never be forwarded goes to a bounded list in that Redis, whole, with the reason."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec
from redis.exceptions import ResponseError

from celery_event_bridge.brokers.envelope import Heard
from celery_event_bridge.brokers.parked_message import MAX_ERROR, now
from celery_event_bridge.brokers.redis.errors import translated
from celery_event_bridge.brokers.redis.link import connected
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable, Parcel
from celery_event_bridge.contract.values import counted

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.settings import Settings


ADD = """
local known = redis.pcall('HGET', KEYS[2], 'bytes')
if type(known) == 'table' then redis.call('DEL', KEYS[2]) end
local size = type(known) == 'string' and tonumber(known)
local length = redis.call('LLEN', KEYS[1])
if length == 0 or not size or size ~= size then
  size = 0
  for at = 0, length - 1, 1000 do
    local page = redis.pcall('LRANGE', KEYS[1], at, at + 999)
    for _, element in ipairs(page) do size = size + #element end
  end
end
local dropped = 0
for at = 2, #ARGV do
  redis.call('RPUSH', KEYS[1], ARGV[at])
  size = size + #ARGV[at]
end
while size > tonumber(ARGV[1]) and redis.call('LLEN', KEYS[1]) > 1 do
  size = size - #redis.call('LPOP', KEYS[1])
  dropped = dropped + 1
end
redis.call('HSET', KEYS[2], 'bytes', size)
redis.call('EXPIRE', KEYS[2], 604800)
return dropped
"""
"""KEYS: the list, and what is known of its size. ARGV: the bound in bytes, then what is added. Returns how many of the
oldest were dropped for it.

The size is counted anew where it is not known, as somebody has removed messages, or the key; without the right to
LRANGE it begins at 0 then."""


class ParkedEntry(msgspec.Struct, omit_defaults=True):
    """Element of the list."""

    parked_at: str
    reason: str
    error: str
    content_type: str
    headers: dict[str, Any]
    body: str
    """In base64."""
    routing_key: str = ""
    raw: bool = False
    """True where the body is all that was published."""


class RedisParking:
    """See the protocol `celery_event_bridge.contract.broker.Parking`. Connects when it has something to park."""

    under_way: Collection[Parcel] = ()
    obstacle = None

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: Any = None
        self._next = 0

    def park(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Add them to the list, in one step. Raises BrokerUnavailable; then it is not known whether they are there."""
        if not parcels:
            return ()
        names, addresses = self._settings.names, self._settings.addresses
        where = addresses[self._next % len(addresses)].where
        if self._connection is None:
            self._connection = connected(
                self._settings, addresses[self._next % len(addresses)], role="parking", protocol=2
            )
        try:
            with translated(where):
                try:
                    self._connection.send_command(
                        "EVAL", ADD, 2, names.rejected, names.size, self._settings.rejected_max_bytes,
                        *map(_entry, parcels),
                    )  # fmt: skip
                    dropped = self._connection.read_response()
                except ResponseError as exc:
                    raise BrokerUnavailable(f"Redis at {where} takes nothing to park: {exc}") from exc
        except BrokerUnavailable:
            self._next += 1
            self.close()
            raise
        if dropped:
            notices.tell(
                "dropped",
                f"{counted(int(dropped), 'parked message')} dropped from {names.rejected.decode()}: the oldest, as "
                "BRIDGE_REJECTED_MAX_BYTES was used up; look at them with `celery-event-bridge rejected`",
                subject="rejected",
                count=int(dropped),
            )
        return parcels

    def close(self) -> None:
        """Disconnect. Never raises."""
        if self._connection is not None:
            self._connection.disconnect()
        self._connection = None


def _entry(parcel: Parcel) -> bytes:
    message = cast("Heard", parcel.message)
    return msgspec.json.encode(
        ParkedEntry(
            parked_at=now(),
            reason=parcel.why.reason,
            error=parcel.why.error[:MAX_ERROR],
            content_type=message.content_type,
            headers=dict(message.headers),
            body=base64.b64encode(message.body).decode(),
            routing_key=message.routing_key,
            raw=message.raw,
        )
    )
