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


def test_a_place_where_nothing_can_be_made() -> None:
    """FAIL, also for a user whose rights allow it: a bridge would find out in the first outage of its sink."""
    assert "FAIL" == judged(Path("/proc/spool"), 2**20).verdict


def test_a_name_that_cannot_be(tmp_path: Path) -> None:
    """Likewise; what was made on the way to it is gone again."""
    found = judged(tmp_path / "of" / "ours" / ("x" * 300), 2**20)
    assert ("FAIL", True) == (found.verdict, "it cannot be made: File name too long" in found.text)
    assert [] == list(tmp_path.iterdir())


def test_a_link_to_nowhere(tmp_path: Path) -> None:
    """Likewise: no directory is made through it."""
    (tmp_path / "spool").symlink_to(tmp_path / "not" / "there")
    found = judged(tmp_path / "spool", 2**20)
    assert ("FAIL", True) == (found.verdict, "it cannot be made: " in found.text)
    assert ["spool"] == [each.name for each in tmp_path.iterdir()]


def test_a_directory_that_takes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAIL, as where a disk or its inodes are used up, or by a quota."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    found = judged(tmp_path, 2**20)
    assert ("FAIL", True) == (found.verdict, "it cannot be written: No space left on device" in found.text)


def test_a_directory_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    """With what is in it, and it stays."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "file").touch()
    assert "ok" == judged(tmp_path / "spool", 2**20).verdict
    assert ["file"] == [each.name for each in (tmp_path / "spool").iterdir()]
