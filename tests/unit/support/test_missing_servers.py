"""A server that cannot be had skips a test on a laptop, and fails it in CI, with one line that says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers.debian import ROOT

CONFTEST = "from tests.conftest import pytest_runtest_makereport\n"
TEST = """
import pytest
from tests.support.servers import ServerMissing

@pytest.fixture
def server():
    raise ServerMissing("no server here; install one")

def test_in_a_fixture(server): ...

def test_in_a_test():
    raise ServerMissing("no server here; install one")
"""


@pytest.mark.parametrize(("variables", "outcome"), [({}, "2 skipped"), ({"CI": "true"}, "1 failed, 1 error")])
def test_a_missing_server(tmp_path: Path, variables: dict[str, str], outcome: str) -> None:
    """Never passed over in silence: the reason is in the summary."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TEST)
    environment = {name: text for name, text in os.environ.items() if name != "CI"} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*command, str(tmp_path)], env=environment | variables, capture_output=True, text=True, timeout=180
    )
    assert outcome in done.stdout, done.stdout + done.stderr
    assert "no server here; install one" in done.stdout.partition("short test summary")[2]
