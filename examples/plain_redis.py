"""Read the Redis stream with plain redis-py, in a consumer group: the entry's format is all that is needed.

    python -m examples.plain_redis --url redis://localhost:6379/0 --stream celery-events | jq .

Nothing of this project is imported: see docs/reference/records.md. A line of JSON for each event; an entry is
acknowledged when its line is written, so each is written at least once. What a consumer that died had in hand is taken
over. An id that was handled is remembered for a day in Redis itself, for the whole group: a copy is dropped.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
from collections.abc import Iterable
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

REMEMBERED = 24 * 3600
"""Seconds for which an id is known as handled; each costs Redis about 100 bytes."""

Entries = Iterable[tuple[bytes, dict[bytes, bytes]]]


def event(fields: dict[bytes, bytes]) -> dict[str, Any]:
    """What an entry holds. Raises KeyError for an entry that no bridge has written."""
    json_inside = b"content_type" not in fields  # else application/x-msgpack
    return {
        "id": fields[b"id"].decode(),
        "type": fields[b"type"].decode(),
        "worker": fields[b"source"].decode(),
        "task": fields[b"subject"].decode() if b"subject" in fields else None,
        "time": int(fields[b"time"]) / 1e6 if b"time" in fields else None,
        "data": json.loads(fields[b"data"]) if json_inside else None,
    }


def handle(client: Redis, stream: str, group: str, entries: Entries) -> None:
    for entry, fields in entries:
        done = client.pipeline(transaction=True)
        try:
            found = event(fields)
            handled = f"{stream}:{group}:{found['id']}"
            if not client.exists(handled):
                print(json.dumps(found), flush=True)
            done.set(handled, 1, ex=REMEMBERED)
        except (KeyError, ValueError) as exc:
            print(f"passed over, not a bridge's: entry {entry.decode()}: {exc!r}", file=sys.stderr)
        done.xack(stream, group, entry)
        done.execute()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="Example: python -m examples.plain_redis --group report"
    )
    parser.add_argument("--url", default="redis://localhost:6379/0")
    parser.add_argument("--stream", default="celery-events")
    parser.add_argument("--group", default="report", help="consumers of one group share the entries (report)")
    parser.add_argument("--dead-after", type=float, default=60.0, help="seconds for which an entry may be in hand (60)")
    options = parser.parse_args()
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, stop)
    consumer = f"{socket.gethostname()}-{os.getpid()}"
    with Redis.from_url(options.url, socket_timeout=30) as client:
        try:
            client.xgroup_create(options.stream, options.group, id="0", mkstream=True)
        except ResponseError as exc:
            if "BUSYGROUP" not in str(exc):
                raise
        while not stopping:
            idle = round(options.dead_after * 1000)
            _, left, *_ = client.xautoclaim(options.stream, options.group, consumer, idle, count=100)
            handle(client, options.stream, options.group, left)
            for _, entries in (
                client.xreadgroup(options.group, consumer, {options.stream: ">"}, count=100, block=500) or ()
            ):
                handle(client, options.stream, options.group, entries)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads it any more
    except RedisError as exc:
        sys.exit(f"plain_redis: {exc}")
