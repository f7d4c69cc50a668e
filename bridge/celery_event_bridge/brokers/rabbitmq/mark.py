"""A mark on the broker that says into which stream the bridges of a queue store, and which types of events.

Two deployments on one queue share its events: each event would reach one of the two streams only, or be left out by the
one that does not want it. They tell each other
without a message being published, which a consuming connection never does (see source.py): the mark is a queue that
nothing is ever put into, consumed for as long as its owner lives and deleted by the broker with its last consumer. What
it stands for is its dead-letter routing key. To declare it with another one is refused, and the refusal names both.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from amqp.exceptions import AMQPError, ChannelError, NotFound, PreconditionFailed

from celery_event_bridge.brokers.rabbitmq.connection import abandon, connect
from celery_event_bridge.brokers.wanted import ALL, patterns_of
from celery_event_bridge.contract import notices
from celery_event_bridge.contract.broker import BrokerUnavailable
from celery_event_bridge.contract.values import counted

if TYPE_CHECKING:
    import amqp

    from celery_event_bridge.brokers.rabbitmq.settings import Settings

NAMES = ("stores-in", "stores-in.other")
"""Endings of the marks' names. The second is for who finds the first one taken: so each side can see the other."""
SHOWN = 31
"""Characters of a stream's name in its mark: a refusal has 255 for two of them, and what is around."""
WITH_TYPES = "~"
"""Between the hash of the stream and that of the types, in the mark of a bridge that leaves some out."""
OFF_AFTER_SILENCE = 600.0
"""Seconds for which no mark is asked for after one that got no answer, which costs the connection."""
"""BRIDGE_EVENT_TYPES of who leaves out nothing."""
OTHER_TYPES = "that store in the same stream, with another BRIDGE_EVENT_TYPES,"
SAME_FILE = ", the same file by another name,"
_FILE = re.compile(r" \(device \d+, inode \d+\)$")
"""End of the location of a sink that stores in a file."""
_OTHER = "inequivalent arg 'x-dead-letter-routing-key'"
_CURRENT = re.compile(r"but current is '(?P<current>[^']*)")


class SinkMark:
    """The mark of one bridge, renewed with each connection."""

    def __init__(self, queue: str, location: Callable[[], str], types: Sequence[str] = ALL) -> None:
        """`location` says where the sink stores; raises SinkUnavailable where nobody can tell now.

        `types` are the patterns of BRIDGE_EVENT_TYPES.
        """
        self._types = types
        self._names = [f"{queue}.{ending}" for ending in NAMES]
        self._queue = queue
        self._location = location
        self._connection: amqp.Connection | None = None
        self._channel: amqp.Channel | None = None
        self._held: str | None = None
        """Name of the mark that we hold."""
        self._is_cancelled = False
        """True once somebody has deleted it."""
        self._stands_for = ""
        self._refused = False
        """True if nothing more is asked on this connection."""
        self._off_until = 0.0
        self._sighted: set[str] = set()
        """Other streams of which a mark was seen at the last look; told of when it is there at two in a row."""
        self._sighting: set[str] = set()

    def open(self, connection: amqp.Connection) -> None:
        """Begin on a connection just made."""
        self._connection, self._channel, self._held = connection, None, None
        self._refused = self._is_cancelled = False

    def look(self) -> None:
        """Hold a mark, and tell of another deployment's. Raises what the client raises."""
        location = self._location()
        if self._refused or time.monotonic() < self._off_until:
            return
        if location != self._stands_for or self._is_cancelled:
            self._let_go()
        self._stands_for = location
        try:
            self._sighting = set()
            for name in self._names:
                if name != self._held:
                    self._look_at(name)
            self._sighted = self._sighting
        except (ChannelError, UnicodeDecodeError):  # no right to it, or its node is down: no reason to reconnect
            self._refused = True
        except TimeoutError:
            self._off_until = time.monotonic() + OFF_AFTER_SILENCE
            raise

    def _look_at(self, name: str) -> None:
        """Take the mark if it is free, and tell of it if it is another's."""
        assert self._connection is not None
        if self._held is not None and not self._exists(name):
            return
        channel = self._connection.channel()
        try:
            _declare(channel, name, _short(self._stands_for, self._types))
        except PreconditionFailed as exc:
            if _OTHER not in str(exc.reply_text):
                raise  # a limit of the vhost, or somebody else's queue of that name: it says nothing of another stream
            if not self._is_stale(name):
                self._tell(str(exc.reply_text))
            return
        if self._held is None:
            # Without a callback a cancel would be an error of the connection.
            channel.basic_consume(name, on_cancel=self._cancelled)
            self._held, self._channel = name, channel
        else:  # one of our own kind holds it: both marks are free of others
            channel.close()

    def _exists(self, name: str) -> bool:
        return self._consumers(name) is not None

    def _is_stale(self, name: str) -> bool:
        """Delete a mark that nobody consumes: a broker that was restarted has kept it. Returns whether it was one."""
        assert self._connection is not None
        if self._consumers(name) != 0:
            return False
        channel = self._connection.channel()
        try:
            channel.queue_delete(name, if_unused=True, if_empty=True)
        except PreconditionFailed:  # another replica has just taken it
            return True
        channel.close()
        return True

    def _consumers(self, name: str) -> int | None:
        assert self._connection is not None
        channel = self._connection.channel()
        try:
            found = channel.queue_declare(name, passive=True)
        except NotFound:
            return None
        channel.close()
        return int(found.consumer_count)

    def _let_go(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = self._held = None
        self._is_cancelled = False

    def _cancelled(self, _: str) -> None:
        """Take note that somebody has deleted it: the next look takes one again."""
        self._is_cancelled = True

    def _tell(self, refusal: str) -> None:
        other = _other(refusal, self._stands_for)
        if other not in self._sighted:
            # A file that was moved has another name for a moment: replicas renew their marks one after the other.
            self._sighting.add(other)
            return
        self._sighting.add(other)
        notices.tell(
            "competitor",
            f"bridges {other or OTHER_TYPES} take events off queue {self._queue!r} as well, and this one stores in "
            f"{self._stands_for}: {_consequence(other)}",
            subject=other,
        )


def who_shares(settings: Settings, queue: str, location: str) -> str | None:
    """Return who consumes the queue already and stores elsewhere; None if nobody does, or nobody can tell now."""
    try:
        connection = connect(settings, settings.broker_urls[0], role="look")
    except BrokerUnavailable:
        return None
    try:
        channel = connection.channel()
        consumers = channel.queue_declare(queue, passive=True).consumer_count
        if other := other_deployment(connection, queue, location):
            return f"bridges {other}"
        held = any(_is_there(connection, f"{queue}.{ending}") for ending in NAMES)
        return f"{counted(consumers, 'consumer')} that say nothing of themselves" if consumers and not held else None
    except (AMQPError, OSError):
        return None
    finally:
        abandon(connection)


def _is_there(connection: amqp.Connection, name: str) -> bool:
    channel = connection.channel()
    try:
        channel.queue_declare(name, passive=True)
    except NotFound:
        return False
    channel.close()
    return True


def consequence(connection: amqp.Connection, queue: str, location: str, types: Sequence[str]) -> str | None:
    """Return who else consumes the queue, and what comes of it; None if there is nobody.

    Raises what the client raises.
    """
    other = _held_by_another(connection, queue, location, types)
    return None if other is None else f"bridges {other or OTHER_TYPES} consume queue {queue}: {_consequence(other)}"


def other_deployment(connection: amqp.Connection, queue: str, location: str) -> str | None:
    """Return what a mark says that bridges of another stream hold; None if there are none, whatever types they want.

    Raises what the client raises.
    """
    return _held_by_another(connection, queue, location, ALL) or None


def _held_by_another(connection: amqp.Connection, queue: str, location: str, types: Sequence[str]) -> str | None:
    """Return the other stream, empty if it is the same one with other types; None if there is no other mark."""
    for ending in NAMES:
        name = f"{queue}.{ending}"
        channel = connection.channel()
        try:
            if not channel.queue_declare(name, passive=True).consumer_count:
                channel.close()
                continue
            _declare(channel, name, _short(location, types))
        except NotFound:
            continue
        except PreconditionFailed as exc:
            if _OTHER not in str(exc.reply_text):
                continue
            return _other(str(exc.reply_text), location)
        channel.close()
    return None


def _declare(channel: amqp.Channel, name: str, stands_for: str) -> None:
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": stands_for, "x-max-length": 1}
    channel.queue_declare(name, durable=True, auto_delete=True, arguments=arguments)


def _other(refusal: str, location: str) -> str:
    """Return where those of a mark that was refused store, empty if it is in our stream."""
    found = _CURRENT.search(refusal)
    if found is None:
        return "that store in another stream"
    shown, _, digests = found["current"].rpartition(" ")
    if digests.partition(WITH_TYPES)[0] == _digest(location):
        return ""
    # Of a file the hash has two halves, see `_digest`.
    same_file = _FILE.search(location) and digests.partition(WITH_TYPES)[0][4:] == _digest(location)[4:]
    return f"that store in {_whole(shown) or 'another stream'}{SAME_FILE if same_file else ''}"


def _whole(shown: str) -> str:
    """Return the beginning of a location without a bracket that it was cut in."""
    return shown.rpartition(" (")[0] if shown.count("(") > shown.count(")") else shown


def _consequence(other: str) -> str:
    if not other:
        return (
            "each event reaches one of the two only, which may leave it out. Give both the same BRIDGE_EVENT_TYPES, or "
            "one of them a queue of its own with BRIDGE_QUEUE; while replicas are replaced this is over with the last"
        )
    if other.endswith(SAME_FILE):
        return (
            "give both bridges the same path. A hard link, and a file that is mounted "
            "without its directory, have a write-ahead log of their own, and events are lost: mount the directory"
        )
    return (
        "each event reaches one of the two only. Stop one of them, or give it a queue of its own with BRIDGE_QUEUE; if "
        "the two are names of one stream, use one of them everywhere"
    )


def _digest(text: str) -> str:
    """Return eight digits for a text; of a file's location the first four are its path's, the others the file's."""
    file = _FILE.search(text)
    parts = [text] if file is None else [text[: file.start()], file[0]]
    return "".join(hashlib.blake2b(part.encode(), digest_size=4 // len(parts)).hexdigest() for part in parts)


def _short(location: str, types: Sequence[str]) -> str:
    """Return a location's beginning, and a hash of all of it, and of the types where not all are wanted."""
    wanted = patterns_of(types)
    digest = _digest(location) + (WITH_TYPES + _digest(wanted) if wanted else "")
    # In ASCII: the refusal is cut at 255 bytes, and half a character cannot be read.
    shown = location.encode("ascii", "backslashreplace").decode()[: SHOWN + len(_digest("")) - len(digest)]
    return f"{shown} {digest}".replace("'", "_")
