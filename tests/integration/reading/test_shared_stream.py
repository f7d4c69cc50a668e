"""One stream for several brokers: each record has its broker's name where it has one, and readers pick by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from celery_event_bridge.contract import Event
from celery_event_bridge.reader import open_reader
from celery_event_bridge.testing import sample_events
from tests.support import oracle
from tests.support.audits import audit
from tests.support.bridges import Bridge, run_to_end
from tests.support.folders import Folders
from tests.support.replaying import Receiver, happened, replay
from tests.support.servers import Kafka
from tests.support.servers.debian import until
from tests.support.streams import Stream, ids, in_kafka, in_sqlite
from tests.support.tailing import tail

EACH = 40
COLUMNS = {"seq", "id", "type", "source", "subject", "key", "time", "data", "content_type", "stored_at"}
HEADERS = {"ce_specversion", "ce_id", "ce_type", "ce_source", "ce_recordedtime", "content-type"}
FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "sqlite": (COLUMNS, set()),
    "redis": ({"data", "id", "type", "source"}, {"subject", "time", "content_type"}),
    "kafka": (HEADERS, {"ce_subject", "ce_time"}),
}
"""What a record has beside the broker's name: always, and at times."""


def named(events: list[Event], broker: str) -> list[Event]:
    return [msgspec.structs.replace(event, broker=broker) for event in events]


def written(stream: Stream) -> dict[str | None, list[Event]]:
    """Events of two brokers with names and of one without, in turns; the ids of all are distinct."""
    events = sample_events(3 * EACH)
    parts: dict[str | None, list[Event]] = {"eu": [], "us": [], None: []}
    for first in range(0, len(events), 12):
        share = [
            *named(events[first : first + 4], "eu"),
            *events[first + 4 : first + 8],
            *named(events[first + 8 : first + 12], "us"),
        ]
        stream.write(share)
        for event in share:
            parts[event.broker].append(event)
    return parts


def plain(stream: Stream) -> dict[str, tuple[Any, dict[str, Any]]]:
    """By id: the broker's name that a plain client finds, and all else that a record has beside its body and times."""
    if stream.kind == "sqlite":
        rows = oracle.in_sqlite(stream.url.removeprefix("sqlite:///"))
        return {row["id"]: (row.pop("broker"), row) for row in rows}
    if stream.kind == "redis":
        entries = [{key.decode(): value for key, value in one.items()} for one in oracle.in_redis(stream.url)]
        return {one["id"].decode(): (decoded(one.pop("broker", None)), dict(one)) for one in entries}
    server, _, topic = stream.url.removeprefix("kafka://").rpartition("/")
    records = [dict(one.headers) for one in oracle.in_kafka(server, topic)]
    return {one["ce_id"].decode(): (decoded(one.pop("ce_broker", None)), dict(one)) for one in records}


def decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def test_a_plain_client_finds_the_name_in_each_record_that_has_one(stream: Stream) -> None:
    """A header of Kafka, a field of Redis, a column of SQLite; a record without one has nothing that it had not."""
    parts = written(stream)
    found = plain(stream)
    assert {event.id: name for name, events in parts.items() for event in events} == {
        event_id: name for event_id, (name, _) in found.items()
    }
    always, at_times = FIELDS[stream.kind]
    for _, rest in found.values():
        assert always <= set(rest) <= always | at_times


def test_a_reader_picks_by_broker(stream: Stream) -> None:
    """By one name, several, or a pattern; without it, it gets all, each with its name."""
    parts = written(stream)
    assert sorted(ids(parts["eu"])) == sorted(stream.all(broker="eu"))
    assert sorted(ids([*parts["eu"], *parts["us"]])) == sorted(stream.all(broker=["?*"]))
    assert sorted(ids(parts[None])) == sorted(stream.all(broker="!eu,!us"))
    with stream.reader(follow=False) as events:
        assert {event.id: name for name, some in parts.items() for event in some} == {e.id: e.broker for e in events}


def test_a_group_commits_what_it_passes_over(stream: Stream) -> None:
    """The next reader of the group, which wants all, finds nothing any more; what comes then is handed out to it."""
    parts = written(stream)
    assert sorted(ids(parts["us"])) == sorted(stream.all("billing", broker="us"))
    assert [] == stream.all("billing")
    later = named(sample_events(3 * EACH + 6)[3 * EACH :], "eu")
    stream.write(later)
    assert sorted(ids(later)) == sorted(stream.all("billing", broker="eu"))


def test_tail_picks_by_broker(stream: Stream) -> None:
    """Its JSON has the name where there is one; a name that never comes is told of with those that came."""
    parts = written(stream)
    lines = [json.loads(line) for line in tail("--from", stream.url, "--format", "json").stdout.splitlines()]
    assert {event.id: name for name, some in parts.items() for event in some} == {
        one["id"]: one.get("broker") for one in lines
    }
    assert 2 * EACH == len([one for one in lines if "broker" in one])
    done = tail("--from", stream.url, "--format", "json", "--broker", "us", "-n", "5")
    assert (0, "") == (done.returncode, done.stderr)
    assert ["us"] * 5 == [json.loads(line)["broker"] for line in done.stdout.splitlines()]
    none = tail("--from", stream.url, "--broker", "asia")
    assert (0, "") == (none.returncode, none.stdout)
    assert none.stderr == (
        "celery-event-bridge: --broker: 'asia' matches the broker's name of none of the events that were read: "
        f"they have 'eu', 'us'\ncelery-event-bridge: 0 of {3 * EACH} events matched\n"
    )


def test_audit_picks_by_broker(stream: Stream) -> None:
    """It counts those of one broker alone; of one that never came there is nothing to judge."""
    written(stream)
    done = audit("--from", stream.url, "--format", "json", "--settle", "0", "--broker", "eu")
    assert EACH == json.loads(done.stdout)["events"]["count"]
    none = audit("--from", stream.url, "--settle", "0", "--broker", "asia")
    assert 3 == none.returncode
    assert "broker: 'asia' matches the broker's name of none" in none.stderr


def test_replay_keeps_each_name_once_around(tmp_path: Path, kafka_server: Kafka, redis_url: str) -> None:
    """SQLite to Kafka to Redis to SQLite: each record has its own broker's name, whatever this one's settings say."""
    (tmp_path / "first").mkdir()
    (tmp_path / "last").mkdir()
    first, last = in_sqlite(tmp_path / "first"), in_sqlite(tmp_path / "last")
    parts = written(first)
    way = [first.url, in_kafka(kafka_server).url, redis_url, last.url]
    for source, target in pairwise(way):
        done = replay("--from", source, "--to", target, BRIDGE_BROKER_NAME="of-this-machine")
        assert (0, "") == (done.returncode, done.stderr)
    with open_reader(last.url, follow=False) as events:
        found = {event.id: event.broker for event in events}
    assert {event.id: name for name, some in parts.items() for event in some} == found


def test_replay_picks_by_broker(broker_url: str, tmp_path: Path) -> None:
    """To a broker, with a group: a second run of it finds nothing, as the others' events are passed over for good."""
    stream = in_sqlite(tmp_path)
    events = happened(30)
    stream.write([*named(events[:10], "eu"), *events[10:20], *named(events[20:], "us"), *named(events[:10], "us")])
    receiver = Receiver(broker_url)
    done = replay("--from", stream.url, "--to", broker_url, "--broker", "u*", "--group", "g")
    assert (0, "") == (done.returncode, done.stderr)
    assert [event.data for event in events[20:]] == [message.body for message in receiver.messages()]
    again = replay("--from", stream.url, "--to", broker_url, "--group", "g")
    assert again.stdout.startswith("0 events sent")
    none = replay("--from", stream.url, "--to", broker_url, "--broker", "asia")
    assert "--broker: 'asia' matches the broker's name of none" in none.stderr
    assert "0 of 30 events matched (--type, --broker, --since, --until)" in none.stdout


def test_bridges_of_two_brokers_share_a_stream(
    start_bridge: Callable[..., Bridge], broker_url: str, stream: Stream, tmp_path: Path
) -> None:
    """RabbitMQ and a folder, a bridge each: what each has published is there with its name."""
    folders = Folders(tmp_path)
    settings = {"BRIDGE_SINK": stream.kind} | of_stream(stream)
    eu = start_bridge(**settings, BRIDGE_BROKER_URL=broker_url, BRIDGE_BROKER_NAME="eu").await_ready()
    us = start_bridge(**settings, **folders.variables, BRIDGE_BROKER_NAME="us").await_ready()
    messages = oracle.numbered(0, 200)
    oracle.publish(broker_url, messages[:100])
    folders.publish([message.body for message in messages[100:]])
    until(lambda: len(stream.all()) == 200, 30, "all is stored")
    for name, share in (("eu", messages[:100]), ("us", messages[100:])):
        with stream.reader(follow=False, broker=name) as events:
            assert sorted(message.body for message in share) == sorted(event.data for event in events)
    assert (0, 0) == (eu.stop(), us.stop())
    assert ["eu"] == [line["broker_name"] for line in eu.logged("started")]


def of_stream(stream: Stream) -> dict[str, str]:
    """The bridge's settings that lead to it."""
    if stream.kind == "sqlite":
        return {"BRIDGE_SQLITE_PATH": stream.url.removeprefix("sqlite:///")}
    if stream.kind == "redis":
        return {"BRIDGE_REDIS_URL": stream.url}
    server, _, topic = stream.url.removeprefix("kafka://").rpartition("/")
    return {"BRIDGE_KAFKA_BOOTSTRAP_SERVERS": server, "BRIDGE_KAFKA_TOPIC": topic}


@pytest.mark.parametrize("name", ["", "eu"])
def test_check_shows_the_name(name: str, tmp_path: Path) -> None:
    """Among the settings in effect."""
    folders = Folders(tmp_path)
    given = {"BRIDGE_SINK": "sqlite", "BRIDGE_SQLITE_PATH": str(tmp_path / "e.db"), "BRIDGE_HTTP": "off"}
    done = run_to_end(
        "celery_event_bridge", "check", "--settings", **given, **folders.variables, BRIDGE_BROKER_NAME=name
    )
    assert f"BRIDGE_BROKER_NAME={name or 'unset'}" in done.stdout
