"""A Redis broker's event channel as a target: each event as Celery publishes a single one.

`PUBLISH` answers how many have received it, which is all the confirm there is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from celery_event_bridge.brokers.envelope import sealed
from celery_event_bridge.brokers.publishing import headers, routing_key
from celery_event_bridge.brokers.redis.link import connected_link
from celery_event_bridge.contract import Event
from celery_event_bridge.contract.broker import BrokerUnavailable, WouldLoop
from celery_event_bridge.contract.target import Decided

if TYPE_CHECKING:
    from celery_event_bridge.brokers.redis.settings import Settings

WINDOW = 1000
"""Events that may be unanswered."""


class RedisTarget:
    """See the protocol `celery_event_bridge.contract.target.Target`. Connects when made."""

    def __init__(self, settings: Settings, *, again: bool) -> None:
        """Raises BrokerUnavailable, and WouldLoop where a bridge is subscribed, unless `again`."""
        self._exchange = settings.event_exchange
        self._base = settings.names.base
        self._link = connected_link(settings, role="replay")
        self.where = f"channel {self._base.decode()} of Redis at {self._link.where}"
        self._owed: deque[int] = deque()
        self._decided: list[Decided] = []
        self._answered = 0
        self.returned = 0
        """Events that nobody was subscribed to."""
        try:
            if not again:
                self._refuse_loop(settings)
        except BaseException:
            self._link.close()
            raise

    @property
    def owed(self) -> int:
        """Published and not answered."""
        return len(self._owed)

    @property
    def full(self) -> bool:
        """Return whether to wait before the next one."""
        return self.owed >= WINDOW

    @property
    def received(self) -> bool:
        """Return whether anybody was subscribed to any of it."""
        return self._answered > self.returned

    def put(self, number: int, event: Event) -> None:
        """Publish it. Raises BrokerUnavailable."""
        try:
            channel = self._base + b"/" + routing_key(event).encode()
            message = sealed(event.data, event.content_type, headers(event), self._exchange, routing_key(event))
        except UnicodeEncodeError:
            self._decided.append(Decided(number, "its type or host name is no text that Redis can carry"))
            return
        self._link.send("PUBLISH", channel, message)
        self._owed.append(number)

    def wait(self, timeout: float) -> None:
        """Take in answers. Raises BrokerUnavailable."""
        for reply in self._link.read(timeout, _ignore, _ignore):
            if isinstance(reply, Exception):
                raise BrokerUnavailable(f"{self.where}: it did not take an event: {reply}")
            self._decided.append(Decided(self._owed.popleft()))
            self._answered += 1
            self.returned += not reply

    def take(self) -> Sequence[Decided]:
        """Return what is answered."""
        decided, self._decided = self._decided, []
        return decided

    def close(self) -> None:
        """Disconnect. Never raises."""
        self._link.close()

    def _refuse_loop(self, settings: Settings) -> None:
        """Raise WouldLoop where a bridge hears this channel: each listens on a channel of its own as well."""
        found = self._link.ask("PUBSUB", "CHANNELS", b"*." + str(settings.addresses[0].database).encode() + b".control")
        if isinstance(found, list) and found:
            names = ", ".join(sorted(bytes(name).decode(errors="replace").rsplit(".", 2)[0] for name in found))
            raise WouldLoop(
                f"a bridge, {names}, is subscribed to {self.where}: it would get its own events again; replay to "
                "another Redis or database, with BRIDGE_BROKER_URL set to the same, or say --again"
            )


def _ignore(_: Any) -> None:
    pass
