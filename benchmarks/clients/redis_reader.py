"""Follows a Redis stream and tells when each event could be read."""

from __future__ import annotations

import re
import sys
import time

from redis import Redis

from benchmarks.clients.latencies import Latencies

ENTRY = re.compile(rb"\$\d+\r\n(\d+-\d+)\r\n\*")
"""Where an entry begins in a reply: its id, and then a list."""
LAST = b"+PONG\r\n"
AT_ONCE = 1 << 20
"""Bytes a read."""


def main() -> None:
    """Read until all is there."""
    url, stream, wanted, seconds = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3]), float(sys.argv[4])
    connection = Redis.from_url(url, protocol=2).connection_pool.get_connection()
    socket = connection._sock
    socket.settimeout(10)
    latencies, last = Latencies(wanted, seconds), b"0-0"
    while not latencies.complete:
        # A reply is taken as it comes: a client's parser takes ten times as long, on the same cores. PING ends it.
        words = [b"XREAD", b"COUNT", b"1000", b"BLOCK", b"500", b"STREAMS", stream, last]
        socket.sendall(_command(words) + _command([b"PING"]))
        reply = b""
        while not reply.endswith(LAST):
            reply += socket.recv(AT_ONCE)
        latencies.add(reply, time.time())
        for found in ENTRY.finditer(reply):
            last = found[1]
    latencies.report()


def _command(words: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


if __name__ == "__main__":
    main()
