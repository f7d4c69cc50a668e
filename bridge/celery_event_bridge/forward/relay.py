"""An event's way through the house, top to bottom.

One thread, one loop, and each turn of it is the way: poll the source, decode, enter into the ledger, hand to the
sink, collect verdicts, settle, park, acknowledge. Nothing in a turn waits for longer than a few seconds, so the
broker's heartbeat is never missed. An outage, of either end, is a state of the loop and not a loop of its own.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from celery_event_bridge.contract import Outcome, Rejection, Sink, Verdict, notices
from celery_event_bridge.contract.broker import (
    Ack,
    BrokerUnavailable,
    GivenBack,
    Message,
    Parking,
    RefusedForGood,
    Source,
    StandsBy,
    is_ordered,
    longest_pause,
)
from celery_event_bridge.contract.clock import Clock
from celery_event_bridge.contract.deadline import Deadline
from celery_event_bridge.forward.driver import Driver
from celery_event_bridge.forward.ledger import Delivery, Ledger, is_released
from celery_event_bridge.forward.linger import Linger
from celery_event_bridge.forward.outage import Outage
from celery_event_bridge.forward.parker import Parker
from celery_event_bridge.forward.reception import Reception
from celery_event_bridge.forward.relay_settings import RelaySettings
from celery_event_bridge.observe.pulse import Pulse

if TYPE_CHECKING:
    from celery_event_bridge.observe.metrics import Metrics
    from celery_event_bridge.observe.status import Status

log = structlog.get_logger("celery_event_bridge")

IDLE_WAIT = 0.5
"""Seconds to wait on the socket when nothing is in hand; also how late a stop is noticed at most."""
OWED_WAIT = 0.002
"""Seconds to wait on the socket while the sink owes verdicts and the last turn brought none."""
SINGLY_SETTLED, LATELY = 0.25, 5.0
"""Seconds that a stop waits before it closes, if it has acknowledged singly lately: RabbitMQ may hold such back."""
AWAY_WAIT = 3.0
"""Seconds without a verdict from a sink known to be away after which a stop waits for it no longer."""


class State(enum.Enum):
    """State of the way. It goes up one at a time, and from anywhere down to AWAY."""

    AWAY = "no connection to the broker"
    CONNECTED = "connected, and nothing is received: the sink would not store, or was not asked yet"
    CONSUMING = "events are received"


class Relay:
    """Takes messages from `source`, puts their events into `sink`, parks what can never be stored."""

    def __init__(
        self,
        source: Source,
        sink: Sink,
        parking: Parking,
        settings: RelaySettings,
        metrics: Metrics,
        status: Status,
        clock: Clock = time,
    ) -> None:
        self._source = source
        self._in_turns = source if isinstance(source, StandsBy) else None  # asked once: it takes as long as an event
        self._parker = Parker(
            parking, metrics, settings.retry_max_interval, settings.max_inflight_bytes, source.leaves_after, clock
        )
        self._settings, self._metrics, self._status = settings, metrics, status
        self._ledger: Ledger[Message] = Ledger()
        self._clock = clock
        self._broker_outage = Outage("broker", longest_pause(source, settings.retry_max_interval), clock)
        self._sink_outage = Outage("sink", settings.retry_max_interval, clock)
        self._driver = Driver(sink, self._sink_outage, is_released, clock, ordered=is_ordered(source))
        self._pulse = Pulse(clock.monotonic)
        self._reception = Reception(settings, self._ledger, self._driver, self._parker, metrics, self._pulse)
        self._linger = Linger(settings.linger, source, clock)
        self._state = State.AWAY
        self._has_consumed = False
        self._idle = False
        """True if the last turn brought no verdict."""
        self._stopping, self._singly_at = False, float("-inf")

    def stop(self) -> None:
        """Finish what is in hand and return from `run`. May be called from a signal handler."""
        self._stopping = True

    def run(self) -> int:
        """Forward until stopped. Returns how many messages went back to the broker unconfirmed."""
        try:
            while not self._stopping:
                self.turn()
            return self._drain()
        finally:
            self._source.drop()
            self._parker.close()
            self._driver.close()

    def turn(self) -> None:
        """Turn the loop once."""
        now = self._clock.monotonic()
        try:
            self._see_to_the_ends(now)
            if self._state is State.AWAY:
                self._clock.sleep(self._patience(now))
            else:
                self._reception.take(self._source.poll(self._patience(now)), self._clock.monotonic())
            self._forward()
            if self._state is not State.AWAY:
                held = self._ledger.size + self._reception.waiting_bytes
                # What is set aside weighs nothing, and is in hand all the same.
                self._source.steer(held or bool(self._ledger.messages), self._ledger.largest)
        except BrokerUnavailable as exc:
            if isinstance(exc, RefusedForGood) and not self._has_consumed:
                raise
            self._lose_broker(exc)
            if isinstance(exc, GivenBack):
                return  # no outage: the next turn connects, and reports then
        self._report()
        self._linger.wait(self._reception.taken)

    def _forward(self) -> None:
        now = self._clock.monotonic()
        if not self._ledger.messages:
            self._driver.owes_nothing(now)
        # Before and after: what comes back is to be sent again ahead of what is new.
        decided = self._collect()
        self._driver.hand_over(now)
        self._idle = not (self._collect() or decided)
        for delivery in self._parker.park(now):
            self._ledger.parked(delivery)
        if self._parker.stranded:
            self._relieve(now)
        if acks := self._ledger.take_acks(now, singly=not self._stopping):
            self._source.acknowledge(acks)
            self._singly_at = self._singly_at if all(ack.multiple for ack in acks) else now

    def _relieve(self, now: float) -> None:
        """Let those that cannot be parked now hold up nobody."""
        for delivery in self._parker.set_aside(now):
            self._ledger.set_aside(delivery)
            if self._parker.room_beside():
                self._source.make_room(delivery.lane)
        if back := self._parker.give_back(now):
            self._source.give_back([self._ledger.give_back(delivery) for delivery in back])

    # The two ends ---------------------------------------------------------------------------------------------

    def _see_to_the_ends(self, now: float) -> None:
        if self._state is State.AWAY and now >= self._broker_outage.due:
            self._source.open()
            self._state = State.CONNECTED
            self._report()  # what comes next asks the sink, which may take its time
        if self._state is State.CONNECTED and now >= self._sink_outage.due:
            self._try_to_consume()
        elif self._state is State.CONSUMING and self._driver.stuck_for(now) >= self._settings.let_go_after:
            self._let_go()
        elif self._state is State.CONSUMING:
            self._driver.look(now)

    def _try_to_consume(self) -> None:
        """Ask the sink with nothing in hand, and consume only when it would store."""
        if self._driver.ask():
            self._source.consume()
            self._state, self._has_consumed = State.CONSUMING, True
            self._pulse.consuming()
        # Not before: a login that works, and consuming that does not, is one outage, whose pauses grow.
        if self._broker_outage.over():
            self._metrics.reconnected("broker")

    def _let_go(self) -> None:
        """Give back what is in hand, in a long outage: it would pin the queue's log on the broker's disk."""
        self._source.let_go()
        self._state = State.CONNECTED
        log.warning("the sink has been away for long: gave back what was in hand", messages=self._forget())
        self._sink_outage.failed(self._sink_outage.reason or f"no confirm for {self._settings.let_go_after:g} s")

    def _lose_broker(self, exc: BrokerUnavailable) -> None:
        self._source.drop()
        self._state = State.AWAY
        self._forget()
        if not isinstance(exc, GivenBack):
            self._broker_outage.failed(str(exc))

    def _forget(self) -> int:
        """Forget what was in hand: the channels are closed. Returns how many; late verdicts on it will mean nothing."""
        returned = self._ledger.forget()
        self._driver.forget()
        self._reception.forget()
        self._parker.forget()
        return returned

    def _patience(self, now: float) -> float:
        """Return the seconds to wait for the broker: none while there is something to do, few while the sink owes."""
        if self._driver.handed:
            return OWED_WAIT if self._idle else 0.0
        if self._state is State.AWAY:
            due = self._broker_outage.due
        elif self._driver.waiting or self._state is State.CONNECTED:
            due = self._sink_outage.due
        elif self._parker.waiting:
            due = now + self._parker.patience(now)
        else:
            return 0.0 if self._reception.waiting else IDLE_WAIT
        return max(0.0, min(IDLE_WAIT, due - now))

    # The way --------------------------------------------------------------------------------------------------

    def _collect(self) -> bool:
        """Act on what the sink has decided; whether it has said anything."""
        heard, verdicts = self._driver.collect()
        for verdict in verdicts:
            self._settle(verdict)
        return heard

    def _settle(self, verdict: Verdict) -> None:
        now = self._clock.monotonic()
        deliveries = map(self._driver.owners.pop, verdict.events)
        if verdict.outcome is Outcome.STORED:
            done = self._ledger.stored(deliveries)
            self._metrics.confirmed(verdict.events, self._clock.time())
        else:
            why = Rejection("refused", verdict.reason)
            done = [settled for delivery in deliveries for settled in self._ledger.refused(delivery, why)]
        self._metrics.held([now - delivery.received_at for delivery in done])
        for delivery in done:
            if delivery.refusals and delivery.message is not None:
                delivery.expired = delivery.message.expired
                self._parker.add(delivery)

    # The end --------------------------------------------------------------------------------------------------

    def _drain(self) -> int:
        """Finish what is in hand, within BRIDGE_SHUTDOWN_TIMEOUT, unless an end is away: what is left goes back."""
        deadline = Deadline(self._settings.shutdown_timeout, self._clock.monotonic)
        self._status.stopping = True
        back: Sequence[Delivery[Message]] = ()
        held_up: Sequence[Ack] = ()
        try:
            if self._state is State.AWAY:
                return 0
            self._source.cancel()
            back = self._parker.give_back_all()
            if back:
                self._source.give_back([self._ledger.give_back(delivery) for delivery in back])
            now = self._clock.monotonic()  # what was sent has arrived: cancelling waits for an answer
            settled = now + SINGLY_SETTLED if now - self._singly_at < LATELY else now
            while (self._unfinished() or self._clock.monotonic() < settled) and not deadline.passed:
                self._forward()
                self._source.poll(OWED_WAIT)  # for the heartbeat; what still arrives goes back unread
            held_up = () if self._driver.ordered else self._ledger.take_held_up()
            if held_up:
                self._source.give_back(held_up)
                # With them gone one cumulative acknowledgement names all that is confirmed, and nothing else.
                self._source.acknowledge(self._ledger.take_acks(self._clock.monotonic(), singly=False))
            self._source.close()
        except BrokerUnavailable as exc:
            self._broker_outage.failed(str(exc))
        return self._ledger.messages + len(back) + len(held_up)

    def _unfinished(self) -> bool:
        """Return whether waiting can still settle something: no end is known to be away."""
        if not self._ledger.messages:
            return False  # what the sink may have still is the broker's again
        owes = self._driver.handed and self._driver.stuck_for(self._clock.monotonic()) < AWAY_WAIT
        if self._sink_outage.reason and not owes:
            return False
        return self._driver.busy or (self._parker.waiting and self._parker.available)

    def _report(self) -> None:
        status = self._status
        status.turned_at = self._clock.monotonic()
        away = self._state is State.AWAY
        status.broker_reason = (self._broker_outage.reason or "not connected yet") if away else None
        status.inflight_messages = self._ledger.messages
        status.inflight_bytes = self._ledger.size
        status.unparkable_messages = self._parker.stranded
        status.oldest_inflight_since = self._ledger.oldest()
        status.queue_messages = self._source.depths
        asking = self._state is State.CONNECTED and self._sink_outage.reason is None
        status.held_up = "not consuming yet: the sink is being asked" if asking else self._source.held_up
        consuming, in_turns = self._state is State.CONSUMING, self._in_turns
        status.forwarding = consuming and (in_turns is None or in_turns.forwards)
        status.stands_by = consuming and not status.forwarding
        self._pulse.turn(self._metrics.events_confirmed, status.inflight_messages, status.queue_messages)
        notices.tell_rest()
