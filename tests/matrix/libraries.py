"""Older releases of the client libraries whose insides are leaned on: the tests of what leans on them, with these."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.servers import ServerMissing
from tests.support.servers.debian import ROOT
from tests.support.servers.kafka_files import cache

PASSED = re.compile(r"^(\d+) passed", re.MULTILINE)


def with_library(name: str, version: str, tests: Sequence[str], _folder: Path) -> tuple[str, str, bool]:
    """The unit tests named, with that release in the place of the installed one."""
    place = cache() / f"{name}-{version}"
    if not (place / "ready").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place)]
        done = subprocess.run(
            [*command, f"{name}=={version}"], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise ServerMissing(f"{name} {version} cannot be installed: {done.stderr[-300:].strip()}")
        (place / "ready").touch()
    environment = os.environ | {"PYTHONPATH": str(place)}
    asked = [sys.executable, "-c", f"import {name}; print({name}.__version__)"]
    found = subprocess.run(asked, cwd=ROOT, env=environment, capture_output=True, text=True).stdout.strip()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    passed = PASSED.search(done.stdout)
    good = done.returncode == 0 and passed is not None and found == version
    return found, f"{passed[1] if passed else 'no'} unit tests of what leans on its insides pass", good
