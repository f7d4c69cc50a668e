"""Reads a stream with our reader, so many events for each number on a line of its input: what that took.

`python -m benchmarks.clients.events URL [GROUP]`; with a group it commits every 500 events.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from celery_event_bridge.reader import open_reader

COMMIT_EVERY = 500
FIRST = 0.1
"""The part of a chunk that is read before measuring begins: what was fetched ahead does not count."""


def main() -> None:
    """Until the input ends."""
    url, group = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    with open_reader(url, group, give_up_after=60) as events:
        for line in sys.stdin:
            count = int(line)
            start = int(FIRST * count)
            for number, event in enumerate(events, 1):
                if group is not None and number % COMMIT_EVERY == 0:
                    events.commit(event)
                if number == start:
                    began, used = time.perf_counter(), time.process_time()
                if number == count:
                    break
            seconds, cpu = time.perf_counter() - began, time.process_time() - used
            resident = re.findall(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[0]
            found = {"events": count - start, "seconds": seconds, "cpu": cpu, "resident_bytes": 1024 * int(resident)}
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
