"""A file system that is mounted over the file while a bridge runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NAMESPACE = ("unshare", "--map-root-user", "--mount")


def can_mount() -> bool:
    """Return whether a process may mount in a namespace of its own, which not every container allows."""
    if shutil.which("unshare") is None:
        return False
    tried = [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="nothing can be mounted here, in a namespace of its own")
@pytest.mark.parametrize("level", [1, 2], ids=["its directory", "the one above"])
def test_a_file_that_a_mount_hides_is_told_of_by_the_next_look(tmp_path: Path, level: int) -> None:
    """What comes goes where that name leads to, if it leads anywhere; nothing goes on into what nobody sees."""
    path = tmp_path / "upper" / "bridge" / "events.db"
    path.parent.mkdir(parents=True)
    command = [*NAMESPACE, sys.executable, "-m", "tests.support.mounted", str(path), str(path.parents[level - 1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "" == done.stderr
    lines = done.stdout.splitlines()
    hidden = (
        f"the old one is hidden by a mount over {path} (umount shows it) now, and complete unless a log is named here"
    )
    assert f"told: SQLite file {path}: the file was removed or replaced; opening it anew; {hidden}" == lines[0]
    assert "stored in the old one: True" == lines[-1]
    if level == 1:
        assert ["look: content", "stored there: True"] == [line for line in lines[1:-1] if "told" not in line]
    else:
        assert "its directory has to be there" in lines[1]
        assert ["look: content"] == [line for line in lines[2:-1] if "told" not in line]
