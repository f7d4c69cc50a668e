"""`tail` as people and pipes use it: from each stream, to its end or for ever, and out of the way when nobody reads."""

from __future__ import annotations

import datetime
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from celery_event_bridge.forward.decode import decode
from celery_event_bridge.testing import deliver
from tests.support.bridges import run_to_end
from tests.support.servers.debian import until
from tests.support.streams import Stream, captured, in_sqlite, of_kind, some
from tests.support.tailing import Following, tail


@pytest.fixture(params=["sqlite", "redis", "kafka"])
def stream(request: pytest.FixtureRequest) -> Iterator[Stream]:
    """Each kind in turn, with the captured events in it."""
    made = of_kind(request.param, request)
    made.write(captured())
    yield made
    made.sink.close()


@pytest.fixture
def file(tmp_path: Path) -> Stream:
    """A SQLite file with the captured events in it."""
    made = in_sqlite(tmp_path)
    made.write(captured())
    return made


def test_all_that_is_there(stream: Stream) -> None:
    """A line an event, and the end; as JSON with the bytes that were published."""
    expected = captured()
    done = tail("--from", stream.url, "--format", "json")
    assert (0, "") == (done.returncode, done.stderr)
    found = {one["id"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert {event.id for event in expected} == set(found)
    lines = tail("--from", stream.url)
    assert (0, len(expected)) == (lines.returncode, len(lines.stdout.splitlines()))
    assert "\x1b" not in lines.stdout


def test_the_stream_of_the_settings(file: Stream) -> None:
    """Without a URL; an option of the sink is a setting as everywhere."""
    path = file.url.removeprefix("sqlite:///")
    assert len(captured()) == len(tail(BRIDGE_SQLITE_PATH=path).stdout.splitlines())
    assert len(captured()) == len(tail("--sqlite-path", path).stdout.splitlines())


def test_what_is_picked(file: Stream) -> None:
    """By type, task, uuid and age."""
    failed = tail("--from", file.url, "--type", "task-failed").stdout.splitlines()
    assert failed
    assert all("  task-failed " in line for line in failed)
    one = next(event for event in captured() if event.type == "task-succeeded")
    of_it = tail("--from", file.url, "--uuid", one.subject, "--format", "json").stdout.splitlines()
    assert {one.subject} == {json.loads(line)["subject"] for line in of_it}
    name = json.loads(of_it[-1])["task"]
    named = tail("--from", file.url, "--task", name, "--format", "json").stdout.splitlines()
    assert {name} == {json.loads(line)["task"] for line in named}
    assert {json.loads(line)["id"] for line in of_it if json.loads(line)["task"]} <= {
        json.loads(line)["id"] for line in named
    }
    assert "" == tail("--from", file.url, "--since", "0").stdout


@pytest.mark.parametrize(("since", "said"), [([], "come later, or not at all"), (["--since", "1h"], "begin earlier")])
def test_a_task_whose_name_was_not_read_before_is_told_of(file: Stream, since: list[str], said: str) -> None:
    """Where all was read, the name comes later: nobody is told to begin earlier than at the beginning."""
    file.write([decode(b'{"type":"task-started","uuid":"nameless","hostname":"w1"}', "application/json", {}).events[0]])
    done = tail("--from", file.url, "--task", "no.such*", *since)
    assert said in done.stderr


@pytest.mark.parametrize(
    ("arguments", "suggested"),
    [
        (["--type", "task-failled"], "--type: 'task-failled' matches no event of Celery's: did you mean task-failed?"),
        (["--type", "failed"], "--type: 'failed' matches no event of Celery's: did you mean task-failed?"),
        (["--task", "nobody.has.it"], ""),
        (["--uuid", "ffffffffffff"], ""),
        (["--type", "worker-offline", "--task", "any"], ""),
    ],
)
def test_where_nothing_matches_that_is_said(file: Stream, arguments: list[str], suggested: str) -> None:
    """On standard error, with how many there were; and a type that Celery has not, and that never came, is guessed."""
    done = tail("--from", file.url, *arguments)
    assert (0, "") == (done.returncode, done.stdout)
    assert f"0 of {len(captured())} events matched" in done.stderr
    assert (suggested in done.stderr) if suggested else ("did you mean" not in done.stderr)


def test_a_custom_type_that_came_is_no_slip(file: Stream) -> None:
    """Nothing is said of it; the beginning of a uuid is enough."""
    own = some(1, 777)[0]
    custom = decode(own.data.replace(own.type.encode(), b"our-own-type"), "application/json", {}).events[0]
    file.write([custom])
    done = tail("--from", file.url, "--type", "our-own-type")
    assert (1, "") == (len(done.stdout.splitlines()), done.stderr)
    one = next(event for event in captured() if event.type == "task-succeeded")
    whole, beginning = (tail("--from", file.url, "--uuid", uuid) for uuid in (one.subject, one.subject[:13]))
    assert whole.stdout == beginning.stdout != ""


def test_a_slip_is_said_at_once_where_it_follows(file: Stream) -> None:
    """There may be no end to say it at."""
    with Following("--from", file.url, "--follow", "--type", "task-failled") as following:
        assert following.process.stderr is not None
        assert "did you mean task-failed?" in following.process.stderr.readline()


def test_a_stream_that_is_named_by_an_option_is_not_said_to_be_a_settings(redis_url: str) -> None:
    """The error names --from, where user and password are."""
    done = tail("--from", redis_url.replace("redis://", "redis://nobody:sesame@"), "--since", "1h")
    assert done.returncode == 1
    assert "check user and password in --from" in done.stderr.splitlines()[-1]
    assert "sesame" not in done.stderr


def test_types_with_blanks_or_none_between_the_commas(file: Stream) -> None:
    """A blank after a comma changes nothing, and where no pattern is left all events are wanted."""
    strict, loose = (
        tail("--from", file.url, "--type", types) for types in ("task-*,!task-received", "task-*, !task-received ,")
    )
    assert strict.stdout == loose.stdout
    assert "task-received" not in loose.stdout
    assert len(captured()) == len(tail("--from", file.url, "--type", "").stdout.splitlines())


def test_it_follows_until_it_is_interrupted(stream: Stream) -> None:
    """Each event comes out at once, though it be a pipe; Ctrl-C is the end, without a word."""
    with Following("--from", stream.url, "--follow", "--since", "earliest", "--format", "json") as following:
        for _ in captured():
            assert following.line()
        for number in range(3):
            stream.write(some(1, number))
            assert some(1, number)[0].id == json.loads(following.line())["id"]
        following.process.send_signal(signal.SIGINT)
        assert (0, "") == following.ended()


def test_it_follows_from_now_on(file: Stream) -> None:
    """What is old stays where it is."""
    with Following("--from", file.url, "--follow", "--format", "json") as following:
        ids = set()

        def comes_out() -> bool:
            deliver(file.sink, some(1, len(ids)), 80)
            ids.add(some(1, len(ids))[0].id)
            return bool(select_readable(following))

        until(comes_out, 20, "something comes out", pause=0.2)
        assert json.loads(following.line())["id"] in ids
        following.process.send_signal(signal.SIGTERM)
        assert 0 == following.ended()[0]


def select_readable(following: Following) -> list[Any]:
    import select

    return select.select([following.process.stdout], [], [], 0)[0]


@pytest.mark.parametrize("follow", [["--follow", "--since", "earliest"], []])
def test_a_pipe_whose_reader_goes_away(file: Stream, follow: list[str]) -> None:
    """`tail | head -1` ends, with 0 and without a word, whether more events come or not."""
    file.write(some(20_000))
    with Following("--from", file.url, *follow) as following:
        assert following.line()
        assert following.process.stdout is not None
        following.process.stdout.close()
        assert (0, "") == following.ended()


def test_a_pipe_that_is_closed_while_nothing_comes(file: Stream) -> None:
    """It is noticed without an event to write."""
    with Following("--from", file.url, "--follow", "--since", "earliest") as following:
        for _ in captured():
            assert following.line()
        assert following.process.stdout is not None
        following.process.stdout.close()
        assert (0, "") == following.ended()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--since", "tomorrow"], 2, "--since='tomorrow': expected an age such as 10m"),
        (["--until", "latest"], 2, "--until latest: expected an age such as 10m"),
        (["--since", "1h", "--until", "2h"], 2, "--since 1h is not before --until 2h"),
        (["-f", "--reverse"], 2, "--reverse: not together with --follow"),
        (["-n", "0"], 2, "0 is not in the range x>=1"),
        (["--from", "amqp://u:sesame@h//"], 2, "no reader for amqp://"),
        (["--from", "kafka://u:sesame@h/t"], 2, "kafka://u:**@h/t: user and password are settings"),
        (["--format", "xml"], 2, "'xml' is not one of 'line', 'full', 'json'"),
        (["--sink", "stdout"], 2, "BRIDGE_SINK=stdout: nothing is kept there"),
        (["--prefetch", "x"], 2, "BRIDGE_PREFETCH=x"),
    ],
)
def test_wrong_usage(arguments: list[str], code: int, said: str) -> None:
    """One line, exit code 2, no password."""
    done = tail(*arguments)
    assert (code, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert "sesame" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["tail", "tail -n 3", "audit"])
def test_a_file_that_is_not_there(command: str, tmp_path: Path) -> None:
    """It is said in one line, the only one, since it is not waited for: as a path, and as a URL."""
    for where in (f"{tmp_path}/none.db", f"sqlite:///{tmp_path}/none.db"):
        done = run_to_end("celery_event_bridge", *command.split(), "--from", where)
        assert (1, "") == (done.returncode, done.stdout)
        (line,) = done.stderr.splitlines()
        assert line.startswith("celery-event-bridge: ")
        assert "none.db: No such file or directory: is it there" in line


def test_a_file_that_comes_later_is_followed(tmp_path: Path) -> None:
    """Who follows waits for it."""
    with Following("--follow", "--since", "earliest", "--from", f"{tmp_path}/events.db") as following:
        assert following.process.stderr is not None
        assert "No such file or directory" in following.process.stderr.readline()
        in_sqlite(tmp_path).write(captured())
        for _ in captured():
            assert following.line()


def test_the_newest(stream: Stream) -> None:
    """The last that match, from each kind of stream, and no more of it is read than it takes."""
    whole = [json.loads(line) for line in tail("--from", stream.url, "--format", "json").stdout.splitlines()]
    if stream.kind != "kafka":  # which has no order across its partitions
        last = tail("--from", stream.url, "-n", "7", "--format", "json")
        assert [one["id"] for one in whole[-7:]] == [json.loads(line)["id"] for line in last.stdout.splitlines()]
    for count in (1, 5, 10_000):
        found = tail("--from", stream.url, "-n", str(count), "--type", "task-succeeded", "--format", "json")
        there = [one["id"] for one in whole if one["type"] == "task-succeeded"]
        ids = [json.loads(line)["id"] for line in found.stdout.splitlines()]
        assert min(count, len(there)) == len(ids) == len({*ids} & {*there})
    assert "0 of" in tail("--from", stream.url, "-n", "3", "--task", "nobody.has.it").stderr


def test_far_back(file: Stream) -> None:
    """The only one that matches is found, behind thousands that do not."""
    (rare,) = [one for one in captured() if one.type == "worker-offline"][:1] or captured()[:1]
    copies = [msgspec.structs.replace(one, id=f"{number:032d}") for number, one in enumerate(some(9000))]
    file.write(copies)
    found = tail("--from", file.url, "-n", "1", "--type", rare.type, "--format", "json").stdout.splitlines()
    assert [rare.type] == [json.loads(line)["type"] for line in found]
    assert file.url.endswith(".db")
    path = file.url.removeprefix("sqlite:///")
    backwards = tail("--from", path, "-n", "3", "--reverse", "--format", "json").stdout.splitlines()
    assert [each.id for each in copies[:-4:-1]] == [json.loads(line)["id"] for line in backwards]


def test_the_newest_and_what_comes(file: Stream) -> None:
    """`-n 2 --follow`: two at once, and each that comes then."""
    ids = [json.loads(line)["id"] for line in tail("--from", file.url, "--format", "json").stdout.splitlines()]
    with Following("--follow", "-n", "2", "--format", "json", "--from", file.url) as following:
        assert ids[-2:] == [json.loads(following.line())["id"] for _ in range(2)]
        new = some(3)
        file.write(new)
        assert [one.id for one in new] == [json.loads(following.line())["id"] for _ in new]


def test_a_period(file: Stream) -> None:
    """`--until` ends it; what was stored later is not printed."""
    before = len(tail("--from", file.url).stdout.splitlines())
    until_ = datetime.datetime.now().astimezone() + datetime.timedelta(milliseconds=1)
    until(lambda: datetime.datetime.now().astimezone() > until_, 5, "time passes")
    file.write(some(3))
    printed = tail("--from", file.url, "--until", until_.strftime("%Y-%m-%d %H:%M:%S.%f"), "--since", "yesterday")
    assert before == len(printed.stdout.splitlines()) > 0
    assert before + 3 == len(tail("--from", file.url, "--until", "now").stdout.splitlines())
