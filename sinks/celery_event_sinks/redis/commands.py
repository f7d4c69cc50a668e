"""An event as the bytes of one `XADD`, from a template: most of a command is the same for all events of a worker.

redis-py packs a command word by word, which costs as much as the rest of an event's way (docs/decisions/0011-bulk.md).
"""

from __future__ import annotations

from collections.abc import Sequence

from celery_event_bridge.contract import JSON, Event
from celery_event_sinks.redis.trim import Trim

TEMPLATES = 4096
"""Kept at most: one for each worker, type of event, stream and broker."""

SIXTEEN_DIGITS = 10**15
"""From it on, and up to ten times as much, a number has so many: microseconds of the years 2001 to 2286."""

Kind = tuple[bytes, str, str, str, str | None, int | None, int | None]
"""Stream, type, source, content type, the broker's name; bytes of the subject and of the time. None: there is none."""


class EntryPacker:
    """Commands that add events to streams."""

    def __init__(self, trim: Trim) -> None:
        self._trim = trim
        self._options: tuple[Sequence[bytes], bool] = ((), False)
        """Part that all commands share now: the words for trimming, and whether they carry ids (`IDMP`)."""
        self._templates: dict[Kind, bytes] = {}

    def pack(self, events: Sequence[Event], streams: Sequence[bytes], *, once: bool) -> list[bytes]:
        """Return a command for each event, into the stream at its place; with `once` Redis drops duplicates."""
        if (options := (self._trimming(), once)) != self._options or len(self._templates) > TEMPLATES:
            self._options = options
            self._templates.clear()
        templates = self._templates
        commands: list[bytes] = []
        for event, stream in zip(events, streams, strict=True):
            data, at, event_id = event.data, event.time, event.id.encode()
            subject = None if event.subject is None else event.subject.encode()
            length = None if subject is None else len(subject)
            digits = None if at is None else 16 if SIXTEEN_DIGITS <= at < 10 * SIXTEEN_DIGITS else len(b"%d" % at)
            kind = (stream, event.type, event.source, event.content_type, event.broker, length, digits)
            template = templates.get(kind) or self._template(kind)
            if subject is None or at is None or once:
                values = (len(data), data, event_id, *(value for value in (subject, at) if value is not None))
                commands.append(template % ((event_id, *values) if once else values))
            else:
                commands.append(template % (len(data), data, event_id, subject, at))
        return commands

    def again(self, event: Event, stream: bytes, entry: bytes | None) -> list[bytes]:
        """Words of the command for an event whose entry is gone; Redis gets an id for it that is made of both.

        Without the entry it gets none.
        """
        source, event_id = event.source.encode(), event.id.encode()
        words = [b"XADD", stream, *self._trimming()]
        if entry is not None:
            words += (b"IDMP", source, b"%b:%b" % (event_id, entry))
        words += (b"*", b"data", event.data, b"id", event_id, b"type", event.type.encode(), b"source", source)
        if event.content_type != JSON:
            words += (b"content_type", event.content_type.encode())
        if event.subject is not None:
            words += (b"subject", event.subject.encode())
        if event.time is not None:
            words += (b"time", b"%d" % event.time)
        if event.broker is not None:
            words += (b"broker", event.broker.encode())
        return words

    def _trimming(self) -> Sequence[bytes]:
        rule, bound = self._trim
        if rule == "maxlen":
            return (b"MAXLEN", b"~", b"%d" % int(bound))
        return ()

    def _template(self, kind: Kind) -> bytes:
        """Return the command with `%d` and `%b` where an event has something of its own."""
        stream, event_type, source, content_type, broker, subject, at = kind
        trimming, once = self._options
        words: list[bytes | _Hole] = [b"XADD", stream, *trimming]
        if once:
            words += (b"IDMP", source.encode(), ID)  # a window of ids for each worker
        words += (b"*", b"data", VALUE, b"id", ID, b"type", event_type.encode(), b"source", source.encode())
        if content_type != JSON:
            words += (b"content_type", content_type.encode())
        if subject is not None:
            words += (b"subject", _Hole(b"$%d\r\n%%b\r\n" % subject))
        if at is not None:
            words += (b"time", _Hole(b"$%d\r\n%%d\r\n" % at))
        if broker is not None:
            words += (b"broker", broker.encode())
        template = self._templates[kind] = b"*%d\r\n" % len(words) + b"".join(
            word.text if isinstance(word, _Hole) else b"$%d\r\n%b\r\n" % (len(word), word.replace(b"%", b"%%"))
            for word in words
        )
        return template


class _Hole:
    """A word that differs from event to event."""

    def __init__(self, text: bytes) -> None:
        self.text = text


VALUE = _Hole(b"$%d\r\n%b\r\n")
"""Its length, and it."""
ID = _Hole(b"$32\r\n%b\r\n")
"""An event's id: 32 hex digits."""
