"""A broker as a plug-in: what the bridge asks of one beside the way itself, which is in `contract.broker`.

A plug-in is found by the scheme of the broker's URL, in the entry-point group `celery_event_bridge.brokers`. Importing
it imports no client: its class says which settings it has, and only `source`, `parking` and the like connect, when they
are opened. What it can do beside forwarding it says by the optional protocols below: a broker without queues that an
operator could declare just has no method `queues`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, runtime_checkable

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from celery_event_bridge.contract.broker import Message, Parking, Source
from celery_event_bridge.contract.values import BrokerName, Size, counted, patterns

if TYPE_CHECKING:
    from celery_event_bridge.contract.sink import Finding
    from celery_event_bridge.contract.target import Target

DEFAULT_BROKER = "amqp://guest:guest@localhost:5672//"
"""Celery's own default."""


class BrokerSettings(BaseModel):
    """Settings that every broker is given; a plug-in's `Settings` derives from it and adds its own.

    Field `prefetch` is `BRIDGE_PREFETCH` and `--prefetch`, and so is a field that a plug-in adds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Fields that a plug-in adds, by the heading under which they are listed."""

    broker_url: str = Field(DEFAULT_BROKER, description="Celery's broker; several separated by ; are tried in turn")
    prefetch: int = Field(2000, ge=1, le=65535, description="messages a replica may hold unconfirmed")
    max_inflight_bytes: Size = Field(16 * 2**20, ge=64 * 1024, description="bytes a replica may hold unconfirmed")
    max_message_bytes: Size = Field(16 * 2**20, ge=1024, description="a larger message is parked")
    event_types: Annotated[tuple[str, ...], BeforeValidator(patterns)] = Field(
        ("*",), description="which events are forwarded, e.g. task-*,!worker-heartbeat"
    )
    broker_name: BrokerName | None = Field(
        None, description="a name of this broker, in every record, where several share a stream"
    )

    @property
    def broker_urls(self) -> tuple[str, ...]:
        """The URLs to try in turn."""
        return urls_in(self.broker_url)

    def doubts(self) -> Sequence[str]:
        """Return a line on each part of a setting that nothing reads, for `check` and the log of `run`."""
        return ()


def urls_in(text: str) -> tuple[str, ...]:
    """Return the URLs in BRIDGE_BROKER_URL, which are separated by semicolons."""
    return tuple(url.strip() for url in text.split(";") if url.strip())


def scheme_of(url: str) -> str:
    """Return the scheme of a URL in lower case, `amqp` of `amqp://...`; empty where it has none."""
    scheme, colon, _ = url.strip().partition("://")  # no urlsplit, which refuses some hosts
    return scheme.lower() if colon else ""


class BrokerPlugin(Protocol):
    """A broker that carries Celery's events. Made with its settings, which connects to nothing."""

    schemes: ClassVar[frozenset[str]]
    """Schemes of its URLs, each the name of an entry point."""
    Settings: ClassVar[type[BrokerSettings]]

    def __init__(self, settings: Any) -> None:
        """Begin; `settings` is an instance of `Settings`."""

    def source(self, location: Callable[[], str]) -> Source:
        """Return the broker's end of the relay, not opened.

        `location` names the stream that the events go to, and raises SinkUnavailable where nobody can tell now.
        """

    def parking(self) -> Parking:
        """Return the place for messages that can never be forwarded; connects when the first one comes."""

    def findings(self, location: Callable[[], str]) -> Iterator[Finding]:
        """Look, and yield a verdict on each thing of the broker's that the way needs, in the order of the way."""

    def names(self) -> Mapping[str, str]:
        """Return what the log names at the start beside the URL, such as the queue."""


@runtime_checkable
class SharesQueue(Protocol):
    """A plug-in whose bridges share a queue, each event of which reaches one of them."""

    def shared_with(self, location: str) -> str | None:
        """Name who consumes the queue and stores elsewhere than in `location`; None if nobody does."""


class QueueState(msgspec.Struct, frozen=True):
    """State of a queue by the broker."""

    name: str
    arguments: Mapping[str, Any]
    """Arguments that the settings ask for."""
    messages: int | None = None
    """Ready ones; None if the queue is not there."""
    consumers: int = 0
    problem: str = ""
    """Reason why it cannot be used with these settings."""


class QueuesInUse(Exception):
    """The queues are not as an operation needs them. The text says what to do; nothing is lost."""


def refuse_what_is_in_use(states: Sequence[QueueState]) -> None:
    """Raise QueuesInUse for a queue with consumers, or with messages that are ready."""
    for state in states:
        if state.consumers:
            raise QueuesInUse(f"queue {state.name} has {counted(state.consumers, 'consumer')}: stop the bridges first")
        if state.messages:
            raise QueuesInUse(
                f"queue {state.name} holds {counted(state.messages, 'message')}: let a bridge drain it, see to what "
                "is parked with `rejected`, or say --force to lose them"
            )


class Queues(Protocol):
    """Queues of the bridge as an operator handles them. Every method may raise BrokerUnavailable."""

    def declare(self) -> Sequence[str]:
        """Declare and bind them. Returns a line for each thing that is there now."""

    def states(self) -> Sequence[QueueState]:
        """Return each queue as it is."""

    def policies(self) -> Sequence[Finding]:
        """Return what others have set that makes a queue lose, as far as it can be seen."""

    def unseen(self) -> str:
        """Return a line on what of the queues cannot be seen with these settings; empty if nothing."""

    def migrate(self, old: str, wait: float, tell: Callable[[str], None]) -> None:
        """Move what the queues of another name hold into these, and remove them.

        Raises QueuesInUse; ValueError where it is the name of these.
        """

    def remove(self, tell: Callable[[str], None], *, force: bool) -> Sequence[str]:
        """Delete them. Returns the names of those that were there. Raises QueuesInUse, unless `force`."""


@runtime_checkable
class HasQueues(Protocol):
    """A plug-in with queues that an operator declares, looks at, moves and removes: the command `queues`."""

    def queues(self) -> AbstractContextManager[Queues]:
        """Connect. Raises BrokerUnavailable."""


class Parked(Protocol):
    """A message that was parked; a struct of msgspec, with what the broker knows beside this."""

    @property
    def id(self) -> str:
        """Hex digits: the same each time it is looked at."""

    @property
    def parked_at(self) -> str:
        """RFC 3339, UTC."""

    @property
    def reason(self) -> str:
        """A word of `contract.REASONS`."""

    @property
    def error(self) -> str:
        """Text of what was wrong with it."""

    @property
    def content_type(self) -> str:
        """Content type as it was published; empty for none."""

    @property
    def size(self) -> int:
        """Bytes of the body."""

    @property
    def events(self) -> tuple[str, ...]:
        """Types of the events in it that can be read, at most ten."""

    @property
    def hostname(self) -> str:
        """Its worker, if it can be read."""


class Content(msgspec.Struct, frozen=True):
    """All of a message that was parked."""

    parked: Parked
    properties: Mapping[str, Any]
    headers: Mapping[str, Any]
    body: bytes


class ParkedMessages(Protocol):
    """Messages that were parked, as an operator handles them. Every method may raise BrokerUnavailable."""

    def contents(self) -> Iterator[Content]:
        """Yield each message once, oldest first; one at a time is in memory."""

    def requeue(self, wanted: Callable[[Parked], bool]) -> int:
        """Send messages to the bridge again, and take out each that has arrived. Returns how many."""

    def purge(self, wanted: Callable[[Parked], bool]) -> int:
        """Throw messages away. Returns how many."""

    def in_hand(self) -> str:
        """Return a line on messages that others have in hand, which nobody sees meanwhile; empty if there are none."""


@runtime_checkable
class HasParked(Protocol):
    """A plug-in that shows what was parked: the command `rejected`."""

    def parked(self) -> AbstractContextManager[ParkedMessages]:
        """Connect. Raises BrokerUnavailable."""


@runtime_checkable
class TakesEvents(Protocol):
    """A plug-in into which `replay` publishes."""

    def target(self, url: str, *, again: bool) -> Target:
        """Connect to the broker at `url`, with the login of the settings where that is the same server.

        Raises BrokerUnavailable; ValueError for a URL that is none; WouldLoop where a bridge would get the events,
        unless `again`.
        """


class LiveEvents(Protocol):
    """A look at what is published now."""

    def messages(self, timeout: float) -> Sequence[Message]:
        """Return those that have arrived, after up to `timeout` seconds. Raises BrokerUnavailable."""

    def close(self) -> None:
        """Disconnect. Never raises."""


@runtime_checkable
class Tappable(Protocol):
    """A plug-in that shows live events and takes none away: the command `tap`."""

    def tap(self) -> LiveEvents:
        """Connect. Raises BrokerUnavailable."""
