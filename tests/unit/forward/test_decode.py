"""Message bodies to events."""

from __future__ import annotations

import base64
import json
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from celery_event_bridge.contract import JSON, MSGPACK
from celery_event_bridge.forward.decode import decode

CAPTURED = Path(__file__).parents[2] / "data" / "captured-events.jsonl"


def captured() -> list[dict[str, Any]]:
    messages = [json.loads(line) for line in CAPTURED.read_text().splitlines()]
    for message in messages:
        encoded = message.get("body_b64")
        message["raw"] = base64.b64decode(encoded) if encoded else message["body"].encode()
    return messages


def test_captured_messages_decode_as_the_contract_says() -> None:
    """Each event a real worker sent has the bytes, id, key, type, source, subject and time that plain json finds."""
    seen = 0
    for message in captured():
        decoded = decode(message["raw"], message["content_type"], message["headers"])
        if message["content_type"] == "application/x-python-serialize":
            assert ([], "content-type") == (decoded.events, decoded.rejection and decoded.rejection.reason)
            continue
        assert decoded.rejection is None
        plain = json.loads if message["content_type"] == JSON else msgspec.msgpack.decode
        whole = plain(message["raw"])
        expected = whole if isinstance(whole, list) else [whole]
        assert len(expected) == len(decoded.events)
        for fields, event in zip(expected, decoded.events, strict=True):
            seen += 1
            assert fields == plain(event.data)
            assert event.data in message["raw"]
            assert blake2b(event.data, digest_size=16).hexdigest() == event.id
            assert (fields["type"], fields["hostname"]) == (event.type, event.source)
            assert fields.get("uuid") == event.subject
            assert (fields.get("uuid") or fields["hostname"]) == event.key
            assert round(fields["timestamp"] * 1_000_000) == event.time
            assert message["content_type"] == event.content_type
    assert 757 == seen


@pytest.mark.parametrize(
    ("body", "slices"),
    [
        (b' {"type":"a"} ', [b' {"type":"a"} ']),
        (b'[{"type":"a"} ,\n {"type":"b", "x": [1, "]"]}\t]', [b'{"type":"a"}', b'{"type":"b", "x": [1, "]"]}']),
        (b'{"type":"a","x":NaN,"y":-Infinity}', [b'{"type":"a","x":NaN,"y":-Infinity}']),
        (b'[{"type":"a","x":NaN} , {"type":"b"}]', [b'{"type":"a","x":NaN}', b'{"type":"b"}']),
        (b'[{"type":"a","x":"\\ud800"}]', [b'{"type":"a","x":"\\ud800"}']),
        ('{"type":"a","x":"é"}'.encode(), ['{"type":"a","x":"é"}'.encode()]),
        (
            '[{"type":"a","x":"é"}, {"type":"b","y":NaN}]'.encode(),
            ['{"type":"a","x":"é"}'.encode(), b'{"type":"b","y":NaN}'],
        ),
    ],
)
def test_slices_are_verbatim(body: bytes, slices: list[bytes]) -> None:
    """An event is the exact bytes of the body, or of its element without the blanks around it."""
    decoded = decode(body, JSON, {})
    assert decoded.rejection is None
    assert slices == [event.data for event in decoded.events]


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"", JSON, "undecodable"),
        (b"\x00\xff", JSON, "undecodable"),
        (b'{"type":"a"', JSON, "undecodable"),
        (b'[{"type":"a"}', JSON, "undecodable"),
        (b'[{"type":"a"} {"type":"b"}]', JSON, "undecodable"),
        (b'[{"type":"a","x":NaN}] x', JSON, "undecodable"),
        (b'{"type":"a","x":"\xff"}', JSON, "undecodable"),
        (b'{"type":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON, "undecodable"),
        (b"[" * 100_000, JSON, "undecodable"),
        (b"[]", JSON, "empty"),
        (b'"text"', JSON, "not-an-event"),
        (b"null", JSON, "not-an-event"),
        (b'{"type":5}', JSON, "not-an-event"),
        (b'{"type":""}', JSON, "not-an-event"),
        (b"{}", JSON, "not-an-event"),
        (b"\x90", MSGPACK, "empty"),
        (b"", MSGPACK, "undecodable"),
        (b"\x80", MSGPACK, "not-an-event"),
        (b"\xdd\xff\xff\xff\xff", MSGPACK, "undecodable"),
        (b"\x91" * 100_000, MSGPACK, "undecodable"),
        (b"\x81\xa4type\xa1\xff", MSGPACK, "undecodable"),
        (b"cos\nsystem\n(S'true'\ntR.", "application/x-python-serialize", "content-type"),
        (b"type: a", "application/x-yaml", "content-type"),
    ],
)
def test_what_is_no_event_is_rejected(body: bytes, content_type: str, reason: str) -> None:
    """Nothing that a publisher can send raises; it is rejected with a reason, to be parked."""
    decoded = decode(body, content_type, {})
    assert [] == decoded.events
    assert decoded.rejection is not None
    assert reason == decoded.rejection.reason


def test_good_events_of_a_bad_list_are_kept() -> None:
    """A list with elements that are no events yields the others, and a rejection for the whole."""
    decoded = decode(b'[{"type":"a"}, 3, {"type":"b"}, {}]', JSON, {})
    assert ["a", "b"] == [event.type for event in decoded.events]
    assert decoded.rejection is not None
    assert "element 1: not an object with names for its fields (and 1 more)" == decoded.rejection.error


@pytest.mark.parametrize(
    ("body", "headers", "source", "subject", "key"),
    [
        (b'{"type":"a","hostname":"w","uuid":"u"}', {"hostname": "h"}, "w", "u", "u"),
        (b'{"type":"a","hostname":7,"uuid":[]}', {"hostname": "h"}, "h", None, "h"),
        (b'{"type":"a","hostname":"","uuid":""}', {}, "unknown", None, "unknown"),
        (
            b'{"type":"a","uuid":"\\ud800u"}',
            {"hostname": b"raw"},
            "unknown",
            "\N{REPLACEMENT CHARACTER}u",
            "\N{REPLACEMENT CHARACTER}u",
        ),
    ],
)
def test_fields_of_a_wrong_type_count_as_absent(
    body: bytes, headers: dict[str, object], source: str, subject: str | None, key: str
) -> None:
    """The host name falls back to the message's header, the key to the host name."""
    (event,) = decode(body, JSON, headers).events
    assert (source, subject, key) == (event.source, event.subject, event.key)


@pytest.mark.parametrize(
    ("timestamp", "time"),
    [
        ("1795397499.0177746", 1795397499017774),
        ("0", 0),
        ("-1.5", -1500000),
        ("true", None),
        ('"1"', None),
        ("NaN", None),
        ("1e400", None),
        ("1e300", None),
        ("123456789012345678901234567890", None),
    ],
)
def test_event_time(timestamp: str, time: int | None) -> None:
    """Microseconds since 1970; absent where it is no number that a calendar has."""
    (event,) = decode(f'{{"type":"a","timestamp":{timestamp}}}'.encode(), JSON, {}).events
    assert time == event.time


def test_an_empty_content_type_is_taken_for_json() -> None:
    """A publisher that names no content type most likely sends JSON; parameters behind it do not matter."""
    for content_type in ("", "application/json; charset=utf-8", "Application/JSON"):
        (event,) = decode(b'{"type":"a"}', content_type, {}).events
        assert JSON == event.content_type


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
events = st.fixed_dictionaries(
    {"type": st.text(min_size=1)}, optional={"uuid": values, "hostname": values, "x": values}
)


@given(st.lists(events, min_size=1, max_size=6), st.booleans(), st.sampled_from([None, 1]))
def test_json_against_the_standard_library(batch: list[dict[str, Any]], ascii_only: bool, indent: int | None) -> None:
    """Whatever json.dumps writes, lists are cut where json.loads sees their elements."""
    text = json.dumps(batch, ensure_ascii=ascii_only, indent=indent)
    try:
        body = text.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate that was not escaped: no UTF-8, nobody can send it
    decoded = decode(body, JSON, {})
    assert decoded.rejection is None
    expected = json.loads(body)
    assert len(expected) == len(decoded.events)
    for element, event in zip(expected, decoded.events, strict=True):
        assert repr(element) == repr(json.loads(event.data))


@given(st.binary(max_size=60), st.sampled_from([JSON, MSGPACK]))
def test_no_bytes_raise(body: bytes, content_type: str) -> None:
    """Arbitrary bytes give events or a rejection, never an exception and never neither."""
    decoded = decode(body, content_type, {})
    assert decoded.events or decoded.rejection
