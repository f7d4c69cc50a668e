"""What reading consists of, without any stream: ids that were seen, what is owed, where to begin, which stream."""

from __future__ import annotations

import datetime
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.config.loading import SettingsError, load
from celery_event_bridge.contract import Reading, Record
from celery_event_bridge.reader import open_reader
from celery_event_bridge.reading.duplicates import SeenIds
from celery_event_bridge.reading.since import start
from celery_event_bridge.reading.streams import find
from celery_event_bridge.reading.uncommitted import Owed
from celery_event_sinks.kafka.assignment import Assignment
from celery_event_sinks.kafka.settings import KafkaSettings
from celery_event_sinks.redis.reader import streams
from celery_event_sinks.redis.sink import RedisSettings


def record(position: int, event_id: str, partition: Hashable = 0) -> Record:
    return Record(partition, position, event_id, "t", "w", None, None, b"")


# Ids that were seen -------------------------------------------------------------------------------------------------


def test_the_window_is_bounded() -> None:
    """The last so many ids are known, and no more are kept."""
    seen = SeenIds(10)
    for number in range(1000):
        assert not seen.register(record(number, f"{number}"))
        assert [min(10, number + 1)] * 2 == [len(part) for part in seen._windows[0]]
    assert all(seen.register(record(2000, f"{number}")) for number in range(990, 1000))
    assert not seen.register(record(2000, "989"))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 30)), max_size=80), st.integers(1, 10))
def test_the_window_against_a_naive_model(read: list[tuple[int, int]], size: int) -> None:
    """An id is known while fewer than `size` others came after it, and by the earliest of its places."""
    seen, model = SeenIds(size), list[tuple[int, int]]()
    for event_id, position in read:
        known = dict(model).get(event_id)
        assert (known is not None and known < position) == seen.register(record(position, str(event_id)))
        if known is None:
            model = [*model, (event_id, position)][-size:]
        else:
            model = [(one, min(place, position) if one == event_id else place) for one, place in model]


def test_partitions_are_apart() -> None:
    """The same id in another one is another record; what is forgotten is gone."""
    seen = SeenIds(10)
    assert not seen.register(record(1, "a", "p"))
    assert not seen.register(record(2, "a", "q"))
    seen.forget("p")
    assert not seen.register(record(2, "a", "p"))
    assert seen.register(record(3, "a", "q"))


@given(st.lists(st.integers(0, 5), max_size=40), st.data())
def test_the_first_copy_is_always_handed_over(ids: list[int], data: st.DataObject) -> None:
    """However a log is read, with places read again and in whatever order: dropping loses no event."""
    size = data.draw(st.integers(1, 10))
    order = data.draw(st.lists(st.integers(0, max(0, len(ids) - 1)), max_size=60)) if ids else []
    seen = SeenIds(size)
    for position in order:
        if seen.register(record(position, str(ids[position]))):
            assert ids[position] in ids[:position]


@given(st.lists(st.integers(0, 5), max_size=60))
def test_a_window_that_is_large_enough_drops_all_copies(ids: list[int]) -> None:
    """Read once and in order, each id is handed over once."""
    seen = SeenIds(100)
    handed = [event_id for at, event_id in enumerate(ids) if not seen.register(record(at, str(event_id)))]
    assert list(dict.fromkeys(ids)) == handed


# What is owed -------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 2), max_size=8), max_size=8), st.lists(st.integers(0, 70), max_size=6))
def test_owed_against_a_naive_model(batches: list[list[int]], commits: list[int]) -> None:
    """Each place is named once, by the first commit that covers it, by partition and in order."""
    owed, model, number = Owed(), [], 0
    for batch in batches:
        records = [record(number + at, "x", partition) for at, partition in enumerate(batch)]
        owed.add(number, records)
        model += [(number + at, partition) for at, partition in enumerate(batch)]
        number += len(batch)
    for until in commits:
        expected: dict[Any, list[int]] = {}
        for at, partition in model:
            if at <= until:
                expected.setdefault(partition, []).append(at)
        assert expected == owed.until(until) == owed.until(until)
        owed.forget(until)
        model = [(at, partition) for at, partition in model if at > until]
        assert bool(model) == bool(owed)


# Where to begin -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("since", ["99999999999999999999d", "9" * 400, "0001-01-01T00:00:00+00:00"])
def test_before_all_time(since: str) -> None:
    """The beginning of 1970: no stream could be asked for less."""
    assert 0 == start(since)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"group": ""}, "group=''"),
        ({"group": " "}, "group=' '"),
        ({"group": "g" * 40_000}, "group='gggggggggggggggggggg...': 40000 characters, expected 255 at most"),
        ({"window": -5}, "window=-5"),
        ({"lease": 0}, "lease=0"),
    ],
)
def test_arguments_that_mean_nothing(options: dict[str, Any], said: str) -> None:
    """A line that names the argument, before anything is opened."""
    with pytest.raises(ValueError, match=said):
        open_reader("sqlite:////nowhere/x.db", **options)


@pytest.mark.parametrize(
    ("since", "ago"),
    [("10m", 600), ("2d", 172800), ("90", 90), (datetime.timedelta(hours=1), 3600), ("500ms", 0.5)],
)
def test_an_age(since: Any, ago: float) -> None:
    """Counted back from now."""
    found = start(since)
    assert isinstance(found, int)
    assert abs(time.time() - ago - found / 1e6) < 5


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (None, "earliest"),
        ("Latest", "latest"),
        ("2030-01-31T12:00:00+00:00", 1_896_091_200_000_000),
        ("2030-01-31T12:00:00Z", 1_896_091_200_000_000),
        (datetime.datetime(2030, 1, 31, 14, tzinfo=datetime.timezone(datetime.timedelta(hours=2))), 1896091200000000),
    ],
)
def test_a_time(since: Any, expected: Any) -> None:
    """An end of the stream, or microseconds since 1970."""
    assert expected == start(since)


@pytest.mark.parametrize("since", ["yesterday", "", "-5m", "2030-01-31T12:00:00", datetime.datetime(2030, 1, 31)])  # noqa: DTZ001
def test_no_beginning(since: Any) -> None:
    """The line says what is expected; a time without its zone would mean another one elsewhere."""
    with pytest.raises(ValueError, match=r"expected an age|needs a time zone"):
        start(since)


# Which stream -------------------------------------------------------------------------------------------------------


def settings(url: str | None, **environ: str) -> Any:
    return find(url, environ)[1]


def test_urls_of_sqlite() -> None:
    """Four slashes for an absolute path, three for a relative one; `%` as in every URL."""
    assert Path("/data/my events.db") == settings("sqlite:////data/my%20events.db").path
    assert Path("a/b.db").absolute() == settings("sqlite:///a/b.db", BRIDGE_SQLITE_PATH="/other").path


def test_urls_of_kafka() -> None:
    """Brokers and the topic; everything else is the settings'."""
    found: KafkaSettings = settings("kafka://a:9092,b:9093/events-{group}", BRIDGE_KAFKA_SASL_USERNAME="u")
    assert ("a:9092,b:9093", "events-{group}") == (found.bootstrap_servers, found.topic)
    assert "u" == found.properties()["sasl.username"]
    assert "mine" == settings("kafka://a", BRIDGE_KAFKA_TOPIC="mine").topic


def test_urls_of_redis() -> None:
    """The stream is in the query, the rest of which is redis-py's."""
    found: RedisSettings = settings("redis://h:6380/2?stream=s-{group}&shards=2&socket_keepalive=yes")
    assert "redis://h:6380/2?socket_keepalive=yes" == found.url
    expected = [b"s-task:{0}", b"s-task:{1}", b"s-worker:{0}", b"s-worker:{1}", b"s-other:{0}", b"s-other:{1}"]
    assert expected == streams(found)
    assert [b"celery-events"] == streams(settings("rediss://h"))


def test_a_password_goes_to_its_own_server_only() -> None:
    """That of the settings' URL is used for another URL of the same server, with its TLS, and for no other server."""
    own = "rediss://u:p%40ss@h:6379/0?ssl_ca_certs=/ca.pem"
    assert "rediss://u:p%40ss@h/3?ssl_ca_certs=%2Fca.pem" == settings("rediss://h/3", BRIDGE_REDIS_URL=own).url
    for url in ("rediss://other/3", "redis://h/3", "rediss://h:6380/3", "rediss://x:y@h/3"):
        assert "p%40ss" not in settings(url, BRIDGE_REDIS_URL=own).url


def test_the_settings_stream() -> None:
    """Without a URL it is that of the first sink that keeps what it gets."""
    assert Path("/x.db") == settings(None, BRIDGE_SQLITE_PATH="/x.db", BRIDGE_PREFETCH="nonsense").path
    assert "t" == settings(None, BRIDGE_SINK="stdout,kafka", BRIDGE_KAFKA_TOPIC="t").topic
    assert (
        "redis://o/1"
        == find(None, {"BRIDGE_SINK": "sqlite"}, {"BRIDGE_SINK": "redis", "BRIDGE_REDIS_URL": "redis://o/1"})[1].url
    )


def test_a_sink_that_is_named_in_a_file(tmp_path: Path) -> None:
    """As every setting may be."""
    (tmp_path / "sink").write_text("kafka\n")
    assert "celery-events" == settings(None, BRIDGE_SINK_FILE=str(tmp_path / "sink")).topic
    with pytest.raises(SettingsError, match="BRIDGE_SINK_FILE=/nowhere: cannot read"):
        settings(None, BRIDGE_SINK_FILE="/nowhere")


def test_the_selected_sink_is_the_one_that_run_takes(tmp_path: Path) -> None:
    """A blank one is none; two of them, or commas alone, are refused in a line, as `run` refuses them."""
    assert find(None, {"BRIDGE_SINK": " "})[0].sink == find(None, {})[0].sink == "sqlite"
    (tmp_path / "sink").write_text("redis")
    for environ in ({"BRIDGE_SINK": "redis", "BRIDGE_SINK_FILE": str(tmp_path / "sink")}, {"BRIDGE_SINK": ","}):
        with pytest.raises(SettingsError) as refused:
            find(None, environ)
        with pytest.raises(SettingsError) as of_run:
            load(environ)
        assert str(refused.value).partition(":")[2] == str(of_run.value).partition(":")[2]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("events", "expected kafka://host:9092/topic"),
        ("redis:/u:sesame@h/0.db", "expected kafka://host:9092/topic"),
        ("amqp://u:sesame@h//", "no reader for amqp://; there are kafka, redis, redis+cluster"),
        ("sqlite://host/events.db", "expected sqlite:////absolute/path.db"),
        ("sqlite:///", "expected sqlite:////absolute/path.db"),
        ("kafka://u:sesame@h/topic", "BRIDGE_KAFKA_SASL_USERNAME"),
        ("kafka:///topic", "expected kafka://host:9092,host2:9092/topic"),
        ("kafka://h/a/b", "expected kafka://host:9092,host2:9092/topic"),
        ("kafka://h/a b", "BRIDGE_KAFKA_TOPIC=a b"),
        ("redis://:sesame@h:port/0", "BRIDGE_REDIS_URL=redis://:**@h:port/0: not a URL of Redis"),
        ("redis:///user:sesame@h/0", "BRIDGE_REDIS_URL=**@h/0: not a URL of Redis"),
    ],
)
def test_a_wrong_url(url: str, said: str) -> None:
    """One line says what is expected, without the password."""
    with pytest.raises(SettingsError) as failure:
        find(url, {})
    (line,) = str(failure.value).splitlines()
    assert said in line
    assert "sesame" not in line


def test_nothing_to_be_read_back() -> None:
    """What went to standard output is gone."""
    with pytest.raises(SettingsError, match="BRIDGE_SINK=stdout: nothing is kept there"):
        find(None, {"BRIDGE_SINK": "stdout"})


# Kafka's partitions -------------------------------------------------------------------------------------------------


def test_a_reader_without_a_share_has_not_ended() -> None:
    """A rebalance may bring it one: the first assignment of a group that was at work before is often empty."""
    assignment = Assignment(["topic"], Reading("billing", ends=True), lambda *_: True, dict, lambda *_: {})
    assert not assignment.ended()
    assignment._own(("topic", 0), 0, 5)
    assert not assignment.ended()
    assignment._own(("topic", 0), 5, 5)
    assert assignment.ended()
    assignment.give_up([("topic", 0)])
    assert not assignment.ended()
    assert 1 == len(assignment.take_revoked())


def test_a_path_is_a_sqlite_file(tmp_path: Path) -> None:
    """One that is called so, or that is there, whatever it is called."""
    assert tmp_path / "events.db" == settings(str(tmp_path / "events.db")).path
    (tmp_path / "a file?").touch()
    assert tmp_path / "a file?" == settings(str(tmp_path / "a file?")).path
