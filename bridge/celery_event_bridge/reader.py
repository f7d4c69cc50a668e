"""Read the stream back: `open_reader` gives an iterator of events, for a group that shares the work or for oneself.

    with open_reader("kafka://localhost:9092/celery-events", group="billing") as events:
        for event in events:
            handle(event)
            events.commit(event)

Nothing of the bridge has to run for it, and no other setting than those of the stream matters.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping

from celery_event_bridge.contract import Reading
from celery_event_bridge.contract.secrets import hide_in_value
from celery_event_bridge.contract.values import LONGEST_GROUP, group_name
from celery_event_bridge.forward.intake import patterns_in
from celery_event_bridge.reading.event import StoredEvent, Undecodable
from celery_event_bridge.reading.fork import Forked
from celery_event_bridge.reading.picked import Picked
from celery_event_bridge.reading.session import Events
from celery_event_bridge.reading.since import start
from celery_event_bridge.reading.streams import find

__all__ = ["Events", "Forked", "StoredEvent", "Undecodable", "open_reader"]


def open_reader(
    url: str | None = None,
    group: str | None = None,
    since: str | datetime.datetime | datetime.timedelta | None = None,
    types: str | Iterable[str] | None = None,
    *,
    broker: str | Iterable[str] | None = None,
    follow: bool = True,
    newest: int = 0,
    window: int = 50_000,
    lease: float = 30.0,
    give_up_after: float | None = None,
    idle: Callable[[], None] | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> Events:
    """Open the stream at `url`, or without one that of the `BRIDGE_*` settings, whose TLS and passwords hold for both.

    `kafka://host:9092,host2:9092/topic`, `redis://host:6379/0?stream=celery-events` (`rediss://`),
    `sqlite:////absolute/path.db`, `sqlite:///relative.db`, or a third party's.

    `group`: its readers share the work (in SQLite they stand in for each other) and begin after what it has committed.
    Without one, reading begins at `since`, and no position is kept.
    `since`: where to begin if there is no position: `"earliest"` (the default), `"latest"`, `"10m"` or a timedelta ago,
    an aware datetime or its ISO form. It picks a place in the stream: later ones may hold events of an earlier time.
    `types`: `"task-*,!task-received"`, or a list of such patterns.
    `broker`: only events of brokers of such a name: `"eu"`, `"us-*,!us-test"`, or a list of patterns. An event whose
    broker has no name has the empty one.
    `newest`: without a group, begin so many records before the end of each partition, and not at `since`.
    `follow=False` ends where the stream ended when it was opened.
    `window`: ids remembered for each partition, at least, to drop duplicates; 0 drops none.
    `lease`: seconds without a sign of life after which this reader's share goes to the group's others.
    `give_up_after`: seconds of outage after which SinkUnavailable is raised; by default it is waited out. So is
    a stream that is not there at the start, or that is none, as a text file; where a number is given both are raised at
    once.
    `idle` is called whenever there is nothing to read. `environ` and `options` stand in for `os.environ` and win over
    it, by variable name.

    A reader belongs to the process that opened it: after a fork its copy raises Forked.

    Raises SettingsError where the URL or a setting is wrong, ValueError for the other arguments.
    """
    if group is not None:
        try:
            group_name(group)
        except ValueError as exc:
            shown = hide_in_value(group) if len(group) <= LONGEST_GROUP else f"{group[:20]}..."
            raise ValueError(f"group={shown!r}: {exc}; None reads for oneself, without a position") from None
    if newest < 0 or (newest and group is not None):
        raise ValueError(f"newest={newest}: expected a number of records, and no group")
    if window < 0:
        raise ValueError(f"window={window}: expected a number of ids; 0 drops no duplicates")
    if lease <= 0:
        raise ValueError(f"lease={lease:g}: expected a number of seconds")
    reading = Reading(group, start(since), not follow, window, lease, newest)
    picked = Picked(patterns_in(types), patterns_in(broker))
    plugin, settings = find(url, environ, options)
    return Events(plugin(settings, reading), reading, picked, give_up_after=give_up_after, idle=idle)
