"""The demo's first minutes: what it installs, what it says while it waits, and what it says where it fails."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from examples.demo.__main__ import waiting
from examples.demo.report import Report
from examples.demo.streams import CannotPause, SqliteStream, Stored
from tests.support import oracle
from tests.support.servers.debian import ROOT
from tests.support.servers.fetching import ServerMissing, megabytes_in, of_apt, telling

CHECKERS = {
    "hypothesis",
    "import-linter",
    "mypy",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "ruff",
    "psycopg",
    "flower",
}
BODY = b'{"type": "task-sent"}'


def pinned(name: str) -> dict[str, str]:
    text = (ROOT / f"requirements/{name}.txt").read_text()
    return dict(re.findall(r"^([\w.\[\]-]+)==(\S+)", text, re.MULTILINE))


def test_the_demo_installs_nothing_for_tests_and_checks() -> None:
    """What it installs is a part of what developers have, in the same versions."""
    demo, all_of_it = pinned("try"), pinned("dev")
    assert not CHECKERS & demo.keys()
    assert CHECKERS <= {name.partition("[")[0] for name in all_of_it}
    assert demo.items() <= all_of_it.items()
    made = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    environment = ".venv" if (ROOT / ".venv/.ready").exists() else ".venv-demo"
    assert f"{environment}/bin/python -m examples.demo" in made


def test_the_demo_needs_nothing_else() -> None:
    """None of its modules imports what is for tests and checks."""
    code = "import sys, examples.demo.__main__; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {name.replace("-", "_") for name in CHECKERS} & set(done.stdout.split())


def test_a_wait_says_how_far_it_is(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Every few seconds, with the size; a failure with its cause and the path of its log, which stays."""
    (tmp_path / "part").write_bytes(bytes(7_000_000))
    telling(
        "fetching it, 43 MB",
        [sys.executable, "-c", "import time; time.sleep(0.5)"],
        megabytes_in(tmp_path, 43),
        every=0.1,
    )
    said = capfd.readouterr().err.splitlines()
    assert "fetching it, 43 MB" == said[0]
    assert re.fullmatch(r"fetching it, 43 MB: \d s, 7 of 43 MB", said[1])
    with pytest.raises(ServerMissing) as caught:
        telling("fetching it", ["sh", "-c", "echo one; echo 'E: no such package'; echo done; exit 3"], of_apt)
    found = re.fullmatch(r"fetching it failed: E: no such package; the whole log is (\S+)", str(caught.value))
    assert found
    assert "one\nE: no such package\ndone\n" == Path(found[1]).read_text()
    Path(found[1]).unlink()


def test_apt_says_how_much_it_fetches() -> None:
    """The whole, and what it does now."""
    fetching = (
        "Need to get 25.9 MB of archives.\nGet:1 http://mirror/debian bookworm/main amd64 erlang-base amd64 1 [8 MB]\n"
    )
    assert "" == of_apt("Reading package lists...\n")
    assert "25.9 MB to fetch, fetching erlang-base" == of_apt(fetching)
    assert "25.9 MB to fetch, setting up erlang-base" == of_apt(f"{fetching}Setting up erlang-base (1:25) ...\n")


def test_a_wait_of_the_demo_is_told_in_a_pipe() -> None:
    """A terminal shows it moving, a pipe gets a line every few seconds."""
    output = io.StringIO()
    with waiting(Console(file=output), "starting RabbitMQ", every=0.05):
        deadline = time.monotonic() + 20
        while "starting RabbitMQ" not in output.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert re.match(r" +\d s  starting RabbitMQ\n", output.getvalue())


def shown(report: Report, logs: Path) -> tuple[int, str]:
    output = io.StringIO()
    return report.show(Console(file=output, width=200), logs), output.getvalue()


def whole(**changed: object) -> Report:
    """A run in which all was stored, as far as it came on a slow machine."""
    stored = [Stored(oracle.event_id(BODY), BODY)]
    return Report("sqlite", once=True, published=Counter({BODY: 1}), stored=stored, **changed)  # type: ignore[arg-type]


def test_a_machine_too_slow_is_told_and_not_failed(tmp_path: Path) -> None:
    """Nothing is missing, and what could not be shown is said; what is missing fails whatever the machine is."""
    code, text = shown(whole(not_paused="SQLite was busy"), tmp_path)
    assert 0 == code
    assert "failed" not in text
    assert "too slow or busy" in text
    assert "the sink could not be paused: SQLite was busy" in text
    assert "missing 0" == text.splitlines()[-1]
    code, text = shown(whole(paused_seconds=3.0), tmp_path)
    assert (0, True) == (code, "the sink stood still for 3 s, which is less than 8 s" in text)
    lost = whole()
    lost.stored = []
    code, text = shown(lost, tmp_path)
    assert (1, True, True) == (code, "failed: 1 events are missing" in text, f"logs and data: {tmp_path}" in text)
    assert (1, True) == (
        shown(Report("sqlite", once=True), tmp_path)[0],
        "no event was published" in shown(Report("sqlite", once=True), tmp_path)[1],
    )


def test_a_broker_without_queues_has_figures_of_its_own(tmp_path: Path) -> None:
    """On Redis it is said how many bridges have forwarded, and that none took over, where none has."""
    code, text = shown(whole(queued=False, in_turn=2), tmp_path)
    assert (0, False, False) == (code, "overflow" in text, "took over" in text)
    assert re.search(r"bridges that forwarded in turn +│ 2", text)
    assert "no bridge took over from another" in shown(whole(queued=False, in_turn=1), tmp_path)[1]


def test_a_sink_that_is_never_free_cannot_be_paused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the bridges hold SQLite's lock all the time: another error than one that ends the demo."""
    stream = SqliteStream(tmp_path)
    other = SqliteStream(tmp_path)
    other.pause()
    monkeypatch.setattr("examples.demo.streams.ATTEMPTS", 1)
    with pytest.raises(CannotPause, match="write lock"):
        stream.pause()
    other.resume()
    stream.resume()


def test_a_demo_that_cannot_start_its_servers_says_why_and_where_the_logs_are(tmp_path: Path) -> None:
    """One line with the cause, and the folder, which stays."""
    for name in ("apt-get", "sudo"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'E: nothing can be fetched'\nexit 100\n")
        (tmp_path / name).chmod(0o755)
    code = "import tests.support.servers.debian as d; d._which = lambda name: None; d.POLICY = d.ROOT; import runpy; "
    code += "runpy.run_module('examples.demo', run_name='__main__')"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DOCKER_HOST": "unix:///none", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert 1 == done.returncode, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"logs and data: {tmp_path}/celery-event-bridge-demo-")
    assert "E: nothing can be fetched; the whole log is" in " ".join(lines)
    assert lines[0] == lines[-1]
    assert Path(lines[-1].rpartition(" ")[2]).is_dir()


def test_an_installation_that_fails_says_why_and_keeps_its_log(tmp_path: Path) -> None:
    """`scripts/setup.sh` tells of each step, and of a failure its cause and its log's path."""
    python = tmp_path / "python3"
    python.write_text(
        '#!/bin/sh\ncase "$*" in *"-m venv"*) echo "Error: no room on the disk"; exit 1 ;; esac\nexit 0\n'
    )
    python.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts/setup.sh", str(tmp_path / "venv"), "try"],
        env=os.environ | {"PYTHON": str(python), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert 1 == done.returncode
    assert "setup: making " in done.stderr
    assert "Error: no room on the disk" in done.stderr
    (log,) = re.findall(r"failed; the whole log is (\S+)", done.stderr)
    assert "no room" in Path(log).read_text()
