"""`replay` to a broker: what a receiver gets is what Celery sends, in order, and a stop anywhere loses nothing."""

from __future__ import annotations

import datetime
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
from celery import Celery
from celery.events import EventDispatcher

from celery_event_bridge.contract import JSON
from celery_event_bridge.forward.decode import decode
from tests.integration.reading.test_reader import Stream, in_kafka, in_redis, in_sqlite
from tests.integration.reading.test_tail import captured
from tests.support import oracle
from tests.support.bridges import clean_environment, run_to_end
from tests.support.replaying import HAPPENED, Receiver, as_sent, happened, replay, start_replay
from tests.support.servers import Kafka, RabbitMQ
from tests.support.servers.debian import ROOT, until
from tests.support.stores import FULL, at_full_length

INTERRUPTED = 130


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    """A SQLite file with nothing in it."""
    return in_sqlite(tmp_path)


def committed(stream: Stream) -> int:
    """The position of the only group."""
    path = stream.url.removeprefix("sqlite:///")
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT position FROM bridge_readers").fetchone()[0])
    finally:
        connection.close()


# What a receiver gets -----------------------------------------------------------------------------------------------


def sent_by_celery(url: str) -> list[Any]:
    """Single events from Celery's own dispatcher, in JSON and in msgpack, as a plain queue gets them."""
    receiver = Receiver(url)
    app = Celery(broker=url, set_as_current=False)
    with app.connection_for_write() as connection:
        for serializer in ("json", "msgpack"):
            with EventDispatcher(
                connection,
                f"w-{serializer}@host",
                app=app,
                serializer=serializer,
                buffer_while_offline=False,  # else it swallows whatever goes wrong
            ) as dispatcher:
                dispatcher.send("worker-online", freq=2.0, sw_ident="py-celery")
                dispatcher.send("task-sent", uuid="u1", name="shop.pay", args="('ž',)", kwargs="{}")
                dispatcher.send("task-succeeded", uuid="u1", result="NaN", runtime=float("nan"))
                dispatcher.send("our-own-event-type", colour="red")
    until(lambda: receiver.depth() == 8, 20, "Celery's events have arrived")
    return receiver.messages()


def test_an_event_is_as_celery_sends_it(rabbitmq_server: RabbitMQ, stream: Stream) -> None:
    """Body, routing key, content type, content encoding, delivery mode, priority and headers, and nothing else."""
    sent = sent_by_celery(rabbitmq_server.new_vhost())
    assert 8 == len(sent)
    events = [decode(one.body, one.properties["content_type"], one.headers).events[0] for one in sent]
    stream.write(events)
    url = rabbitmq_server.new_vhost()
    receiver = Receiver(url)
    done = replay("--from", stream.url, "--to", url)
    assert (0, "") == (done.returncode, done.stderr)
    assert "8 events sent to exchange celeryev of amqp://guest:**@" in done.stdout
    assert list(map(as_sent, sent)) == list(map(as_sent, receiver.messages()))


def test_what_workers_have_sent(broker_url: str, stream: Stream) -> None:
    """The captured messages: each event of a list on its own, in order, as if it had been sent alone."""
    expected = captured()
    stream.write(expected)
    receiver = Receiver(broker_url)
    assert 0 == replay("--from", stream.url, "--to", broker_url).returncode
    found = receiver.messages()
    assert [event.data for event in expected] == [message.body for message in found]
    assert [event.type.replace("-", ".") for event in expected] == [one.delivery_info["routing_key"] for one in found]
    singles = {one.body: one for one in oracle.captured() if one.routing_key != "task.multi"}
    compared = 0
    for message in found:
        if (single := singles.get(message.body)) is not None:
            compared += 1
            assert (single.routing_key, single.properties) == as_sent(message)[1:]
    assert compared > 100


def test_what_is_picked(broker_url: str, stream: Stream) -> None:
    """By type, and by the time when it happened, whenever it was stored."""
    events = happened(100)
    stream.write([*events[50:], *events[:50]])
    stream.write(captured())
    receiver = Receiver(broker_url)
    since, before = "2020-09-13T12:26:50Z", "2020-09-13T12:27:40+00:00"
    assert (10, 60) == (time_of(since) - HAPPENED, time_of(before) - HAPPENED)
    done = replay("--from", stream.url, "--to", broker_url, "--since", since, "--until", before)
    assert 0 == done.returncode, done.stderr
    found = [message.body for message in receiver.messages()]
    assert [event.data for event in [*events[50:60], *events[10:50]]] == found
    assert 0 == replay("--from", stream.url, "--to", broker_url, "--type", "task-failed").returncode
    assert {"task.failed"} == {one.delivery_info["routing_key"] for one in receiver.messages()}


def test_where_nothing_is_picked_that_is_said(broker_url: str, stream: Stream) -> None:
    """With how many there were, and a guess for a type that Celery has not."""
    stream.write(captured())
    done = replay("--from", stream.url, "--to", broker_url, "--type", "task-failled", "--again")
    assert done.returncode == 0
    assert f"0 of {len(captured())} events matched" in done.stdout
    assert "--type: 'task-failled' matches no event of Celery's: did you mean task-failed?" in done.stderr


def test_where_nothing_is_confirmed_that_is_said(own_rabbitmq: RabbitMQ, stream: Stream) -> None:
    """And not that nothing matched: a memory alarm keeps a broker from taking any."""
    url = own_rabbitmq.new_vhost()
    stream.write(captured())
    own_rabbitmq.ctl("set_vm_memory_high_watermark", "0.0001")
    try:
        done = run_to_end("tests.support.impatient", "replay", "--from", stream.url, "--to", url)
    finally:
        own_rabbitmq.ctl("set_vm_memory_high_watermark", "0.6")
    assert done.returncode == 1
    assert f"none of the {len(captured())} events that matched was confirmed" in done.stderr
    assert "0 of" not in done.stderr


@pytest.mark.parametrize("kind", ["broker", "redis"])
def test_a_target_that_refuses_the_login_is_named_by_its_option(
    request: pytest.FixtureRequest, stream: Stream, kind: str
) -> None:
    """It is --to that has user and password, and not the setting of the bridge's own broker or stream."""
    url = urlsplit(request.getfixturevalue("broker_url" if kind == "broker" else "redis_url"))
    server = f"{url.hostname}:{url.port}"
    to = url._replace(netloc=f"nobody:sesame@{server}").geturl()
    done = run_to_end("tests.support.impatient", "replay", "--from", stream.url, "--to", to)
    assert done.returncode == 1
    assert "check user and password in --to" in done.stderr
    assert "BRIDGE_" not in done.stderr.splitlines()[-1]
    assert "sesame" not in done.stderr


def time_of(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()


def test_partitions_are_put_in_order(broker_url: str, kafka_server: Kafka) -> None:
    """Kafka has three partitions, and a receiver gets the events in the order in which they happened."""
    stream = in_kafka(kafka_server)
    events = happened(3000)
    stream.write(events)
    receiver = Receiver(broker_url)
    assert 0 == replay("--from", stream.url, "--to", broker_url).returncode
    assert [event.data for event in events] == [message.body for message in receiver.messages()]


def test_the_pace(broker_url: str, stream: Stream) -> None:
    """An hour of events in the rhythm in which they happened: none comes before it is due."""
    stream.write(happened(5, apart=900))
    receiver = Receiver(broker_url)
    began = time.monotonic()
    process = start_replay("--from", stream.url, "--to", broker_url, "--speed", "1800")
    until(lambda: receiver.depth() >= 1, 20, "the first has come", pause=0.02)
    process.communicate(timeout=120)
    assert 0 == process.returncode
    assert time.monotonic() - began >= 2.0, "four pauses of half a second"
    assert 5 == len(receiver.messages())


# Stop and resume ----------------------------------------------------------------------------------------------------

COUNT = 60_000 if FULL else 6_000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT] if FULL else [signal.SIGTERM])
def test_a_second_run_goes_on(broker_url: str, stream: Stream, number: int) -> None:
    """Stopped in the middle, then run again: each event once, in order."""
    events = happened(COUNT, apart=0.001)
    stream.write(events)
    receiver = Receiver(broker_url)
    arguments = ["--from", stream.url, "--to", broker_url, "--group", "night"]
    process = start_replay(*arguments, "--speed", "1")
    until(lambda: receiver.depth() >= 500, 30, "some have come", pause=0.02)
    process.send_signal(number)
    said, complaint = process.communicate(timeout=120)
    assert (INTERRUPTED, "") == (process.returncode, complaint)
    assert "stopped: --group night goes on there" in said
    before = receiver.depth()
    assert 500 <= before < COUNT
    assert committed(stream) == before
    assert f"{before} events sent" in said
    assert 0 == replay(*arguments).returncode
    assert [event.data for event in events] == [message.body for message in receiver.messages()]
    done = replay(*arguments)
    assert (0, True) == (done.returncode, done.stdout.startswith("0 events sent"))


def test_killed_and_run_again(broker_url: str, stream: Stream) -> None:
    """After SIGKILL none is missing, and only those after the last commit come twice."""
    events = happened(COUNT, apart=0.001)
    stream.write(events)
    receiver = Receiver(broker_url)
    arguments = ["--from", stream.url, "--to", broker_url, "--group", "night"]
    process = start_replay(*arguments, "--speed", "1", module="tests.support.impatient")
    until(lambda: committed(stream) > 0, 30, "something is committed", pause=0.02)
    process.kill()
    process.communicate(timeout=120)
    place = committed(stream)
    assert 0 < place < COUNT
    # In its own time the first one's lease runs out.
    assert 0 == run_to_end("tests.support.impatient", "replay", *arguments).returncode
    found = Counter(message.body for message in receiver.messages())
    assert {event.data for event in events} == set(found)
    twice = [position for position, event in enumerate(events, 1) if found[event.data] > 1]
    assert all(position > place for position in twice)


@pytest.mark.parametrize("kind", ["redis", "kafka"])
def test_a_second_run_goes_on_with_a_shared_stream(broker_url: str, request: pytest.FixtureRequest, kind: str) -> None:
    """A group of Redis, and one of Kafka, whose partitions are read ahead: none is missing, each task is in order."""
    if kind == "redis":
        stream = in_redis(request.getfixturevalue("redis_url"))
    else:
        stream = in_kafka(request.getfixturevalue("kafka_server"))
    events = happened(COUNT, apart=0.001, tasks=50)
    stream.write(events)
    receiver = Receiver(broker_url)
    arguments = ["--from", stream.url, "--to", broker_url, "--group", "night"]
    process = start_replay(*arguments, "--speed", "1")
    until(lambda: receiver.depth() >= 500, 30, "some have come", pause=0.02)
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=120)
    assert (INTERRUPTED, "") == (process.returncode, complaint)
    before = receiver.depth()
    assert before < COUNT
    done = replay(*arguments)
    assert (0, "") == (done.returncode, done.stderr)
    found = [message.body for message in receiver.messages()]
    assert {event.data for event in events} == set(found)
    if kind == "redis":
        assert [event.data for event in events] == found
    else:
        assert len(found) < COUNT + before
    first = list(dict.fromkeys(found))
    for task in {event.subject for event in events}:
        own = {event.data: None for event in events if event.subject == task}
        assert list(own) == [data for data in first if data in own]


# Who gets nothing ---------------------------------------------------------------------------------------------------


def test_not_where_our_queue_is(broker_url: str, stream: Stream) -> None:
    """It would feed the bridge its own events: refused, with nothing sent, unless it is asked for."""
    stream.write(happened(3))
    receiver = Receiver(broker_url)
    assert 0 == oracle_declare(broker_url, "celeryev.bridge")
    done = replay("--from", stream.url, "--to", broker_url, "--group", "night")
    assert (2, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert "queue 'celeryev.bridge' is on exchange celeryev of amqp://guest:**@" in done.stderr
    assert "--again" in done.stderr
    assert 0 == receiver.depth()
    assert 0 == replay("--from", stream.url, "--to", broker_url, BRIDGE_QUEUE="another").returncode
    assert 0 == replay("--from", stream.url, "--to", broker_url, "--again").returncode
    assert 6 == len(receiver.messages())


def oracle_declare(url: str, queue: str) -> int:
    connection = oracle.broker(url)
    count = connection.channel().queue_declare(queue, durable=True, auto_delete=False).message_count
    connection.close()
    return int(count)


def test_nobody_listens(broker_url: str, stream: Stream) -> None:
    """Without a receiver it fails, and its group has not moved."""
    stream.write(happened(30))
    arguments = ["--from", stream.url, "--to", broker_url, "--group", "night"]
    done = replay(*arguments)
    assert (1, "") == (done.returncode, done.stderr)
    assert "none of them was received: no queue is bound there; start the receiver first" in done.stdout
    receiver = Receiver(broker_url)
    assert 0 == replay(*arguments).returncode
    assert 30 == len(receiver.messages())


def test_some_types_have_no_receiver(broker_url: str, stream: Stream) -> None:
    """A receiver of tasks gets those; the others are counted."""
    stream.write(captured())
    receiver = Receiver(broker_url, key="task.#")
    done = replay("--from", stream.url, "--to", broker_url)
    others = sum(not event.type.startswith("task-") for event in captured())
    assert 0 == done.returncode
    assert f"; {others} of them had no receiver" in done.stdout
    assert len(captured()) - others == len(receiver.messages())


def test_a_full_queue(broker_url: str, stream: Stream) -> None:
    """A message that the broker refuses ends it, with one line; what was confirmed before it is committed."""
    events = happened(4000)
    stream.write(events)
    receiver = Receiver(broker_url, arguments={"x-max-length": 100, "x-overflow": "reject-publish"})
    arguments = ["--from", stream.url, "--to", broker_url, "--group", "night"]
    done = replay(*arguments)
    assert (1, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert "it did not take an event: a queue bound to the exchange is full" in done.stderr
    found = [message.body for message in receiver.messages()]
    assert 100 <= len(found) < 4000
    assert [event.data for event in events[: committed(stream)]] == found[: committed(stream)]
    receiver.remove()
    receiver = Receiver(broker_url)
    assert 0 == replay(*arguments).returncode
    assert {event.data for event in events} == {*found, *(message.body for message in receiver.messages())}


def test_the_broker_goes_away(rabbitmq_server: RabbitMQ, stream: Stream) -> None:
    """Cut off: one line and 1; a second run brings what was not committed."""
    events = happened(COUNT, apart=0.003)
    stream.write(events)
    url = rabbitmq_server.new_vhost()
    receiver = Receiver(url)
    arguments = ["--from", stream.url, "--to", url, "--group", "night"]
    process = start_replay(*arguments, "--speed", "1")
    until(lambda: committed(stream) > 0, 30, "something is committed", pause=0.02)
    rabbitmq_server.ctl("close_all_connections", "--vhost", unquote(urlsplit(url).path[1:]), "for the test")
    said, complaint = process.communicate(timeout=180)
    assert (1, "", 1) == (process.returncode, said, len(complaint.splitlines())), complaint
    assert "for the test" in complaint
    assert 0 == replay(*arguments).returncode
    assert {event.data for event in events} == {message.body for message in receiver.messages()}


@at_full_length
@pytest.mark.fault
def test_the_broker_is_killed(own_rabbitmq: RabbitMQ, stream: Stream) -> None:
    """The same with a node that is killed and comes back."""
    events = happened(COUNT, apart=0.001)
    stream.write(events)
    url = own_rabbitmq.new_vhost()
    receiver = Receiver(url, arguments={"x-queue-type": "quorum"})
    own_rabbitmq.await_queues_on_disk(url, 1)
    arguments = ["--from", stream.url, "--to", url, "--group", "night"]
    process = start_replay(*arguments, "--speed", "1")
    until(lambda: committed(stream) > 0, 30, "something is committed", pause=0.02)
    own_rabbitmq.kill()
    said, complaint = process.communicate(timeout=180)
    assert (1, "", 1) == (process.returncode, said, len(complaint.splitlines())), complaint
    assert "the connection is lost" in complaint
    away = replay(*arguments)
    assert (1, 1) == (away.returncode, len(away.stderr.splitlines()))
    own_rabbitmq.start()
    assert 0 == replay(*arguments).returncode
    assert {event.data for event in events} == {message.body for message in receiver.messages()}


# What else may happen -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "amqp://h", "--since", "someday"], "--since='someday': expected an age such as 10m"),
        (["--to", "amqp://h", "--until", "latest"], "--until latest: expected an age such as 10m, or a time"),
        (["--to", "amqp://h", "--since", "1d", "--group", "g"], "--since 1d with --group: a second run would take it"),
        (["--to", "amqp://h", "--speed", "0"], "0.0 is not in the range x>0"),
        (["--to", "amqp://u:sesame@h:x//"], "--to amqp://u:**@h:x//: the port is no number"),
        (["--to", "sqs://u:sesame@h//"], "--to sqs://u:**@h//: no reader for sqs://"),
        (["--to", "nonsense"], "expected kafka://host:9092/topic"),
        (["--from", "amqp://u:sesame@h//", "--to", "sqlite:///x.db"], "no reader for amqp://"),
        (["--to", "amqp://h", "--group", ""], "--group: expected a name"),
        ([], "Missing option '--to'"),
        (["--to", "amqp://h", "--prefetch", "x"], "BRIDGE_PREFETCH=x"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    """Exit code 2, no password, no traceback."""
    done = replay(*arguments)
    assert (2, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert "sesame" not in done.stderr
    assert "Traceback" not in done.stderr


def test_ends_that_are_not_there(broker_url: str, tmp_path: Path) -> None:
    """One line about a stream that is missing, an empty one, a broker that does not answer."""
    none = run_to_end(
        "tests.support.impatient", "replay", "--from", f"sqlite:///{tmp_path}/none.db", "--to", broker_url
    )
    assert (1, "") == (none.returncode, none.stdout)
    assert "none.db: No such file or directory: is it there" in none.stderr.splitlines()[-1]
    stream = in_sqlite(tmp_path)
    done = replay("--from", stream.url, "--to", broker_url)
    assert (0, "", True) == (done.returncode, done.stderr, done.stdout.startswith("0 events sent"))
    away = replay("--from", stream.url, "--to", "amqp://guest:sesame@127.0.0.1:1//")
    assert (1, "", 1) == (away.returncode, away.stdout, len(away.stderr.splitlines()))
    assert "cannot connect" in away.stderr
    assert "sesame" not in away.stderr


def test_what_is_no_event(broker_url: str, stream: Stream) -> None:
    """A line for each, the others are sent, and it exits 1."""
    good = happened(3)
    bad = [
        msgspec.structs.replace(good[0], id="bad1", data=b"\xff not JSON"),
        msgspec.structs.replace(good[0], id="bad2", data=b"[" + good[0].data + b"]"),
        decode(b'{"type": "' + b"x" * 300 + b'"}', JSON, {}).events[0],
    ]
    stream.write([bad[0], good[0], *bad[1:], *good[1:]])
    receiver = Receiver(broker_url)
    done = replay("--from", stream.url, "--to", broker_url)
    lines = done.stderr.splitlines()
    assert (1, 3) == (done.returncode, len(lines))
    assert "event bad1: not UTF-8" in lines[0]
    assert "event bad2: a list of events" in lines[1]
    assert "longer than the 255 bytes of a routing key" in lines[2]
    assert done.stdout.startswith("3 events sent")
    assert "3 could not be sent" in done.stdout
    assert [event.data for event in good] == [message.body for message in receiver.messages()]


def test_a_pipe_that_nobody_reads(broker_url: str, stream: Stream) -> None:
    """The work is done all the same, and it ends without a word."""
    stream.write(happened(200))
    receiver = Receiver(broker_url)
    process = start_replay("--from", stream.url, "--to", broker_url, "--speed", "1000")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert (0, "") == (process.wait(90), process.stderr.read())
    process.stderr.close()
    assert 200 == len(receiver.messages())


def test_a_bar_on_a_terminal(broker_url: str, stream: Stream) -> None:
    """How far it is, on a terminal alone; the cursor is there again after Ctrl-C."""
    stream.write(happened(3000, apart=0.003))
    Receiver(broker_url)
    master, slave = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "celery_event_bridge",
        "replay",
        "--from",
        stream.url,
        "--to",
        broker_url,
        "--speed",
        "1",
    ]
    process = subprocess.Popen(
        [*command, "--until", "2020-09-13T12:27:10Z"],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    while not re.search(rb"%.* [1-9][\d,]* events, ", shown):
        shown += os.read(master, 1000)
    process.send_signal(signal.SIGINT)
    assert INTERRUPTED == process.wait(60)
    while chunk := read(master):
        shown += chunk
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")
    assert process.stdout is not None
    assert b"stopped: without --group, for good" in process.stdout.read()
    process.stdout.close()
    os.close(master)


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1000)
    except OSError:  # so Linux says that nobody has the other end open
        return b""
