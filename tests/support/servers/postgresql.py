"""PostgreSQL for the example that writes into one: given by its address, or a process of Debian's package."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.servers.debian import Child, ServerMissing, free_port, program, until

NOBODY = "nobody"
"""Who runs it where we are root, as whom it refuses to."""


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a database. Raises ServerMissing where none is to be had."""
    if url := os.environ.get("TEST_POSTGRESQL_URL"):
        yield url
        return
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    data, port = folder / "data", free_port()
    data.mkdir()
    if os.geteuid() == 0:
        for one in (folder, data):
            shutil.chown(one, NOBODY)
    done = subprocess.run(
        [*_as_user(), _program("initdb"), "--auth=trust", "--username=test", "--no-sync", "-D", str(data)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=folder,
    )
    if done.returncode:
        raise ServerMissing(f"PostgreSQL could not make its data: {done.stderr[-300:].strip()}")
    options = ["-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder)]
    child = Child([*_as_user(), _program("postgres"), *options], {}, folder / "output")
    url = f"postgresql://test@127.0.0.1:{port}/postgres"

    def answers() -> bool:
        if not child.running:
            raise ServerMissing(f"PostgreSQL ended at its start: {child.tail()}")
        with psycopg.connect(url, connect_timeout=5) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)

    try:
        until(answers, 30, "PostgreSQL answers")
        yield url
    finally:
        child.end()
        shutil.rmtree(folder, ignore_errors=True)


def _as_user() -> Sequence[str]:
    return ["setpriv", f"--reuid={NOBODY}", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []


def _program(name: str) -> str:
    """Debian keeps them apart by version, and its `psql` alone in the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found:
        program("psql", "postgresql")
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found:
        raise ServerMissing(f"the Debian package postgresql brings no {name}; this is {getpass.getuser()}")
    return str(found[-1])
