"""Parking: messages that can never be forwarded go to the queue `.rejected`, whole, with the reason.

On a connection of its own, because one that has published is blocked under a memory alarm, acknowledgements
included. With publisher confirms and the mandatory flag, because the default exchange confirms what it cannot
route and drops it.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import TYPE_CHECKING

from amqp.basic_message import Message as AmqpMessage

from celery_event_bridge.brokers.rabbitmq.confirms import Confirms
from celery_event_bridge.brokers.rabbitmq.connection import abandon, connect, translated
from celery_event_bridge.brokers.rabbitmq.parked_properties import fitting, parked_properties
from celery_event_bridge.brokers.rabbitmq.readable import Readable
from celery_event_bridge.contract.broker import BrokerUnavailable, MessageRefused, Parcel

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings

CANNOT_BE = 406
"""AMQP's code for a message that can never be published: it is larger than the broker's max_message_size."""
CONFIRM_TIMEOUT = 10.0
"""Seconds without any confirm after which the connection counts as lost; under an alarm it is waited on for ever."""
REST_TIMEOUT = 0.05
"""Seconds to wait for the rest of a frame that has begun to arrive."""


class AmqpParking:
    """See the protocol `celery_event_bridge.contract.broker.Parking`. Connects when it has something to park."""

    def __init__(self, settings: Settings, queue: str) -> None:
        self._settings = settings
        self._queue = queue
        self._urls = cycle(settings.broker_urls)
        self._connection: amqp.Connection | None = None
        self._confirms: Confirms[Parcel | None] | None = None
        """None is published too: the probe."""
        self._blocked = False
        self._confirmed: list[Parcel] = []
        self._owed: BrokerUnavailable | None = None
        """To be raised next time: what had been confirmed before it came first."""
        self._blocked_until = 0.0
        """Time when the broker last ended its blocking."""
        self._mean = 0.0

    def mean_body(self) -> float:
        """Return the bytes of a body that was parked, lately; 0.0 while none has been."""
        return self._mean

    @property
    def under_way(self) -> Collection[Parcel]:
        """Parcels that are published and not confirmed."""
        waiting = self._confirms.waiting if self._confirms is not None else ()
        return [parcel for parcel in waiting if parcel is not None]

    @property
    def obstacle(self) -> str | None:
        """Tell whether the broker blocks publishers."""
        return "the broker blocks publishers (a memory or disk alarm)" if self._blocked else None

    def park(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        """Publish those that are not under way yet; return those confirmed since."""
        if self._owed is not None:
            owed, self._owed = self._owed, None
            raise owed
        try:
            with refusals_of(f"parking in {self._queue}"):
                confirms = self._ready()
                # Nothing before the probe is answered: under an alarm the broker would stop reading in the midst of it,
                # and a connection that is given up then leaves a copy behind for each attempt.
                self._hear(confirms)
                if not self._blocked and None not in confirms.waiting:
                    known = set(map(id, [*confirms.waiting, *self._confirmed]))
                    for parcel in parcels:
                        if id(parcel) not in known:
                            self._publish(confirms, parcel)
                self._hear(confirms)
        except BrokerUnavailable as exc:
            confirmed = list(self._confirmed)
            self.close()
            if not confirmed:
                raise
            self._owed = exc
            return confirmed
        confirmed, self._confirmed = self._confirmed, []
        return confirmed

    def close(self) -> None:
        """Cut the connection: all that counts has been confirmed."""
        abandon(self._connection)
        self._connection = self._confirms = None
        self._confirmed.clear()
        self._blocked = False

    def _ready(self) -> Confirms[Parcel | None]:
        """Return the confirms of the channel, which is opened where there is none, or was lost meanwhile."""
        self._close_lost()
        if self._connection is None or self._confirms is None:
            # No heartbeat: nobody would tick it while there is nothing to park.
            self._connection = connect(self._settings, next(self._urls), role="parking", heartbeat=0)
            self._connection.on_blocked = self._on_blocked
            self._connection.on_unblocked = self._on_unblocked
            with translated("opening a channel to park"):
                self._confirms = Confirms(self._connection.channel())
                self._readable = Readable(self._connection)
                # Something that no queue gets: the broker confirms it, or says that it blocks who publishes.
                self._confirms.publish(None, AmqpMessage(b""), f"{self._queue}.probe", mandatory=False)
        return self._confirms

    def _close_lost(self) -> None:
        """Close a connection that was lost while nothing was under way: whatever is to be parked gets a new one."""
        if self._confirms is None or self._confirms.waiting:
            return
        try:
            with translated("listening to the connection to park"):
                self._drain(lambda: False)
        except BrokerUnavailable:
            self.close()

    def _drain(self, is_over: Callable[[], bool]) -> None:
        """Take what has come, unless it is over before."""
        assert self._connection is not None
        while not is_over() and self._readable.within(0):
            try:
                self._connection.drain_events(timeout=REST_TIMEOUT)
            except TimeoutError:
                break

    def _publish(self, confirms: Confirms[Parcel | None], parcel: Parcel) -> None:
        assert self._connection is not None
        properties = fitting(parked_properties(parcel), self._connection.frame_max)
        size = len(parcel.message.body)
        self._mean += (size - self._mean) * (0.01 if self._mean else 1.0)
        confirms.publish(parcel, AmqpMessage(parcel.message.body, **properties), self._queue)

    def _hear(self, confirms: Confirms[Parcel | None]) -> None:
        """Take what has come. Raises BrokerUnavailable where a message was refused, or nothing comes any more."""
        self._drain(lambda: bool(_failure(confirms)) or not (confirms.waiting or self._blocked))
        self._confirmed += [parcel for parcel in confirms.take() if parcel is not None]
        if failure := _failure(confirms):
            raise BrokerUnavailable(f"parking in {self._queue}: {failure}")
        silent_since = max(confirms.heard_at, self._blocked_until)
        if confirms.waiting and not self._blocked and time.monotonic() - silent_since > CONFIRM_TIMEOUT:
            raise BrokerUnavailable(f"parking in {self._queue}: no confirm within {CONFIRM_TIMEOUT:g} s")

    def _on_blocked(self, reason: str) -> None:  # noqa: ARG002
        self._blocked = True

    def _on_unblocked(self) -> None:
        self._blocked = False
        self._blocked_until = time.monotonic()


@contextmanager
def refusals_of(action: str) -> Iterator[None]:
    """Turn what the client raises into BrokerUnavailable, and a message that can never be parked into MessageRefused.

    Such a one is refused by the broker, or cannot be written by the client, which must not end the process.
    """
    try:
        with translated(action):
            yield
    except (ValueError, TypeError, RecursionError, struct.error) as exc:
        raise MessageRefused(f"{action}: {type(exc).__name__}: {exc}"[:300]) from exc
    except BrokerUnavailable as exc:
        if exc.code != CANNOT_BE:
            raise
        raise MessageRefused(str(exc), exc.code) from exc


def _failure(confirms: Confirms[Parcel | None]) -> str:
    if confirms.returned:
        return "the queue is not there"
    return "the broker refused it" if confirms.refused else ""
