"""A SQLite file over whose directory something is mounted, in a namespace of this process's own: see `unshare`."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

from celery_event_bridge.contract import SinkUnavailable
from celery_event_sinks.sqlite.sink import SqliteSink
from tests.support.sqlite_files import found, opened, store
from tests.support.streams import ids, some


def main(path: Path, over: Path) -> None:
    """Store, mount, look, store, unmount, look and store; prints what is told and what is where."""
    logging.basicConfig(level=logging.WARNING, format="told: %(message)s", stream=sys.stdout)
    subject = opened(path)
    before, meanwhile, after = some(5), some(5, 10), some(5, 20)
    store(subject, before)
    subprocess.run(["mount", "-t", "tmpfs", "none", str(over)], check=True)
    print("look:", looked(subject))
    if path.parent.is_dir():
        store(subject, meanwhile)
        print("stored there:", found(path) == {*ids(meanwhile)})
    else:
        path.parent.mkdir()
        print("look:", looked(subject))
    subject.close()
    subprocess.run(["umount", str(over)], check=True)
    store(subject, after)
    print("stored in the old one:", found(path) == {*ids([*before, *after])})
    subject.close()


def looked(subject: SqliteSink) -> str:
    try:
        subject.look()
    except SinkUnavailable as exc:
        return str(exc)
    return "content"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
