"""What the harness asks of a consumer that speaks through kombu: where, which queue, and whom to tell how many."""

from __future__ import annotations

import argparse

from kombu import Connection

from benchmarks.clients.counter import Counter
from benchmarks.clients.tls import verified_by


def asked() -> tuple[Connection, str, memoryview]:
    """The broker, the queue's name, and the cell to count in, by the command line."""
    parser = argparse.ArgumentParser()
    for name in ("url", "queue", "counter"):
        parser.add_argument(name)
    parser.add_argument("--ca")
    options = parser.parse_args()
    return Connection(options.url, ssl=verified_by(options.ca)), options.queue, Counter(options.counter).cell
