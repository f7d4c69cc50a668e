"""`audit` on real streams: what was removed is found, and how it is asked."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.audits import audit, by_workers, events, fleet, minute, remove, report
from tests.support.bridges import clean_environment
from tests.support.servers.debian import ROOT
from tests.support.streams import Stream, captured, in_sqlite
from tests.support.worker_events import SECOND, Sender


def test_what_was_removed_from_fifty_thousand_events(tmp_path: Path) -> None:
    """37 starts by worker, count and minute; 10 ends and 10 receiveds under their own headings; else nothing."""
    stream = in_sqlite(tmp_path)
    whole = fleet(15_500)
    assert len(whole) > 50_000
    kept, gone = remove(whole)
    stream.write(events(kept))
    found = report(stream)
    tasks_found = found["tasks"]
    minutes: Counter[tuple[str, str]] = Counter()
    for stretch in found["account"]["stretches"]:
        minutes[stretch["worker"], minute(stretch["until"])] += stretch["missing"]
    # A stretch of 2 s may lie across the turn of a minute.
    edges = sum((minutes - gone["task-started"]).values())
    assert (37, len(kept)) == (found["account"]["missing"], found["events"]["count"])
    assert edges <= 3
    assert by_workers(gone["task-started"]) == Counter(found["account"]["by_worker"])
    assert 37 == tasks_found["starts_missing"]["missing"]
    assert 10 == tasks_found["received_missing"]["missing"]
    received = Counter((one["worker"], minute(one["time"])) for one in tasks_found["received_missing"]["tasks"])
    # The time is of the event that came next: perhaps after the turn of a minute.
    assert sum((received - gone["task-received"]).values()) <= 3
    assert by_workers(gone["task-received"]) == by_workers(received)
    ended = [one for one in tasks_found["without_end"] if one["state"] == "ended"]
    assert (10, 10) == (len(ended), tasks_found["ends_missing"]["in_all"])
    assert Counter(worker for worker, _ in gone["task-succeeded"].elements()) == Counter(one["worker"] for one in ended)
    assert 0 == tasks_found["perhaps_before"]["missing"]


def test_nothing_is_missing_from_fifty_thousand_events(tmp_path: Path) -> None:
    """The same stream, untouched."""
    stream = in_sqlite(tmp_path)
    whole = fleet(15_500)
    stream.write(events(whole))
    found = report(stream)
    assert (False, 0, []) == (found["missing"], found["account"]["missing"], found["tasks"]["without_end"])


def test_the_streams_say_the_same(stream: Stream, tmp_path: Path) -> None:
    """Kafka, Redis and SQLite: only the delays are their own."""
    kept, _ = remove(fleet(800))
    kept += kept[50:60]
    kept[100], kept[101] = kept[101], kept[100]
    (tmp_path / "reference").mkdir()
    reference = in_sqlite(tmp_path / "reference")
    for one in (stream, reference):
        one.write(events(kept))
    here, there = report(stream), report(reference)
    for one in (here, there):
        for name in ("since", "until", "judged_until", "delays", "duplicates", "inversions"):
            del one[name]  # SQLite stores nothing twice; Kafka has an order within a partition only
        for task in one["tasks"]["without_end"]:
            del task["seconds"]
    assert there == here
    assert 37 == here["account"]["missing"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--since", "someday"], 2, "--since='someday': expected an age such as 10m"),
        (["--until", "tomorrow"], 2, "--until='tomorrow': expected an age such as 10m"),
        (["--since", "1m", "--until", "2m"], 2, "--since 1m is not before --until 2m"),
        (["--settle", "soon"], 2, "--settle soon: expected seconds or a duration"),
        (["--follow", "--plot", "x.svg"], 2, "--plot: not together with --follow"),
        (["--plot", "x.png"], 2, "--plot x.png: the picture is SVG"),
        (["--plot", "/no/such/folder/x.svg"], 2, "--plot /no/such/folder/x.svg: cannot write it"),
        (["--from", "kafka://u:sesame@h/t"], 2, "kafka://u:**@h/t: user and password are settings"),
        (["--format", "xml"], 2, "'xml' is not one of 'table', 'json'"),
        (["--sink", "stdout"], 2, "BRIDGE_SINK=stdout: nothing is kept there"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    """One line, exit code 2, no password."""
    done = audit(*arguments, BRIDGE_SQLITE_PATH=str(tmp_path / "none.db"))
    assert (code, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert "sesame" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("stored", "arguments", "said"),
    [
        (0, [], "nothing was read: the stream holds no event of this period"),
        (5, ["--until", "2020-01-01T00:00:00Z"], "nothing was read: the stream holds no event of this period"),
        (5, ["--worker", "nobody@*"], "nothing was read: the stream holds no event of this period and these workers"),
        (5, ["--settle", "1h"], "nothing was judged: all of the 5 events were stored too short a time ago (--settle)"),
    ],
    ids=["an empty stream", "another period", "other workers", "too young"],
)
def test_where_nothing_was_read_nothing_is_said_to_be_there(
    tmp_path: Path, stored: int, arguments: list[str], said: str
) -> None:
    """Exit code 3 and a sentence, for a cron job beside bridges that are down; 0 by --allow-empty.

    The sentence is said once: the verdict of the table, and on standard error beside JSON, which has none.
    """
    stream = in_sqlite(tmp_path)
    sender = Sender(at=round(time.time() * 1e6) - 60 * SECOND)
    for _ in range(stored):
        sender.beat()
    stream.write(events(sender.events))
    done = audit("--from", stream.url, "--settle", "0", *arguments)
    assert (3, "") == (done.returncode, done.stderr)
    verdict = " ".join(done.stdout.split())
    assert (1, 1) == (verdict.count(said), verdict.count("--allow-empty exits 0"))
    assert "nothing is missing" not in done.stdout
    as_json = audit("--from", stream.url, "--settle", "0", *arguments, "--format", "json")
    assert (3, False) == (as_json.returncode, json.loads(as_json.stdout)["judged"])
    assert [f"celery-event-bridge: {said}"] == [line[: 21 + len(said)] for line in as_json.stderr.splitlines()]
    allowed = audit("--from", stream.url, "--settle", "0", *arguments, "--allow-empty", "--format", "json")
    assert (0, "", False) == (allowed.returncode, allowed.stderr, json.loads(allowed.stdout)["judged"])
    stream.sink.close()


def test_a_stream_that_is_not_there(tmp_path: Path) -> None:
    """It is given up after a while."""
    done = audit("--from", f"sqlite:///{tmp_path}/none.db", module="tests.support.impatient")
    assert (1, "") == (done.returncode, done.stdout)
    assert "none.db: No such file or directory" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_events_as_they_were_captured(tmp_path: Path) -> None:
    """All is there but what Celery never sent: two tasks raised Ignore, one is of a task that sends no events."""
    stream = in_sqlite(tmp_path)
    stream.write(captured())
    picture = tmp_path / "delays.svg"
    found = report(stream, "--plot", str(picture))
    tasks = found["tasks"]
    assert ["app.ignore_it"] * 2 == [one["name"] for one in tasks["without_end"]]
    assert [0] * 4 == [tasks[f"{name}_missing"]["missing"] for name in ("starts", "received", "ends", "names")]
    assert (1, 2) == (found["account"]["missing"], tasks["ends_missing"]["in_all"])
    assert 0 == report(stream, "--task", "!app.ignore_it")["tasks"]["ends_missing"]["in_all"]
    assert not report(stream, "--worker", "!w1@vm")["missing"]
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_pipe_whose_reader_goes_away(tmp_path: Path, form: str) -> None:
    """`audit | head -1` ends without a word."""
    stream = in_sqlite(tmp_path)
    stream.write(events(fleet(400, workers=40, minutes=1)))
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery_event_bridge",
            "audit",
            "--from",
            stream.url,
            "--settle",
            "0s",
            "--format",
            form,
        ],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (0, "") == (process.wait(90), process.stderr.read())
    process.stderr.close()


def test_an_interruption(tmp_path: Path) -> None:
    """Ctrl-C while it reads: no report, since half of one would alarm; exit code 130, without a word."""
    stream = in_sqlite(tmp_path)
    stream.write(events(fleet(20_000, minutes=5)))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.interrupted", "audit", "--from", stream.url],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert (("", ""), 130) == (process.communicate(timeout=120), process.returncode)
