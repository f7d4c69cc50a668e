"""The bridge as it runs in a container, without an engine: as process 1, as nobody in particular, with little memory.

What an engine gives a container is given to a process here: namespaces, another user, a control group, a full disk. The
commands are the image's own, read out of the Dockerfile. tests/compose has the same on an engine.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import oracle
from tests.support.bridges import Bridge, clean_environment
from tests.support.servers import Redis
from tests.support.servers.debian import PATIENCE, ROOT, free_port, program, until
from tests.support.stores import RedisStore, SqliteStore, at_full_length

DOCKERFILE = (ROOT / "Dockerfile").read_text()
HEALTH = str(ROOT / "containers/bridge-health")
GROUPS = Path("/sys/fs/cgroup/memory")
MIB = 2**20
RUN = f"{sys.executable} -m celery_event_bridge run"
NOBODY = "setpriv --reuid=10001 --regid=0 --clear-groups --inh-caps=-all --no-new-privs"
"""The image's user."""

pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "setpriv"))),
        reason="namespaces, users and control groups are root's to give",
    ),
    at_full_length,
]


def contained(command: str) -> str:
    """That command as process 1 of its own namespace, which ends with it."""
    return f"unshare --pid --fork --mount-proc --kill-child {command}"


def process_1(bridge: Bridge) -> int:
    """The child of `unshare`, by its number outside of the namespace."""
    file = Path(f"/proc/{bridge.process.pid}/task/{bridge.process.pid}/children")
    until(lambda: file.read_text().split(), 10, "unshare has started the command")
    return int(file.read_text().split()[0])


def health(bridge: Bridge, *arguments: str) -> tuple[int, str]:
    """Exit code and text of the image's health check, called as an engine does: within the container."""
    command = ["nsenter", f"--target={process_1(bridge)}", "--pid", "--mount", HEALTH, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30 * PATIENCE)
    return done.returncode, done.stdout.strip() + done.stderr


def entrypoint() -> str:
    """The image's, with its programs where they are here."""
    (words,) = re.findall(r"^ENTRYPOINT (\[.*\])$", DOCKERFILE, re.MULTILINE)
    init, *options, command = json.loads(words)
    assert (init, command) == ("tini", "celery-event-bridge")
    return shlex.join([program(init, "tini"), *options, str(Path(sys.executable).with_name(command))])


def test_health_is_what_a_start_waits_for(
    start_bridge: Callable[..., Bridge], broker_url: str, own_redis: Redis
) -> None:
    """Unhealthy with the reason until it has been ready once; an outage that comes later is told by `ready` alone.

    It finds out by itself where the bridge listens.
    """
    own_redis.pause()
    settings = RedisStore(own_redis).settings | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_HTTP": "127.0.0.1:0"}
    bridge = start_bridge(contained(f"{entrypoint()} run"), **settings)
    seen: list[tuple[int, str]] = []

    def names_the_stream() -> bool:
        seen[:] = [health(bridge)]
        return "redis: " in seen[0][1]

    try:
        until(names_the_stream, 30, "the stream is named as the reason")
    except TimeoutError as exc:
        pytest.fail(f"{exc}; the last answer was {seen}")
    assert 1 == health(bridge)[0]
    own_redis.resume()
    until(lambda: health(bridge) == (0, "ok"), 30, "it is healthy")
    assert (0, "ok") == health(bridge, "ready")
    own_redis.pause()
    oracle.publish(broker_url, oracle.numbered(0, 5))
    until(lambda: health(bridge, "ready")[0] == 1, 60, "it is not ready")
    assert "redis: " in health(bridge, "ready")[1]
    assert (0, "ok") == health(bridge)
    own_redis.resume()


def test_a_wrong_password_is_unhealthy(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> None:
    """With the reason, and without the password."""
    url = broker_url.replace("guest:guest@", "guest:open-sesame@")
    bridge = start_bridge(contained(RUN), BRIDGE_BROKER_URL=url, **SqliteStore(tmp_path).settings)
    until(lambda: "login refused" in health(bridge)[1].lower(), 30, "the login is named as the reason")
    assert 1 == health(bridge)[0]
    assert "sesame" not in health(bridge)[1]


def test_a_full_disk_and_one_that_is_not_writable_are_unhealthy(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path
) -> None:
    """Neither stores; `/data` is named."""
    for options, said in (("size=16k", "disk"), ("ro", "readonly|read-only|unable to open")):
        mount = f"mkdir -p {tmp_path}/data && mount -t tmpfs -o {options} none {tmp_path}/data"
        command = (
            f"unshare --mount --pid --fork --mount-proc --kill-child sh -c {shlex.quote(f'{mount} && exec {RUN}')}"
        )
        path = str(tmp_path / "data/events.db")
        bridge = start_bridge(command, BRIDGE_BROKER_URL=broker_url, BRIDGE_SINK="sqlite", BRIDGE_SQLITE_PATH=path)
        until(lambda: re.search(rf"sqlite: .*({said})", health(bridge)[1]), 30, f"{said} is named")  # noqa: B023
        assert 1 == health(bridge)[0]
        bridge.end()


@pytest.mark.parametrize("arguments", ["--http off", "--http=[::]:{port}", "--http 0.0.0.0:{port}"])
def test_health_asks_where_the_bridge_listens(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path, arguments: str
) -> None:
    """Whatever the variable says; switched off it counts as healthy once it runs."""
    command = contained(f"{RUN} {arguments.format(port=free_port())}")
    bridge = start_bridge(command, BRIDGE_BROKER_URL=broker_url, **SqliteStore(tmp_path).settings)
    until(lambda: health(bridge)[0] == 0, 30, "it is healthy")
    if "off" in arguments:
        assert (1, "BRIDGE_HTTP is off: nobody can be asked") == health(bridge, "ready")
    else:
        assert (0, "ok") == health(bridge, "ready")


def test_another_command_is_healthy(start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path) -> None:
    """A container that prints events has nothing that could be asked."""
    store = SqliteStore(tmp_path)
    first = start_bridge(BRIDGE_BROKER_URL=broker_url, **store.settings).await_ready()
    assert 0 == first.stop()
    tail = start_bridge(contained(f"{sys.executable} -m celery_event_bridge tail --follow"), **store.settings)
    assert (0, "") == health(tail)
    assert (1, "no bridge runs here") == health(tail, "ready")


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.3, 1.0])
def test_a_stop_in_the_first_moments_of_a_container(
    start_bridge: Callable[..., Bridge], broker_url: str, tmp_path: Path, delay: float
) -> None:
    """The image's own entrypoint as process 1: one SIGTERM is enough, whenever it comes."""
    settings = SqliteStore(tmp_path).settings | {"BRIDGE_BROKER_URL": broker_url, "BRIDGE_SHUTDOWN_TIMEOUT": "2"}
    bridge = start_bridge(contained(f"{entrypoint()} run"), **settings)
    pid = process_1(bridge)
    # From here on it is tini that would be stopped: before, it is `unshare`, which is none of the image's.
    until(lambda: Path(f"/proc/{pid}/comm").read_text() == "tini\n", 20, "the init runs", pause=0.001)
    time.sleep(delay)  # what is tested is the moment
    os.kill(pid, signal.SIGTERM)
    until(lambda: bridge.process.poll() is not None, 20, "it has ended")
    assert bridge.process.returncode in (0, 128 + signal.SIGTERM), bridge.log()


def test_sqlite_without_a_volume_is_refused(broker_url: str) -> None:
    """As the image would start by its defaults: one line, exit code 2, and `check` says the same."""
    environment = clean_environment() | {"CELERY_EVENT_BRIDGE_IMAGE": "1", "BRIDGE_BROKER_URL": broker_url}
    environment |= {"BRIDGE_HTTP": "off", "BRIDGE_SQLITE_PATH": "/celery-events.db"}
    said = {}
    for name in ("run", "check"):
        command = [sys.executable, "-m", "celery_event_bridge", name]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60 * PATIENCE)
        said[name] = (done.returncode, done.stdout + done.stderr)
    assert 2 == said["run"][0]
    (line,) = said["run"][1].splitlines()
    assert "BRIDGE_SQLITE_PATH=/celery-events.db: this is no volume" in line
    assert "BRIDGE_SINK=kafka" in line
    assert 1 == said["check"][0]
    assert "FAIL sink sqlite: BRIDGE_SQLITE_PATH=/celery-events.db: this is no volume" in said["check"][1]
    assert not Path("/celery-events.db").exists()


@contextmanager
def limited(mib: int) -> Iterator[str]:
    """A command that runs another within so much memory, swap included."""
    group = GROUPS / f"bridge-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(mib * MIB))
    except OSError as exc:
        pytest.skip(f"no control group can be made here: {exc}")
    try:
        yield f"sh -c 'echo $$ > {group}/cgroup.procs && exec \"$@\"' limited"
    finally:
        until(lambda: group.rmdir() or True, 10, "all in the group has ended")


def test_a_replica_with_the_memory_that_the_page_names_survives_an_outage(
    start_bridge: Callable[..., Bridge], broker_url: str, own_redis: Redis
) -> None:
    """112 MiB hold 3,000 events of 20 kB that come while the stream stands still; with less it says so at the start."""
    assert "112 MiB" in (ROOT / "docs/how-to/containers.md").read_text()
    store = RedisStore(own_redis)
    settings = store.settings | {"BRIDGE_BROKER_URL": broker_url}
    with limited(64) as command:
        small = start_bridge(f"{command} {RUN}", **settings, BRIDGE_QUEUE_TTL="0")
        (line,) = small.await_ready().logged("memory limit")
        assert ("warning", True) == (line["level"], "may need 112 MiB" in line["event"])
        small.end()
    with limited(112) as command:
        bridge = start_bridge(f"{command} {RUN}", **settings, BRIDGE_QUEUE_TTL="0").await_ready()
        try:
            assert [] == bridge.logged("memory limit")
            oracle.publish(broker_url, large(0, 1000))  # until then it takes few at a time
            until(lambda: store.count() >= 1000, 60, "it knows how large they are")
            own_redis.pause()
            oracle.publish(broker_url, large(1000, 3000))
            until(lambda: bridge.metric("inflight_bytes") > 3e6, 30, "its hands are full")
            own_redis.resume()
            until(lambda: store.count() >= 4000, 120, "all is stored")
            assert bridge.process.poll() is None
        finally:
            bridge.end()


def large(first: int, count: int) -> list[oracle.Published]:
    """Events of 20 kB."""
    rest = b', "x": "' + b"x" * 20_000 + b'"}'
    return [event._replace(body=event.body[:-1] + rest) for event in oracle.numbered(first, count)]


def as_nobody() -> None:
    """Skip where the image's user may not run this Python."""
    command = [*shlex.split(NOBODY), sys.executable, "-c", "import celery_event_bridge.cli"]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this Python is root's alone")


@pytest.fixture
def opened() -> Iterator[Path]:
    """A directory that other users may reach: pytest's own are closed to them, and closed again by each run."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_any_user_of_group_0_may_write(start_bridge: Callable[..., Bridge], broker_url: str, opened: Path) -> None:
    """As `/data` comes out of the Dockerfile: a user that a platform has chosen stores there."""
    as_nobody()
    assert "chown 10001:0 /data && chmod 775 /data" in DOCKERFILE
    data = opened / "data"
    data.mkdir()
    os.chown(data, 10001, 0)
    data.chmod(0o775)
    other = NOBODY.replace("10001", "1000620000")
    store = SqliteStore(data)
    bridge = start_bridge(f"{other} {RUN}", BRIDGE_BROKER_URL=broker_url, **store.settings).await_ready()
    oracle.publish(broker_url, oracle.numbered(0, 5))
    until(lambda: store.count() == 5, 20, "all is stored")
    assert 0 == bridge.stop()
    assert (1000620000, 0o600) == (store.path.stat().st_uid, store.path.stat().st_mode & 0o777)


def test_a_url_in_a_file_of_roots_is_readable_by_the_group(broker_url: str, opened: Path) -> None:
    """0640 is enough; of one that is 0600 the line says whose it is and who asks."""
    as_nobody()
    secret = opened / "broker-url"
    secret.write_text(f"{broker_url}\n")
    environment = clean_environment() | {"BRIDGE_BROKER_URL_FILE": str(secret), "BRIDGE_SINK": "stdout"}
    command = [*shlex.split(NOBODY), sys.executable, "-m", "celery_event_bridge", "check"]
    said = {}
    for mode in (0o640, 0o600):
        secret.chmod(mode)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60 * PATIENCE)
        said[mode] = done.stdout + done.stderr
    assert "connected" in said[0o640]
    wanted = f"BRIDGE_BROKER_URL_FILE={secret}: cannot read the file: Permission denied: it is 0600 of user 0, group 0"
    assert f"{wanted}, and this is user 10001, group 0" in said[0o600]
