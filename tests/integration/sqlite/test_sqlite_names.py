"""A file and its log belong together: what parts them is refused at the start, and told of while a bridge runs."""

from __future__ import annotations

import shlex
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.sqlite.settings import SqliteSettings
from celery_event_sinks.sqlite.sink import SqliteSink
from tests.support.bridges import clean_environment, run_to_end
from tests.support.servers.debian import PATIENCE, ROOT
from tests.support.sqlite_files import opened, store
from tests.support.streams import some

NO_BROKER = {"BRIDGE_BROKER_URL": "amqp://127.0.0.1:1", "BRIDGE_SINK": "sqlite", "BRIDGE_HTTP": "off"}


def in_mounts(mounts: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The command where these mounts are, which nobody else sees."""
    command = f"{mounts} && exec {shlex.join([sys.executable, '-m', 'celery_event_bridge', *arguments])}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command],
        cwd=ROOT,
        env=clean_environment() | NO_BROKER | settings,
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        check=False,
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip(done.stderr)
    return done


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """A file of the host's, and a folder as a container has one, with a blank in its name."""
    (tmp_path / "host").mkdir()
    inside = tmp_path / "a container"
    inside.mkdir()
    for file in (tmp_path / "host/events.db", inside / "events.db"):
        file.touch()
    return inside


def test_a_file_that_is_mounted_without_its_directory_is_refused(inside: Path) -> None:
    """Its log would lie outside of the mount: `run` ends with 2, `check` fails, and a reader is warned."""
    host, path = inside.with_name("host"), inside / "events.db"
    mounts = f"mount --bind {host}/events.db {shlex.quote(str(path))}"
    run = in_mounts(mounts, "run", BRIDGE_SQLITE_PATH=str(path))
    assert 2 == run.returncode
    assert f"BRIDGE_SQLITE_PATH={path}: the file itself is a mount" in run.stderr
    assert f"mount its directory (docker run --volume /directory/of/the/host:{inside}" in run.stderr
    check = in_mounts(mounts, "check", BRIDGE_SQLITE_PATH=str(path))
    assert any("the file itself is a mount" in line for line in check.stdout.splitlines() if line.startswith("FAIL"))
    opened(host / "events.db").close()
    tail = in_mounts(mounts, "tail", "--from", str(path))
    assert "the file itself is a mount" in tail.stderr


def test_a_directory_that_is_mounted_is_as_good_as_any(inside: Path) -> None:
    """File and log are there together."""
    mounts = f"mount --bind {inside.with_name('host')} {shlex.quote(str(inside))}"
    check = in_mounts(mounts, "check", BRIDGE_SQLITE_PATH=str(inside / "events.db"))
    assert [] == [line for line in check.stdout.splitlines() if "BRIDGE_SQLITE_PATH" in line and line[:2] != "ok"]


def test_a_hard_link_is_refused_at_the_start_and_told_of_in_use(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever opens the file by another name has another log."""
    subject = opened(path)
    other = path.with_name("other.db")
    other.hardlink_to(path)
    for _ in range(2):
        subject.look()
    caplog.set_level("INFO")
    (line,) = [record.getMessage() for record in caplog.records if getattr(record, "kind", "") == "stream-advice"]
    assert f"SQLite file {path}: the file has 2 names (hard links)" in line
    done = run_to_end("celery_event_bridge", "run", **NO_BROKER, BRIDGE_SQLITE_PATH=str(other))
    assert (2, True) == (
        done.returncode,
        f"BRIDGE_SQLITE_PATH={other}: the file has 2 names (hard links)" in done.stderr,
    )
    with pytest.raises(SinkUnavailable, match="2 names"):
        SqliteSink(SqliteSettings(path=other)).open()
    assert not list(path.parent.glob("other.db-*"))
    other.unlink()
    subject.look()
    assert f"SQLite file {path}: the file has one name again" in caplog.text
    store(subject, some(10))
    subject.close()


@pytest.mark.parametrize(
    ("given", "said"), [("/dev/null", "it is a device or a pipe"), ("/tmp", "it is a directory: name a file in it")]
)
def test_a_path_that_is_no_files_is_refused(given: str, said: str) -> None:
    """By what it is, and not by what SQLite says of it; and it stays what it is."""
    before = stat.S_IFMT(Path(given).stat().st_mode)
    run = run_to_end("celery_event_bridge", "run", **NO_BROKER, BRIDGE_SQLITE_PATH=given)
    assert (2, True) == (run.returncode, f"BRIDGE_SQLITE_PATH={given}: {said}" in run.stderr)
    check = run_to_end("celery_event_bridge", "check", **NO_BROKER, BRIDGE_SQLITE_PATH=given)
    assert any(said in line for line in check.stdout.splitlines() if line.startswith("FAIL"))
    assert before == stat.S_IFMT(Path(given).stat().st_mode)


def test_a_file_that_every_user_may_read_is_warned_of() -> None:
    """Its log too; not where a folder above it is closed to them, nor once they may read neither."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder) / "events.db"
        subject = opened(path)
        path.with_name("events.db-wal").chmod(0o644)
        assert () == tuple(subject.advice())
        Path(folder).chmod(0o755)
        (found,) = subject.advice()
        assert ("warn", True) == (found.verdict, f"may read {path}-wal" in found.text)
        path.chmod(0o644)
        (found,) = subject.advice()
        assert f"chmod o-r {path} {path}-wal" in found.text
        subprocess.run(found.text[found.text.index("chmod") :].split(), check=True, timeout=10)
        assert () == tuple(subject.advice())
        subject.close()
