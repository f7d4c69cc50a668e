"""All that the author of a sink, a reader or a broker needs: events, verdicts, and the life of a sink.

The relay calls a sink from one thread, in this order::

    open() -> (send(events) | verdicts(timeout) | available())* -> close()

Every event handed over by `send` gets exactly one verdict, some time later, from `verdicts`: *stored*
(durable, as far as this sink's settings promise it), *retry* (not stored, or nobody can tell; the relay
hands it over again after a pause) or *refused* (never, however often it is tried; the relay parks the
message it came in). An event is never handed over again before its verdict. Only *stored* lets go of the
event at the broker, so a sink that says it too early loses events. A sink whose client goes on trying by itself
tells of an outage with *retry* on no event at all.

An error class exists here only where the relay acts differently on it. Anything else that a sink raises is
taken for a bug: the process ends, and the broker hands what it held to a replica.
"""

from __future__ import annotations

from celery_event_bridge.contract.blocking import (
    BlockingSink as BlockingSink,
)
from celery_event_bridge.contract.event import (
    JSON as JSON,
    MSGPACK as MSGPACK,
    REASONS as REASONS,
    Event as Event,
    Rejection as Rejection,
)
from celery_event_bridge.contract.reader import (
    Batch as Batch,
    Identified as Identified,
    KnowsGroups as KnowsGroups,
    LooksBack as LooksBack,
    Reader as Reader,
    ReaderPlugin as ReaderPlugin,
    Reading as Reading,
    Record as Record,
    StreamMissing as StreamMissing,
    StreamRefused as StreamRefused,
)
from celery_event_bridge.contract.sink import (
    LOOK_INTERVAL as LOOK_INTERVAL,
    Advisor as Advisor,
    Divided as Divided,
    EventRefused as EventRefused,
    Finding as Finding,
    Located as Located,
    OrderedPlugin as OrderedPlugin,
    Outcome as Outcome,
    Previewer as Previewer,
    Retaining as Retaining,
    Sink as Sink,
    SinkGone as SinkGone,
    SinkPlugin as SinkPlugin,
    SinkUnavailable as SinkUnavailable,
    StartGuard as StartGuard,
    Verdict as Verdict,
    Watcher as Watcher,
)
