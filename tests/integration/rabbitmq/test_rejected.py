"""`rejected`: what was parked is listed, shown, sent again as it was, thrown away; nothing is lost by looking."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge, run_to_end
from tests.support.oracle import Published
from tests.support.servers.debian import until
from tests.support.stores import SqliteStore

REJECTED = "celeryev.bridge.rejected"
YAML = Published(
    b"type: task-sent\n",
    {
        "content_type": "application/x-yaml",
        "content_encoding": "utf-8",
        "delivery_mode": 2,
        "priority": 3,
        "correlation_id": "c-1",
        "message_id": "m-1",
        "expiration": "600000",
        "application_headers": {"hostname": "w1@test", "custom": 7, "CC": ["nowhere"]},
    },
    "task.sent",
)
BROKEN = Published(b'{"type": "task-s', {"content_type": "application/json"}, "task.sent")


def rejected(url: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_to_end("celery_event_bridge", "rejected", *arguments, BRIDGE_BROKER_URL=url, **settings)


def listed(url: str, *arguments: str) -> list[dict[str, object]]:
    done = rejected(url, "list", "--format", "json", *arguments)
    assert (0, "") == (done.returncode, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def parked(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> str:
    """The URL of a broker where three messages are parked and no bridge runs."""
    bridge = start_bridge(**SqliteStore(tmp_path).settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    pickle = next(one for one in oracle.captured() if one.properties["content_type"].endswith("serialize"))
    oracle.publish(broker_url, [YAML, BROKEN, pickle])
    until(lambda: bridge.metric("messages_rejected_total") == 3, 20, "three messages are parked")
    assert 0 == bridge.stop()
    until(lambda: oracle.depth(broker_url, REJECTED) == 3, 20, "the depth is known")
    return broker_url


def test_list(parked: str) -> None:
    """Each message with its reason, the counts, the ages; again and again, since looking takes nothing out."""
    first = listed(parked)
    assert [("content-type", 16), ("undecodable", 16)] == [(line["reason"], line["size"]) for line in first[:2]]
    assert ("celeryev", "task.sent", "w1@test") == tuple(
        first[0][name] for name in ("exchange", "routing_key", "hostname")
    )
    assert first == listed(parked)
    assert ["undecodable"] == [line["reason"] for line in listed(parked, "--reason", "undecodable")]
    text = rejected(parked, "list", "--limit", "1").stdout
    assert 2 == len(text.splitlines())
    assert text.splitlines()[-1].startswith("3 messages: content-type 2, undecodable 1; ")


def test_show(parked: str) -> None:
    """All of it, the body as text, in base64 where it is none, or alone and byte for byte."""
    yaml, broken, pickle = listed(parked)
    text = rejected(parked, "show", "--id", str(yaml["id"])).stdout
    for part in ("x-bridge-error", "custom: 7", "body: type: task-sent", "correlation_id: 'c-1'", "x-bridge-cc"):
        assert part in text
    assert "body, as base64: gA" in rejected(parked, "show", "--id", str(pickle["id"])).stdout
    assert BROKEN.body.decode() == rejected(parked, "show", "--body", "--id", str(broken["id"])[:6]).stdout
    missing = rejected(parked, "show", "--id", "ffffffffffff")
    assert (1, "none of 3 parked messages matches\n") == (missing.returncode, missing.stdout)


def test_a_choice_that_matches_nothing_is_not_an_empty_queue(parked: str) -> None:
    """How many are there is said, whichever command asks; a reason that nobody parks for is refused with the list."""
    for choice in (("--reason", "too-large"), ("--id", "ffffffffffff")):
        for command, code in (("list", 0), ("show", 1), ("requeue", 1), ("purge", 1)):
            done = rejected(parked, command, *choice, *(["--yes"] if command == "purge" else []))
            assert (code, "none of 3 parked messages matches\n") == (done.returncode, done.stdout)
        assert "none of 3" in rejected(parked, "list", "--format", "json", *choice).stderr
    for command in ("list", "show", "requeue", "purge"):
        done = rejected(parked, command, "--reason", "foo")
        assert (2, "") == (done.returncode, done.stdout)
        assert "--reason foo: expected one of content-type, compression, too-large, " in done.stderr


def test_requeue_keeps_body_and_properties(parked: str) -> None:
    """The message in the live queue is the one that was published; what would do harm stays a header."""
    assert 2 == rejected(parked, "requeue").returncode
    done = rejected(parked, "requeue", "--id", str(listed(parked)[0]["id"]), BRIDGE_QUEUE_TTL="5")
    assert (0, "1 message sent again\n") == (done.returncode, done.stdout)
    assert 2 == len(listed(parked))
    found = [message for end in ("", ".overflow") for message in oracle.drain(parked, f"celeryev.bridge{end}")]
    (message,) = found
    assert YAML.body == bytes(message.body)
    headers = message.properties["application_headers"]
    assert {"hostname": "w1@test", "custom": 7, "x-bridge-cc": ["nowhere"]}.items() <= headers.items()
    assert not {"x-bridge-reason", "x-bridge-error", "x-bridge-parked-at"} & headers.keys()
    for name in ("content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "message_id"):
        assert YAML.properties[name] == message.properties[name], name


def test_what_is_still_bad_is_parked_again_once(
    start_bridge: Callable[..., Bridge], parked: str, tmp_path: Path
) -> None:
    """While a bridge runs, requeue ends, and every message is parked again with where it came from first."""
    bridge = start_bridge(**SqliteStore(tmp_path).settings, BRIDGE_BROKER_URL=parked).await_ready()
    done = rejected(parked, "requeue", "--all")
    assert (0, "3 messages sent again\n") == (done.returncode, done.stdout)
    until(lambda: bridge.metric("messages_rejected_total") == 3, 20, "they are parked again")
    assert 0 == bridge.stop()
    lines = listed(parked)
    assert 3 == len(lines)
    assert {"celeryev"} == {line["exchange"] for line in lines}
    assert "task.sent" in {line["routing_key"] for line in lines}


def test_equal_bodies_are_messages_of_their_own(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """Each is sent again; and what a header says is shown on its line, whatever it is."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    headers = {"hostname": "w1\x1b]0;title\x07\nnext"}
    empty = Published(b"", {"content_type": "application/json", "application_headers": headers}, "task.sent")
    oracle.publish(broker_url, [empty] * 3)
    until(lambda: bridge.metric("messages_rejected_total") == 3, 20, "three messages are parked")
    assert 0 == bridge.stop()
    until(lambda: oracle.depth(broker_url, REJECTED) == 3, 20, "the depth is known")
    text = rejected(broker_url, "list").stdout
    assert 4 == len(text.splitlines())
    assert "\x1b" not in text
    assert "\x1b" not in rejected(broker_url, "show").stdout
    assert "3 messages sent again\n" == rejected(broker_url, "requeue", "--all").stdout
    assert [] == listed(broker_url)


def test_what_is_good_now_is_stored(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> None:
    """A message parked for its size goes through when the limit is raised."""
    store = SqliteStore(tmp_path)
    (large,) = oracle.numbered(0, 1, size=5000)
    bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url, BRIDGE_MAX_MESSAGE_BYTES="2000").await_ready()
    oracle.publish(broker_url, [large])
    until(lambda: bridge.metric("messages_rejected_total") == 1, 20, "it is parked")
    assert 0 == bridge.stop()
    assert ["task-started"] == listed(broker_url)[0]["events"]
    again = start_bridge(**store.settings, BRIDGE_BROKER_URL=broker_url).await_ready()
    assert 0 == rejected(broker_url, "requeue", "--reason", "too-large").returncode
    until(lambda: store.bodies() == [large.body], 20, "it is stored")
    assert 0 == again.stop()


def test_purge(parked: str) -> None:
    """Only what was chosen, and not without being told to; then the rest; then nothing is parked."""
    asked = rejected(parked, "purge", "--all")
    assert 2 == asked.returncode
    assert "say --yes" in asked.stderr
    assert "1 message thrown away\n" == rejected(parked, "purge", "--reason", "undecodable", "--yes").stdout
    assert 2 == len(listed(parked))
    assert "2 messages thrown away\n" == rejected(parked, "purge", "--all", "--yes").stdout
    assert "nothing is parked\n" == rejected(parked, "list").stdout


def test_without_queue_or_broker(broker_url: str) -> None:
    """No queue is not said to be nothing parked; no broker is one line and exit code 1, without the password."""
    for command in (("list",), ("requeue", "--all"), ("purge", "--all", "--yes"), ("show", "--id", "ffffffffffff")):
        done = rejected(broker_url, *command)
        assert (1, "") == (done.returncode, done.stdout)
        assert "there is no queue celeryev.bridge.rejected: are the broker's URL, its vhost" in done.stderr
    away = rejected("amqp://user:open-sesame@127.0.0.1:1//", "list")
    assert 1 == away.returncode
    (line,) = away.stderr.splitlines()
    assert "cannot connect" in line
    assert "sesame" not in line


def test_a_parking_queue_that_is_a_stream_is_refused_in_a_sentence(broker_url: str) -> None:
    """By each command, and what is in it stays."""
    with oracle.broker(broker_url) as connection:
        channel = connection.channel()
        channel.queue_declare(REJECTED, durable=True, auto_delete=False, arguments={"x-queue-type": "stream"})
        confirms = oracle.Confirms(channel)
        confirms.publish([YAML._replace(routing_key=REJECTED)] * 3, "")
        confirms.wait()
        until(lambda: oracle.depth(broker_url, REJECTED) == 3, 20, "the depth is known")
        for command in (["requeue", "--all"], ["list"], ["purge", "--all", "--yes"]):
            done = rejected(broker_url, *command)
            assert 1 == done.returncode
            assert f"queue {REJECTED} was declared by somebody as a stream" in done.stderr
            assert 1 == len(done.stderr.splitlines())
        assert 3 == oracle.depth(broker_url, REJECTED)


def test_a_host_name_is_listed_as_text(broker_url: str) -> None:
    """Also one of bytes that are not UTF-8, as a header may hold."""
    with oracle.broker(broker_url) as connection:
        channel = connection.channel()
        channel.queue_declare(REJECTED, durable=True, auto_delete=False)
        confirms = oracle.Confirms(channel)
        names = ["w1@h", b"w2@\xff\xfeh"]
        confirms.publish(
            [Published(b"no event", {"application_headers": {"hostname": name}}, REJECTED) for name in names], ""
        )
        confirms.wait()
    assert ["w1@h", "w2@\\xff\\xfeh"] == [each["hostname"] for each in listed(broker_url)]
    assert "b'" not in rejected(broker_url, "list").stdout
