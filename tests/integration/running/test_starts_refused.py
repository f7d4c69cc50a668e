"""Starts that go wrong by what is set or by what somebody else holds: one line, no secret, nothing lost."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.bridges import Bridge
from tests.support.servers.debian import until
from tests.support.starts import command, publish
from tests.support.stores import SqliteStore


@pytest.mark.parametrize(
    "settings",
    [
        {"BRIDGE_BROKER_URL": "{url}?connection_timeout=10000"},
        {"BRIDGE_BROKER_TRANSPORT_OPTIONS": '{{"client_properties": null}}'},
    ],
    ids=str,
)
def test_options_that_the_client_does_not_take(settings: dict[str, str], broker_url: str, tmp_path: Path) -> None:
    """One line, with the names of the two settings that they come from."""
    given = {name: text.format(url=broker_url) for name, text in settings.items()}
    done = command("check", **SqliteStore(tmp_path).settings | {"BRIDGE_BROKER_URL": broker_url} | given)
    assert (1, "") == (done.returncode, done.stderr)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    said = "check what follows the ? in BRIDGE_BROKER_URL, and BRIDGE_BROKER_TRANSPORT_OPTIONS"
    assert said in line
    quiet = {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_HTTP": "off"}
    refused = command("run", **SqliteStore(tmp_path).settings | quiet | given)
    assert (2, True) == (refused.returncode, said in refused.stderr)


def test_the_http_port_is_taken(broker_url: str, tmp_path: Path) -> None:
    """One line that names the setting and the ways out, exit code 1."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        done = command("run", BRIDGE_BROKER_URL=broker_url, BRIDGE_HTTP=address, **SqliteStore(tmp_path).settings)
    assert 1 == done.returncode
    (line,) = done.stderr.splitlines()
    assert f"BRIDGE_HTTP={address}" in line
    assert "off" in line


def test_the_sqlite_file_is_removed(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> None:
    """It is noticed, said once, and a new file takes what comes; nothing goes into the removed one unseen."""
    store = SqliteStore(tmp_path)
    bridge = start_bridge(BRIDGE_BROKER_URL=broker_url, **store.settings).await_ready()
    publish(broker_url, 10)
    until(lambda: store.count() == 10, 20, "the first are stored")
    for file in tmp_path.glob("events.db*"):
        file.unlink()
    published = publish(broker_url, 10, first=10)
    until(lambda: store.path.exists() and store.count() == 10, 20, "the others are in the new file")
    assert published == set(store.bodies())
    assert "removed or replaced" in bridge.await_log("sink unavailable")["reason"]
    assert 0 == bridge.stop()


def test_the_disk_is_full(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> None:
    """One line with the path and the way out; when there is room again, all is stored."""
    store = SqliteStore(tmp_path)
    # A limit on the size of the files it may write: as a full disk, but this process's alone.
    limited = f"prlimit --fsize=400000:unlimited {sys.executable} -m celery_event_bridge run"
    bridge = start_bridge(limited, BRIDGE_BROKER_URL=broker_url, **store.settings).await_ready()
    published = publish(broker_url, 2000)
    reason = bridge.await_log("sink unavailable")["reason"]
    assert f"BRIDGE_SQLITE_PATH={store.path}" in reason
    assert "disk" in reason
    subprocess.run(["prlimit", f"--pid={bridge.process.pid}", "--fsize=unlimited:unlimited"], check=True)
    until(lambda: store.count() == 2000, 40, "all is stored")
    assert published == set(store.bodies())
    assert 0 == bridge.stop()


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"BRIDGE_SINK": "kafka", "BRIDGE_KAFKA_ACKS": "1"}, "BRIDGE_KAFKA_ACKS=1: would break the promise"),
        ({"BRIDGE_SINK": "kafka", "BRIDGE_KAFKA_TOPICS": "x"}, "BRIDGE_KAFKA_TOPICS: neither a setting nor"),
        ({"BRIDGE_REDACT": "args"}, "BRIDGE_REDACT=args: not available yet"),
        ({"BRIDGE_PREFETCH": "many"}, "BRIDGE_PREFETCH=many: expected a whole number"),
        ({"BRIDGE_BROKER_URL": "sqs://:open-sesame@h/0"}, "BRIDGE_BROKER_URL=sqs://:**@h/0: Celery's events cannot be"),
    ],
)
@pytest.mark.parametrize("name", ["run", "check"])
def test_wrong_settings(name: str, settings: dict[str, str], wanted: str) -> None:
    """One line that names the setting, the value and what is allowed; exit code 2; no secret."""
    done = command(name, **settings)
    assert 2 == done.returncode
    (line,) = done.stderr.splitlines()
    assert wanted in line
    assert "sesame" not in done.stdout + done.stderr


def test_settings_that_librdkafka_refuses_together() -> None:
    """`run` ends with them as with any wrong setting, before it connects; `check` has a line, and goes on."""
    settings = {"BRIDGE_SINK": "kafka", "BRIDGE_KAFKA_SSL_KEY_PEM": "sesame", "BRIDGE_KAFKA_SECURITY_PROTOCOL": "ssl"}
    settings |= {"BRIDGE_BROKER_URL": "amqp://127.0.0.1:1//", "BRIDGE_HTTP": "off"}
    for name, code in (("run", 2), ("check", 1)):
        done = command(name, **settings)
        assert code == done.returncode
        (line,) = [line for line in (done.stdout + done.stderr).splitlines() if "BRIDGE_KAFKA_SSL_KEY_PEM=**: " in line]
        assert line.startswith("FAIL sink kafka: " if name == "check" else "celery-event-bridge: ")
        assert "sesame" not in done.stdout + done.stderr
    assert "ok   health and metrics: off" in done.stdout
