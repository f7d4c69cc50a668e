"""Reception of messages: each is decoded, filtered and entered into the ledger, and its events wait for the sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from celery_event_bridge.contract.broker import Message
from celery_event_bridge.forward.driver import Driver
from celery_event_bridge.forward.intake import Intake
from celery_event_bridge.forward.ledger import Delivery, Ledger
from celery_event_bridge.forward.leftout import LeftOut
from celery_event_bridge.forward.parker import Parker
from celery_event_bridge.forward.relay_settings import RelaySettings
from celery_event_bridge.observe.pulse import Pulse

if TYPE_CHECKING:
    from celery_event_bridge.observe.metrics import Metrics


class Reception:
    """Takes messages in hand as long as the byte budget lasts; the others wait here, not decoded."""

    def __init__(
        self,
        settings: RelaySettings,
        ledger: Ledger[Message],
        driver: Driver[Delivery[Message]],
        parker: Parker,
        metrics: Metrics,
        pulse: Pulse,
    ) -> None:
        self._intake = Intake(settings.event_types, settings.max_message_bytes, settings.broker_name)
        self._left_out = LeftOut(settings.event_types)
        self._max_bytes = settings.max_inflight_bytes
        self._ledger = ledger
        self._driver = driver
        self._parker = parker
        self._metrics = metrics
        self._pulse = pulse
        self.taken = 0
        """Messages that the last call took in hand."""
        self.waiting: Sequence[Message] = ()
        """Received and not decoded yet, because the byte budget is used up: a compressed one may be large."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the bodies that are not decoded yet."""
        return sum([len(message.body) for message in self.waiting])

    def take(self, messages: Sequence[Message], now: float) -> None:
        """Take in hand what has arrived, after what waits."""
        messages = [*self.waiting, *messages] if self.waiting else messages
        self.taken = 0
        ledger, bound = self._ledger, self._max_bytes
        if not messages or ledger.size > bound:
            self.waiting = messages
            return
        before = ledger.messages
        types: list[str] = []
        filtered: list[str] = []
        owners, pending, enter, take = self._driver.owners, self._driver.pending, ledger.enter, self._intake.take
        for message in messages:
            taken = take(message)
            events = taken.events
            if taken.unwanted:
                types += taken.unwanted
                filtered += taken.unwanted
            delivery = enter(message.lane, message.tag, taken.size, len(events), now, message, taken.rejection)
            for event in events:
                owners[event] = delivery
                types.append(event.type)
            pending += events
            if taken.rejection:
                delivery.expired = message.expired
                if not events:
                    self._parker.add(delivery)
            if ledger.size > bound:
                break
        self.taken = count = ledger.messages - before
        taken_in, self.waiting = messages[:count], messages[count:]
        redelivered = sum([message.redelivered for message in taken_in])
        self._metrics.received(count, redelivered, sum([message.expired for message in taken_in]))
        by_type = Counter(types)
        self._metrics.events_received(by_type)
        self._pulse.received(by_type)
        if filtered:
            self._metrics.events_filtered(Counter(filtered))
        self._left_out.count(len(filtered), len(types) - len(filtered))

    def forget(self) -> None:
        """Drop what waits: the broker has it back."""
        self.waiting, self.taken = (), 0
