"""Whatever trickles, hangs or comes too early: a call has one deadline, and a stop has one."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from celery_event_bridge.brokers.rabbitmq.settings import Settings
from celery_event_bridge.brokers.rabbitmq.topology import Topology
from tests.faults.proxy import Mode, Proxy
from tests.support import oracle
from tests.support.bridges import Bridge
from tests.support.servers import RabbitMQ
from tests.support.servers.debian import PATIENCE, program, until
from tests.support.stores import FULL, SqliteStore

pytestmark = [pytest.mark.fault]

TIMEOUT = 6
"""BRIDGE_SHUTDOWN_TIMEOUT."""
DELAYS = [step / 20 for step in range(21)] if FULL else [0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0]


def through(proxy: Proxy, url: str) -> str:
    return url.replace(f":{urlsplit(url).port}/", f":{proxy.port}/")


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_broker_that_trickles_is_an_outage(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path, from_the_start: bool
) -> None:
    """A byte every two seconds keeps no call alive: it is said, the bridge is not ready, and a stop ends in time."""
    store = SqliteStore(tmp_path)
    proxy = Proxy(urlsplit(broker_url).port or 5672)
    proxy.pace = 2.0
    try:
        options = {"BRIDGE_BROKER_URL": through(proxy, broker_url), "BRIDGE_SHUTDOWN_TIMEOUT": str(TIMEOUT)}
        proxy.mode = Mode.TRICKLE if from_the_start else Mode.PASS
        bridge = start_bridge(**store.settings, **options)
        if not from_the_start:
            bridge.await_ready()
            proxy.mode = Mode.TRICKLE
        bridge.await_log("broker unavailable", 30)
        until(lambda: bridge.get("/readyz")[0] == 503, 20, "it is not ready")
        begin = time.monotonic()
        assert 0 == bridge.stop(TIMEOUT * PATIENCE)
        assert time.monotonic() - begin < TIMEOUT * PATIENCE
    finally:
        proxy.close()


def test_a_broker_that_stops_to_trickle_is_used_again(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """And nothing is lost of what came meanwhile."""
    store = SqliteStore(tmp_path)
    proxy = Proxy(urlsplit(broker_url).port or 5672)
    proxy.pace = 2.0
    try:
        bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL=through(proxy, broker_url)).await_ready()
        proxy.mode = Mode.TRICKLE
        messages = oracle.numbered(0, 100)
        oracle.publish(broker_url, messages)
        bridge.await_log("broker unavailable", 30)
        proxy.heal()
        proxy.cut()
        until(lambda: store.count() == len(messages), 40, "all is stored")
        assert 0 == bridge.stop()
    finally:
        proxy.close()


@pytest.mark.parametrize("delay", DELAYS)
def test_a_stop_that_comes_early_is_a_stop(broker_url: str, tmp_path: Path, delay: float) -> None:
    """Also to process 1, under an init as the image has one: at any moment of the start it ends the bridge."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a process namespace can be made by root only")
    init = program("tini", "tini")
    command = f"unshare --pid --fork --kill-child {init} -- {sys.executable} -m celery_event_bridge run"
    settings = SqliteStore(tmp_path).settings | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_SHUTDOWN_TIMEOUT": "5"}
    bridge = Bridge(tmp_path / "bridge.log", settings, command)
    try:
        inner = Path(f"/proc/{bridge.process.pid}/task/{bridge.process.pid}/children")
        until(
            lambda: has(int(inner.read_text().split()[0]), "SigIgn", signal.SIGTTOU),
            10,
            "the init is there",
            pause=0.001,
        )
        pid = int(inner.read_text().split()[0])
        time.sleep(delay)  # any moment of the start
        os.kill(pid, signal.SIGTERM)
        bridge.process.wait(60)
        assert bridge.process.returncode in (0, 128 + signal.SIGTERM), bridge.log()
    finally:
        bridge.end()


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.1, 0.2, 0.4])
@pytest.mark.parametrize("arguments", ["run", "check", "tail --from sqlite:///none.db"])
def test_ctrl_c_in_the_first_moments_shows_nothing(tmp_path: Path, arguments: str, delay: float) -> None:
    """No traceback, whatever is just imported, from our first line on."""
    settings = {"BRIDGE_BROKER_URL": "amqp://127.0.0.1:1//"}
    bridge = Bridge(tmp_path / "log", settings, f"{sys.executable} -m celery_event_bridge {arguments}")
    try:
        until(
            lambda: bridge.process.poll() is not None or has(bridge.process.pid, "SigCgt", signal.SIGTERM),
            10,
            "our first line was run",
            pause=0.001,
        )
        time.sleep(delay)  # any moment of the imports
        bridge.process.send_signal(signal.SIGINT)
        bridge.process.wait(60)
    finally:
        bridge.end()
    assert "Traceback" not in bridge.log_file.read_text()
    assert bridge.process.returncode in (0, 1, 2, 130), bridge.log_file.read_text()


def has(pid: int, mask: str, number: signal.Signals) -> bool:
    """Whether a signal is in this mask of the process: caught (`SigCgt`) or ignored (`SigIgn`)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = next(line.split()[1] for line in status.splitlines() if line.startswith(mask))
    return bool(int(found, 16) >> (number - 1) & 1)


def test_a_login_that_works_and_consuming_that_does_not_is_one_outage(
    start_bridge: Callable[..., Bridge], own_rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """At most ten attempts in 30 s, whose pauses grow, and one warning."""
    url = own_rabbitmq.new_vhost()
    vhost = urlsplit(url).path[1:]
    with oracle.broker(url) as connection:
        Topology.from_settings(Settings(broker_url=url)).declare(connection.channel())
    own_rabbitmq.ctl("add_user", "blind", "open-sesame")
    proxy = Proxy(urlsplit(url).port or 5672)
    try:
        own_rabbitmq.ctl("set_permissions", "-p", vhost, "blind", ".*", ".*", "^$")
        mine = through(proxy, url).replace("guest:guest", "blind:open-sesame")
        options = {"BRIDGE_BROKER_URL": mine, "BRIDGE_DECLARE": "false"}
        bridge = start_bridge(**SqliteStore(tmp_path).settings, **options)
        bridge.await_log("broker unavailable")
        until(lambda: time.monotonic() - proxy.accepted[0] > 30, 40, "30 s have gone by")
        attempts = sum(at - proxy.accepted[0] <= 30 for at in proxy.accepted)
        assert 3 <= attempts <= 10, proxy.accepted
        warnings = [line for line in bridge.log() if line["level"] == "warning"]
        assert 1 == len(warnings), warnings
        assert [] == bridge.logged("broker available again")
        own_rabbitmq.ctl("set_permissions", "-p", vhost, "blind", ".*", ".*", ".*")
        bridge.await_log("broker available again", 20)
    finally:
        own_rabbitmq.ctl("delete_user", "blind")
        proxy.close()


def test_a_file_that_holds_no_valid_url_is_told_of(
    start_bridge: Callable[..., Bridge], own_rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """With the reason, in the log and by /readyz, and without a piece of the password; the next content is in use."""
    url = own_rabbitmq.new_vhost()
    vhost = urlsplit(url).path[1:]
    secret = tmp_path / "url"
    store = SqliteStore(tmp_path)
    own_rabbitmq.ctl("add_user", "cutting", "first")
    try:
        own_rabbitmq.ctl("set_permissions", "-p", vhost, "cutting", ".*", ".*", ".*")
        secret.write_text(url.replace("guest:guest", "cutting:first"))
        bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL_FILE=str(secret)).await_ready()
        secret.write_text(url.replace("guest:guest", "cutting:Sommer2030/xyz"))
        own_rabbitmq.ctl("change_password", "cutting", "Sommer2030/xyz")
        own_rabbitmq.ctl("close_all_connections", "--vhost", vhost, "the password is another one")
        until(lambda: "_URL_FILE (which holds no valid URL: the port" in bridge.get("/readyz")[1], 30, "it is shown")
        shown = bridge.get("/readyz")[1]
        secret.write_text(url.replace("guest:guest", "cutting:Sommer2030%2Fxyz"))
        oracle.publish(url, oracle.numbered(0, 10))
        until(lambda: store.count() == 10, 30, "it has logged in with the new one")
        bridge.await_log("can be read again")
        assert 0 == bridge.stop()
        (line,) = bridge.logged("; the old one stays in use")
        assert f"BRIDGE_BROKER_URL_FILE={secret} holds no valid URL: the port is no number" in line["event"]
        assert not [piece for piece in ("Sommer", "2030", "xyz") if piece in shown + bridge.log_file.read_text()]
    finally:
        own_rabbitmq.ctl("delete_user", "cutting")


def test_a_password_that_was_rotated_is_read_again(
    start_bridge: Callable[..., Bridge], own_rabbitmq: RabbitMQ, tmp_path: Path
) -> None:
    """The file has the new one; the old one is refused; nobody restarts the bridge."""
    url = own_rabbitmq.new_vhost()
    vhost = urlsplit(url).path[1:]
    secret = tmp_path / "url"
    numbers = itertools.count(0, 10)
    store = SqliteStore(tmp_path)
    own_rabbitmq.ctl("add_user", "rotating", "first")
    try:
        own_rabbitmq.ctl("set_permissions", "-p", vhost, "rotating", ".*", ".*", ".*")
        secret.write_text(url.replace("guest:guest", "rotating:first") + "\n")
        bridge = start_bridge(**store.settings, BRIDGE_BROKER_URL_FILE=str(secret)).await_ready()
        for password in ("second", "third", "first"):  # and rolled back
            secret.write_text(url.replace("guest:guest", f"rotating:{password}") + "\n")
            own_rabbitmq.ctl("change_password", "rotating", password)
            own_rabbitmq.ctl("close_all_connections", "--vhost", vhost, "the password is another one")
            before = store.count()
            oracle.publish(url, oracle.numbered(next(numbers), 10))
            until(lambda before=before: store.count() == before + 10, 30, "it has logged in with the new one")  # type: ignore[misc]
        assert 0 == bridge.stop()
    finally:
        own_rabbitmq.ctl("delete_user", "rotating")
