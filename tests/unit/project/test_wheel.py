"""What a user installs: two packages whose names are ours alone."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `pip` would build it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=180)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_two_typed_packages_and_nothing_else(wheel: Path) -> None:
    """An importable library claims no name that an application may have for itself."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {"celery_event_bridge", "celery_event_sinks"} == {
        name.partition("/")[0] for name in names if ".dist-info/" not in name
    }
    assert {"celery_event_bridge/py.typed", "celery_event_sinks/py.typed"} <= set(names)


def test_an_application_may_have_a_bridge_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """Neither `bridge.py` nor `sinks.py` beside an application is in our way, nor are we in theirs."""
    for name in ("bridge", "sinks"):
        (tmp_path / f"{name}.py").write_text(f"NAME = 'my own {name}'\n")
    code = f"import sys; sys.path.insert(1, {str(wheel)!r}); import bridge, sinks; print(bridge.NAME, sinks.NAME); "
    code += "import celery_event_bridge.cli; from celery_event_bridge import open_reader; print(open_reader.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ("my own bridge my own sinks\nopen_reader\n", "") == (done.stdout, done.stderr)
