"""Receives and counts, and does nothing else: how fast RabbitMQ delivers on this machine, to whoever it may be.

py-amqp shakes hands. Then this reads as much as there is, counts deliveries by the bytes that each one starts with, and
acknowledges all so far. It parses no frame, so it cannot be beaten by much.
"""

from __future__ import annotations

import argparse
import secrets
import struct
from urllib.parse import unquote, urlsplit

import amqp

from benchmarks.clients.counter import Counter

PREFETCH = 10_000
ACKNOWLEDGE = 2_000
AT_ONCE = 1 << 20
"""Bytes a read."""
BASIC, DELIVER, ACK = 60, 60, 80
METHOD, MULTIPLE, END = 1, 1, b"\xce"


def main() -> None:
    """Receive until killed."""
    parser = argparse.ArgumentParser()
    for name in ("url", "queue", "counter"):
        parser.add_argument(name)
    options = parser.parse_args()
    cell = Counter(options.counter).cell
    parts = urlsplit(options.url)
    connection = amqp.Connection(
        f"{parts.hostname}:{parts.port}", parts.username, parts.password, virtual_host=unquote(parts.path[1:])
    )
    connection.connect()
    channel = connection.channel()
    channel.basic_qos(0, PREFETCH, False)
    # A tag that no body contains, so that it marks the beginning of a delivery.
    tag = secrets.token_hex(8)
    channel.basic_consume(options.queue, consumer_tag=tag)
    mark = struct.pack(">HHB", BASIC, DELIVER, len(tag)) + tag.encode()
    socket = connection.sock
    socket.settimeout(None)
    rest, seen, acknowledged = b"", 0, 0
    while received := socket.recv(AT_ONCE):
        data = rest + received
        seen += data.count(mark)
        # Too short to hold a whole mark that was counted already.
        rest = data[1 - len(mark) :]
        cell[0] = seen
        if seen - acknowledged >= ACKNOWLEDGE:
            acknowledged = seen
            arguments = struct.pack(">HHQB", BASIC, ACK, seen, MULTIPLE)
            socket.sendall(struct.pack(">BHI", METHOD, channel.channel_id, len(arguments)) + arguments + END)


if __name__ == "__main__":
    main()
