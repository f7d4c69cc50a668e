"""What `check` says of the directory of BRIDGE_SPOOL."""

from __future__ import annotations

from pathlib import Path

import pytest

from celery_event_bridge.brokers.redis.spool_place import judged
from celery_event_bridge.contract.container import IMAGE


def test_a_directory_that_will_be_made(tmp_path: Path) -> None:
    """It is well, and says how much there is room for; nothing is made."""
    found = judged(tmp_path / "spool/of/ours", 2**20)
    assert ("ok", True) == (found.verdict, "up to 1 MiB for each replica" in found.text)
    assert [] == list(tmp_path.iterdir())


def test_a_file_in_its_place(tmp_path: Path) -> None:
    """FAIL, with the path that is in the way."""
    (tmp_path / "spool").touch()
    found = judged(tmp_path / "spool/of/ours", 2**20)
    assert ("FAIL", True) == (found.verdict, f"{tmp_path}/spool is no directory" in found.text)


def test_a_place_where_nobody_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAIL, as for any user but root in a closed directory, and for root on a read-only file system."""
    monkeypatch.setattr("os.access", lambda *_: False)
    found = judged(tmp_path / "spool", 2**20)
    assert ("FAIL", True) == (found.verdict, f"cannot write in {tmp_path}" in found.text)


def test_too_little_room(tmp_path: Path) -> None:
    """A warning with both figures."""
    found = judged(tmp_path, 2**62)
    assert ("warn", True) == (found.verdict, "less than the 4398046511104 MiB of BRIDGE_SPOOL_MAX_BYTES" in found.text)


def test_a_containers_own_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning in our image: it is gone when the next bridge should send on what is there. A mount is well."""
    monkeypatch.setenv(IMAGE, "1")
    found = judged(Path("/spool-that-is-not-there"), 2**20)
    assert ("warn", True) == (found.verdict, "this is no volume" in found.text)
    assert "volume" not in judged(Path("/dev/shm/spool"), 2**20).text
