"""Replies to XADD in bulk, and events as commands: the same that redis-py would read and write."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st
from redis.connection import Connection

from celery_event_bridge.contract import JSON, MSGPACK, Event
from celery_event_sinks.redis.commands import TEMPLATES, EntryPacker
from celery_event_sinks.redis.replies import EntryReplies, NoReply
from celery_event_sinks.redis.trim import Trim

ids = st.builds(lambda first, second: b"%d-%d" % (first, second), st.integers(0, 2**63), st.integers(0, 2**63))
errors = st.sampled_from(["OOM command not allowed", "READONLY You can't write", "ERR \\r not a line's end", ""])
replies = st.lists(st.one_of(ids, ids, ids, errors), max_size=30)


def on_the_wire(reply: bytes | str) -> bytes:
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    return b"-%b\r\n" % reply.encode()


@given(replies, st.lists(st.integers(0, 2000), max_size=6))
def test_however_the_bytes_are_cut(expected: list[bytes | str], cuts: list[int]) -> None:
    """Ids and errors come out in order, each once, wherever the network has cut the bytes."""
    stream = b"".join(map(on_the_wire, expected))
    at = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
    unread = EntryReplies()
    found = [reply for start, end in pairwise(at) for reply in unread.feed(stream[start:end])]
    assert expected == found


def test_byte_by_byte() -> None:
    """The slowest network there is."""
    expected: list[bytes | str] = [b"1-0", "OOM no", b"1764000000000-12", b"2-0"]
    unread = EntryReplies()
    stream = b"".join(map(on_the_wire, expected))
    assert expected == [reply for byte in stream for reply in unread.feed(bytes([byte]))]


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (b":1\r\n", "1"),
        (b"+OK\r\n", "b'OK'"),
        (b"$-1\r\n", "None"),
        (b"$5\r\nhello\r\n", "b'hello'"),
        (b"$1\r\n7\r\n", "b'7'"),
        (b"HTTP/1.1 400 Bad\r\n", 'got "H"'),
        (b"*0\r\n", "[]"),
    ],
)
def test_what_is_no_reply_to_it(reply: bytes, shown: str) -> None:
    """Anything but an entry's id or an error is never counted as stored; it is told of, with what it was."""
    unread = EntryReplies()
    with pytest.raises(NoReply) as error:
        unread.feed(b"$3\r\n1-0\r\n" + reply)
    assert shown in str(error.value)


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
events = st.builds(
    Event,
    st.binary(min_size=16, max_size=16).map(bytes.hex),
    text,
    text,
    st.one_of(st.none(), text),
    text,
    st.one_of(st.none(), st.integers(-(2**40), 2**60)),
    st.binary(max_size=50),
    st.sampled_from([JSON, MSGPACK]),
    st.one_of(st.none(), text),
)


@given(st.lists(events, max_size=5), st.booleans(), st.sampled_from([b"celery-events", b"100%s"]))
def test_a_command_is_what_redis_py_would_send(batch: list[Event], once: bool, stream: bytes) -> None:
    """Word by word: the stream, the ids, and the fields that an event has."""
    packer = EntryPacker(Trim("maxlen", 1000))
    commands = packer.pack(batch, [stream] * len(batch), once=once)
    assert [packed(event, stream, once=once) for event in batch] == commands


def packed(event: Event, stream: bytes, *, once: bool) -> bytes:
    words: list[Any] = ["XADD", stream, "MAXLEN", "~", 1000]
    words += ["IDMP", event.source, event.id] if once else []
    words += ["*", "data", event.data, "id", event.id, "type", event.type, "source", event.source]
    words += ["content_type", event.content_type] if event.content_type != JSON else []
    words += ["subject", event.subject] if event.subject is not None else []
    words += ["time", event.time] if event.time is not None else []
    words += ["broker", event.broker] if event.broker is not None else []
    return b"".join(Connection().pack_command(*words))


def test_what_is_remembered_of_workers_is_bounded() -> None:
    """Host names come and go: their templates do not pile up."""
    packer = EntryPacker(Trim("never"))
    for start in range(0, 3 * TEMPLATES, 500):
        batch = [Event("0" * 32, "t", f"w{n}", None, "k", None, b"{}") for n in range(start, start + 500)]
        packer.pack(batch, [b"s"] * len(batch), once=False)
    assert len(packer._templates) <= TEMPLATES + 500
