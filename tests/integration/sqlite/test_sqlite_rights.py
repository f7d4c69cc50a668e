"""Rights to SQLite's file: whose it is, and what to do, where this user is kept out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.sqlite_files import opened, store
from tests.support.streams import some

OWNER = 12345
UNPRIVILEGED = "setpriv --bounding-set=-dac_override,-dac_read_search"
"""Command that takes from root the right to every file: what it has then is a user's. Python may lie in root's home."""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="a file can be given away by root only"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file with events, of another user, in a directory of that user's."""
    folder = tmp_path / "bridge"
    folder.mkdir(0o755)
    with closing(opened(folder / "events.db")) as subject:
        store(subject, some(5))
    for each in (folder, *folder.iterdir()):
        os.chown(each, OWNER, OWNER)
    return folder / "events.db"


def unprivileged(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {"BRIDGE_SINK": "sqlite", "BRIDGE_SQLITE_PATH": str(path), "BRIDGE_BROKER_URL": "amqp://127.0.0.1:1//"}
    command = [*UNPRIVILEGED.split(), sys.executable, "-m", "celery_event_bridge", *arguments]
    return subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("folder", "file", "closed", "verbs"),
    [
        (0o755, 0o600, "{path} is 0600", ("write", "read")),
        (0o777, 0o644, "{path} is 0644", ("write", "")),
        (0o755, 0o666, "{folder} is 0755", ("write", "write")),
        (0o700, 0o666, "{folder} is 0700", ("enter", "enter")),
    ],
)
def test_a_file_of_another_user(path: Path, folder: int, file: int, closed: str, verbs: tuple[str, str]) -> None:
    """`check` and `tail` say in a line whose it is and what to do, and `tail` does not wait for that to change."""
    path.parent.chmod(folder)
    path.chmod(file)
    named = closed.format(path=path, folder=path.parent)
    whose = f"{named} of user {OWNER}, group {OWNER}, and this is user 0, group 0: run as user {OWNER}, or let this one"
    done = unprivileged(path, "check")
    (line,) = [line for line in done.stdout.splitlines() if "sink sqlite" in line]
    assert (1, "") == (done.returncode, done.stderr)
    assert line.startswith("FAIL")
    assert line.endswith(f"{whose} {verbs[0]} it")
    done = unprivileged(path, "tail")
    if not verbs[1]:
        assert (0, 5) == (done.returncode, len(done.stdout.splitlines()))
        return
    (line,) = done.stderr.splitlines()
    assert 1 == done.returncode
    assert line.endswith(f"{whose} {verbs[1]} it")


def test_a_file_of_ones_own_that_is_closed(path: Path) -> None:
    """The remedy is a command."""
    os.chown(path, 0, 0)
    path.chmod(0o400)
    done = unprivileged(path, "check")
    assert f"{path} is 0400 of user 0, group 0, and this is user 0, group 0: chmod u+rw {path}" in done.stdout
