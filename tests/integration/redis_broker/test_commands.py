"""Commands on a Redis broker: check, rejected, replay and tap, beside a bridge that runs."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from celery_event_bridge.brokers.envelope import sealed
from celery_event_bridge.brokers.redis.parked import PATIENCE
from tests.support.bridges import Bridge, clean_environment, dying_with_us, run_to_end
from tests.support.redis_broker import Publisher, settings, stored
from tests.support.servers import Redis
from tests.support.servers.debian import ROOT, until

MODULE = "celery_event_bridge"


def publish(server: Redis, payload: bytes) -> None:
    with server.client() as client:
        assert client.publish("/0.celeryev/task.sent", payload)


def event(uuid: str) -> bytes:
    body = json.dumps({"type": "task-sent", "uuid": uuid, "hostname": "w", "timestamp": 1.0}).encode()
    return sealed(body, "application/json", {"hostname": "w"}, "celeryev", "task.sent")


def test_what_cannot_be_forwarded_is_parked_shown_and_sent_again(
    start_bridge: Callable[..., Bridge], own_redis: Redis, tmp_path: Path
) -> None:
    """What is good by now is stored and leaves the list; what is not is parked anew, to the letter."""
    given = settings(own_redis, tmp_path / "events.db")
    start_bridge(**given).await_ready().await_log("this bridge forwards")
    publish(own_redis, b"no envelope")
    publish(own_redis, sealed(b"{", "application/json", {}, "celeryev", "task.sent"))
    with own_redis.client() as client:
        until(lambda: client.llen("celeryev.bridge.rejected") == 2, 20, "two are parked")
        listed = run_to_end(MODULE, "rejected", "list", "--format", "json", **given).stdout.splitlines()
        assert ["undecodable", "undecodable"] == [json.loads(line)["reason"] for line in listed]
        good = json.loads(client.lindex("celeryev.bridge.rejected", 0))
        body = json.dumps({"type": "task-sent", "uuid": "good", "hostname": "w", "timestamp": 1.0}).encode()
        good |= {"body": _base64(body), "raw": False, "content_type": "application/json"}
        client.rpush("celeryev.bridge.rejected", json.dumps(good))
        sent = run_to_end(MODULE, "rejected", "requeue", "--all", **given)
        assert (0, True) == (sent.returncode, "3" in sent.stdout), sent
        until(lambda: "good" in stored(tmp_path / "events.db"), 20, "the good one is stored")
        until(lambda: client.llen("celeryev.bridge.rejected") == 2, 20, "the others are parked again")
        purged = run_to_end(MODULE, "rejected", "purge", "--all", "--yes", **given)
        assert 0 == purged.returncode, purged
        assert 0 == client.llen("celeryev.bridge.rejected")


def test_nothing_leaves_the_list_while_no_bridge_runs(own_redis: Redis, tmp_path: Path) -> None:
    """Redis would throw it away without a word. It says so at once: there is nobody to wait for."""
    entry = {"parked_at": "", "reason": "undecodable", "error": "", "content_type": "", "headers": {}, "body": "e30="}
    with own_redis.client() as client:
        client.rpush("celeryev.bridge.rejected", json.dumps(entry))
        began = time.monotonic()
        sent = run_to_end(MODULE, "rejected", "requeue", "--all", timeout=120, **settings(own_redis, tmp_path / "e.db"))
        assert (1, True) == (sent.returncode, time.monotonic() - began < PATIENCE)
        assert "no bridge is subscribed" in sent.stderr
        assert 1 == client.llen("celeryev.bridge.rejected")


def test_check_says_what_is_so(start_bridge: Callable[..., Bridge], own_redis: Redis, tmp_path: Path) -> None:
    """A verdict on the server, the rights, the lease and the events; and what this broker cannot promise."""
    given = settings(own_redis, tmp_path / "events.db")
    alone = run_to_end(MODULE, "check", **given)
    assert 0 == alone.returncode, alone
    assert "free, no bridge forwards now" in alone.stdout
    assert "no event on channel /0.celeryev/*" in alone.stdout
    assert "run two replicas at least" in alone.stdout
    start_bridge(**given).await_ready().await_log("this bridge forwards")
    publisher = Publisher(own_redis.url)
    publisher.start()
    beside = run_to_end(MODULE, "check", **given)
    publisher.finish()
    assert "a bridge forwards, this one would stand by" in beside.stdout
    assert "events come on channel /0.celeryev/*" in beside.stdout
    elsewhere = run_to_end(MODULE, "check", **{**given, "BRIDGE_SQLITE_PATH": str(tmp_path / "other.db")})
    assert 1 == elsewhere.returncode
    assert "give it a BRIDGE_QUEUE of its own" in elsewhere.stdout
    assert 2 == run_to_end(MODULE, "run", **{**given, "BRIDGE_SINK": "stdout"}).returncode


def test_a_wrong_password_is_said_without_it(own_redis: Redis, tmp_path: Path) -> None:
    """With the setting that has it."""
    with own_redis.client() as client:
        client.config_set("requirepass", "another")
    url = own_redis.url.replace("redis://", "redis://:sesame@")
    found = run_to_end(MODULE, "check", **settings(own_redis, tmp_path / "e.db", BRIDGE_BROKER_URL=url))
    assert 1 == found.returncode
    assert "check user and password in BRIDGE_BROKER_URL" in found.stdout
    assert "sesame" not in found.stdout + found.stderr


def test_a_replay_goes_to_whoever_listens_and_into_no_bridge(
    start_bridge: Callable[..., Bridge], own_redis: Redis, tmp_path: Path
) -> None:
    """It is refused where a bridge would hear it; elsewhere Celery's receivers get what was stored."""
    given = settings(own_redis, tmp_path / "events.db")
    bridge = start_bridge(**given).await_ready()
    bridge.await_log("this bridge forwards")
    for number in range(5):
        publish(own_redis, event(f"u{number}"))
    until(lambda: len(stored(tmp_path / "events.db")) == 5, 20, "five are stored")
    refused = run_to_end(MODULE, "replay", "--to", own_redis.url, **given)
    assert 2 == refused.returncode
    assert "would get its own events again" in refused.stderr
    assert "with BRIDGE_BROKER_URL set to the same" in refused.stderr
    with own_redis.client() as client, client.pubsub() as receiver:
        receiver.psubscribe("/3.celeryev/*")
        assert receiver.get_message(timeout=5)
        there = own_redis.url.rpartition("/")[0] + "/3"
        done = run_to_end(MODULE, "replay", "--to", there, **{**given, "BRIDGE_BROKER_URL": there})
        assert 0 == done.returncode, done
        heard = [receiver.get_message(timeout=5) for _ in range(5)]
    assert [f"u{number}" for number in range(5)] == [
        json.loads(_unsealed(message["data"]))["uuid"] for message in heard if message
    ]
    into_stream = run_to_end(MODULE, "replay", "--to", there, **given)
    assert (0, 1) == (into_stream.returncode, len(into_stream.stderr.splitlines()))
    assert "stored into a stream there, since BRIDGE_BROKER_URL is another" in into_stream.stderr
    said = run_to_end(MODULE, "replay", "--to", f"{there}?stream=copy", **given)
    assert (0, "") == (said.returncode, said.stderr)


def test_tap_shows_live_events(own_redis: Redis, tmp_path: Path) -> None:
    """And takes nothing away."""
    command = dying_with_us([sys.executable, "-m", MODULE, "tap"])
    environment = clean_environment() | settings(own_redis, tmp_path / "e.db")
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        publisher = Publisher(own_redis.url)
        publisher.start()
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
        publisher.finish()
    assert re.search(r"task-sent|sent", line), line


def test_a_user_of_the_pages_rights_can_do_it(
    start_bridge: Callable[..., Bridge], own_redis: Redis, tmp_path: Path
) -> None:
    """The line of the page is enough for a bridge; without one of its commands `check` names what is refused."""
    page = (ROOT / "docs/how-to/redis-broker.md").read_text()
    line = re.search(r"ACL SETUSER.*?(?=```)", page, re.DOTALL)
    assert line
    words = line[0].split()
    with own_redis.client() as client:
        client.execute_command(*words)
        url = own_redis.url.replace("redis://", "redis://bridge:password@")
        given = settings(own_redis, tmp_path / "events.db", BRIDGE_BROKER_URL=url)
        bridge = start_bridge(**given).await_ready()
        bridge.await_log("this bridge forwards")
        publish(own_redis, event("u"))
        publish(own_redis, b"no envelope")
        until(lambda: "u" in stored(tmp_path / "events.db"), 20, "it is stored")
        until(lambda: client.llen("celeryev.bridge.rejected") == 1, 20, "it is parked")
        sent = run_to_end(MODULE, "rejected", "requeue", "--all", **given)
        assert 0 == sent.returncode, sent
        found = run_to_end(MODULE, "check", **given)
        assert 0 == found.returncode, found
        client.execute_command("ACL", "SETUSER", "bridge", "-eval")
        found = run_to_end(MODULE, "check", **given)
    assert 1 == found.returncode
    assert "its user lacks +eval" in found.stdout


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unsealed(payload: bytes) -> bytes:
    return base64.b64decode(json.loads(payload)["body"])
