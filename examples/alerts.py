"""Post each failure of a task to a webhook, as Slack and its like take it, at least once.

    python -m examples.alerts --from redis://localhost:6379/0 --webhook-file /run/secrets/webhook

The position is committed when the post has succeeded: an alert may come twice after a crash, and is never left out.
While the webhook is away it is tried again and again, and what comes meanwhile waits in the stream.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tenacity import RetryError, Retrying, retry_if_exception, sleep_using_event, stop_when_event_set
from tenacity.wait import wait_random_exponential

from celery_event_bridge.config.loading import SettingsError
from celery_event_bridge.contract import SinkUnavailable
from celery_event_bridge.reader import StoredEvent, open_reader

NAMES = 100_000
"""Names of tasks to remember. Only `task-sent` and `task-received` have them."""


def is_temporary(error: BaseException) -> bool:
    """Whether the same post may succeed later: not if it was refused for what it is."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in (408, 429)
    return isinstance(error, OSError)


def post(webhook: str, text: str, timeout: float = 10.0) -> None:
    body = json.dumps({"text": text}).encode()
    request = urllib.request.Request(webhook, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        answer.read()


def describe(event: StoredEvent, fields: dict[str, Any], name: str) -> str:
    at = f"{event.time:%Y-%m-%d %H:%M:%S} UTC" if event.time else "?"
    return f"{name} failed on {event.source} at {at}: {fields.get('exception')}\nuuid {event.subject}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], epilog="Example: python -m examples.alerts --webhook-file webhook.txt"
    )
    parser.add_argument("--from", dest="url", help="the stream; by default that of the BRIDGE_* settings")
    parser.add_argument("--webhook-file", type=Path, required=True, help="a file with the URL, which is a secret")
    parser.add_argument("--group", default="alerts", help="its position is kept by this name (alerts)")
    parser.add_argument("--since", default="latest", help="where to begin at first: 10m, earliest, latest (latest)")
    parser.add_argument("--lease", type=float, default=30.0, help="seconds after which a dead one is replaced (30)")
    options = parser.parse_args()
    webhook = options.webhook_file.read_text().strip()
    stopping = threading.Event()
    attempts = Retrying(
        retry=retry_if_exception(is_temporary),
        wait=wait_random_exponential(max=10),
        sleep=sleep_using_event(stopping),
        stop=stop_when_event_set(stopping),
        before_sleep=lambda state: print(f"webhook: {state.outcome.exception()}, trying again", file=sys.stderr),
    )
    names: dict[str, str] = {}
    types = "task-sent,task-received,task-failed"
    with open_reader(options.url, options.group, options.since, types, lease=options.lease) as events:

        def stop(*_: object) -> None:
            stopping.set()
            events.stop()

        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_number, stop)
        for event in events:
            if event.problem or event.subject is None:
                continue
            fields = event.json()
            if event.type != "task-failed":
                names[event.subject] = fields.get("name") or "a task"
                if len(names) > NAMES:
                    names.pop(next(iter(names)))
                continue
            try:
                attempts(post, webhook, describe(event, fields, names.get(event.subject, "a task")))
            except RetryError:
                break  # stopped: it is not committed, and so posted next time
            events.commit(event)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except urllib.error.HTTPError as exc:
        sys.exit(f"alerts: the webhook refuses it: {exc}; nothing is lost, mend it and start again")
    except (SettingsError, SinkUnavailable, ValueError, OSError) as exc:
        sys.exit(f"alerts: {exc}")
