"""`replay` as people type it: what is wrong, what is no event, a pipe that nobody reads, a bar on a terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys

import msgspec
import pytest

from celery_event_bridge.contract import JSON
from celery_event_bridge.forward.decode import decode
from tests.support.bridges import clean_environment
from tests.support.replaying import (
    INTERRUPTED,
    Receiver,
    happened,
    replay,
    start_replay,
)
from tests.support.servers.debian import ROOT
from tests.support.streams import Stream, captured


def test_where_nothing_is_picked_that_is_said(broker_url: str, stream: Stream) -> None:
    """With how many there were, and a guess for a type that Celery has not."""
    stream.write(captured())
    done = replay("--from", stream.url, "--to", broker_url, "--type", "task-failled", "--again")
    assert done.returncode == 0
    assert f"0 of {len(captured())} events matched" in done.stdout
    assert "--type: 'task-failled' matches no event of Celery's: did you mean task-failed?" in done.stderr


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
