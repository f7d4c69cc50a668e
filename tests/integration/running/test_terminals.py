"""Commands where a standard stream is closed or knows no letters but ASCII, and where they are interrupted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import msgspec
import pytest

from celery_event_bridge.contract import Event
from celery_event_bridge.forward.decode import decode
from tests.support import oracle
from tests.support.servers.debian import ROOT, free_port, until
from tests.support.stores import SqliteStore
from tests.support.streams import in_sqlite, some

COMMAND = f"{sys.executable} -m celery_event_bridge"
NAME = "f\u00fcr.\u4f60\U0001f600"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """A file with events in it, one of which is not ASCII."""
    body = {"type": "task-received", "hostname": NAME, "uuid": "u", "name": NAME, "timestamp": 1.0}
    strange: list[Event] = decode(msgspec.json.encode(body), "application/json", {}).events
    stream = in_sqlite(tmp_path)
    stream.write([*some(3), *strange])
    stream.sink.close()
    return {"BRIDGE_SQLITE_PATH": str(tmp_path / "events.db"), "BRIDGE_HTTP": "off"}


def shell(line: str, settings: dict[str, str], timeout: float = 30) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **settings}
    return subprocess.run(
        ["sh", "-c", line], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.mark.parametrize("closed", ["2>&-", "2>&- <&-", "<&-"])
def test_standard_error_is_closed(closed: str, settings: dict[str, str], broker_url: str) -> None:
    """`tail`, `audit` and `check` work, and what they open does not get its number."""
    done = shell(f"{COMMAND} tail {closed}", settings)
    assert (0, 4) == (done.returncode, len(done.stdout.splitlines()))
    done = shell(f"{COMMAND} audit --settle 0s {closed}", settings)
    assert (0, True) == (done.returncode, "4 events" in done.stdout)
    done = shell(f"{COMMAND} check {closed}", {**settings, "BRIDGE_BROKER_URL": broker_url})
    assert "ok   sink sqlite: stores" in done.stdout
    done = shell(f"{COMMAND} tail --from sqlite:///nowhere.db {closed}", settings)
    assert 1 == done.returncode


def test_a_run_whose_standard_error_is_closed(settings: dict[str, str], broker_url: str) -> None:
    """It forwards and stops in order; the file that it writes to is no log."""
    port = free_port()
    environ = {**os.environ, **settings, "BRIDGE_BROKER_URL": broker_url, "BRIDGE_HTTP": f"127.0.0.1:{port}"}
    process = subprocess.Popen(["sh", "-c", f"exec {COMMAND} run 2>&-"], env=environ, cwd=ROOT)
    try:
        ready = f"curl -sf http://127.0.0.1:{port}/readyz"
        until(lambda: shell(ready, {}).returncode == 0, 20, "it is ready")
        assert os.devnull == str(Path(f"/proc/{process.pid}/fd/2").readlink())
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(60)
    finally:
        process.kill()
        process.wait(60)


def test_a_run_whose_log_nobody_reads(settings: dict[str, str], broker_url: str, tmp_path: Path) -> None:
    """A log's reader that stands still holds up no event and no stop; when it reads again the lines are there."""
    port = free_port()
    environ = {**os.environ, **settings, "BRIDGE_BROKER_URL": broker_url, "BRIDGE_HTTP": f"127.0.0.1:{port}"}
    environ["BRIDGE_SHUTDOWN_TIMEOUT"] = "5"
    store = SqliteStore(tmp_path)
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    fill(writes)
    process = subprocess.Popen([*COMMAND.split(), "run"], env=environ, cwd=ROOT, stderr=writes)
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/readyz") == b"ok\n", 30, "it is ready")
        oracle.publish(broker_url, oracle.numbered(0, 10))
        until(lambda: store.count() == 14, 20, "all is stored")
        found = bytearray()

        def started() -> bool:
            with suppress(BlockingIOError):
                found.extend(os.read(reads, 65536))
            return b'"started"' in found

        until(started, 20, "what it had to say is there")
        fill(writes)
        process.terminate()
        assert 0 == process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(reads)
        os.close(writes)


def answers(url: str) -> bytes:
    try:
        with urlopen(url, timeout=5) as answer:
            found: bytes = answer.read()
    except HTTPError as exc:
        exc.close()
        raise
    return found


def fill(pipe: int) -> None:
    """Write until nothing more goes in."""
    os.set_blocking(pipe, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe, b"x" * 16)
    os.set_blocking(pipe, True)


@pytest.mark.parametrize("encoding", ["PYTHONIOENCODING=ascii LC_ALL=C", "PYTHONIOENCODING=ascii:strict", "LC_ALL=C"])
def test_a_terminal_that_knows_ascii_alone(encoding: str, settings: dict[str, str]) -> None:
    """What is not ASCII is escaped, in JSON so that it is still JSON; nothing fails."""
    done = shell(f"env {encoding} {COMMAND} tail", settings)
    assert (0, 4) == (done.returncode, len(done.stdout.splitlines())), done.stderr
    done = shell(f"env {encoding} {COMMAND} tail --format json", settings)
    assert (0, "") == (done.returncode, done.stderr)
    assert NAME in [json.loads(line)["source"] for line in done.stdout.splitlines()]
    for form in ("table", "json"):
        done = shell(f"env {encoding} {COMMAND} audit --settle 0s --format {form}", settings)
        assert (0, "", True) == (done.returncode, done.stderr, bool(done.stdout))


def test_parked_and_replayed_where_ascii_alone_is_known(
    settings: dict[str, str], broker_url: str, tmp_path: Path
) -> None:
    """`replay` and `rejected` as well."""
    settings |= {"BRIDGE_BROKER_URL": broker_url, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = shell(f"{COMMAND} replay --to sqlite:///{tmp_path / NAME}", settings)
    assert 0 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    done = shell(f"{COMMAND} rejected list", settings)
    assert (True, False) == (done.returncode in (0, 1), "Traceback" in done.stderr)


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/read-events.md"])
def test_the_loop_of_the_pages_is_interrupted_without_a_traceback(page: str, settings: dict[str, str]) -> None:
    """Ctrl-C ends it, wherever it is."""
    samples = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    code = next(sample for sample in samples if 'group="billing"' in sample)
    code = code.replace("kafka://localhost:9092/celery-events", f"sqlite:///{settings['BRIDGE_SQLITE_PATH']}")
    # What a shell has begun in its background ignores it, and so does all that comes of that.
    code = f"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{code}"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(4):
        assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert (0, "") == (process.returncode, errors)
