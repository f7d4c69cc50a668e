"""Celery's own `State`, fed from the stream: what the workers do now, as a table or as JSON.

    python -m examples.live_state --from kafka://localhost:9092/celery-events --since 1h
    python -m examples.live_state --once --format json | jq .tasks

`event.as_celery()` is the dict that Celery's receiver would have given, so every handler of events works unchanged. It
needs no connection to the broker, and begins with the past: a receiver that listens knows nothing of what was before.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter
from typing import Any

from celery.events.state import State

from celery_event_bridge.config.loading import SettingsError
from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.reader import Undecodable, open_reader


def snapshot(state: State) -> dict[str, Any]:
    """Workers, tasks by state, and the ten that have run for longest."""
    tasks = [task for _, task in state.itertasks()]
    running = sorted((task for task in tasks if task.state == "STARTED"), key=lambda task: task.started)
    failed = sorted((task for task in tasks if task.state == "FAILURE"), key=lambda task: -task.failed)
    return {
        "at": time.time(),
        "events": state.event_count,
        "workers": {
            name: {"alive": worker.alive, "active": worker.active, "processed": worker.processed}
            for name, worker in sorted(state.workers.items())
        },
        "tasks": dict(sorted(Counter(task.state for task in tasks).items())),
        "running": [{"uuid": one.uuid, "name": one.name, "since": one.started} for one in running[:10]],
        "failed": [{"uuid": one.uuid, "name": one.name, "exception": one.exception} for one in failed[:10]],
    }


def table(found: dict[str, Any]) -> str:
    lines = [time.strftime("%H:%M:%S", time.localtime(found["at"])) + f"  {found['events']} events"]
    for name, worker in found["workers"].items():
        state = "online" if worker["alive"] else "offline"
        lines.append(f"  {name:30} {state:8} {worker['active'] or 0:5} active {worker['processed'] or 0:8} processed")
    lines += [f"  {state:30} {count:8}" for state, count in found["tasks"].items()]
    lines += [f"  {one['name'] or '?':30} {one['uuid']} runs" for one in found["running"]]
    lines += [f"  {one['name'] or '?':30} {one['uuid']} {one['exception']}" for one in found["failed"]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="Example: python -m examples.live_state --since 1h --every 5"
    )
    parser.add_argument("--from", dest="url", help="the stream; by default that of the BRIDGE_* settings")
    parser.add_argument("--since", default="1h", help="where to begin: 10m, 2d, earliest, latest (1h)")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two snapshots (2)")
    parser.add_argument("--once", action="store_true", help="one snapshot of what is there, and end")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    options = parser.parse_args()
    state = State(max_tasks_in_memory=100_000)
    due = time.monotonic() + options.every

    def show() -> None:
        found = snapshot(state)
        print(json.dumps(found) if options.format == "json" else table(found), flush=True)

    def show_if_due() -> None:
        nonlocal due
        if not options.once and time.monotonic() >= due:
            show()
            due = time.monotonic() + options.every

    with open_reader(options.url, since=options.since, follow=not options.once, idle=show_if_due) as events:
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_number, lambda *_: events.stop())
        for event in events:
            try:
                state.event(event.as_celery())
            except Undecodable as exc:
                print(f"passed over: {exc}", file=sys.stderr)
            show_if_due()
    show()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads it any more
    except (SettingsError, SinkUnavailable, ValueError) as exc:
        sys.exit(f"live_state: {exc}")
