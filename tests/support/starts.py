"""A bridge's command as a process, and a broker's URL for another user."""

from __future__ import annotations

import subprocess
from urllib.parse import urlsplit

from tests.support import oracle
from tests.support.bridges import run_to_end


def command(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return run_to_end("celery_event_bridge", *arguments, **settings)


def with_user(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{user}:{password}@{parts.hostname}:{parts.port}{parts.path}"


def publish(broker_url: str, count: int, first: int = 0) -> set[bytes]:
    connection = oracle.broker(broker_url)
    channel = connection.channel()
    channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
    connection.close()
    messages = oracle.numbered(first, count)
    oracle.publish(broker_url, messages)
    return {message.body for message in messages}
