"""Bounded decompression of a message body, by the names that kombu gives its methods in the header `compression`.

kombu's own has no bound, so a body of a few kilobytes could fill the memory.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any

LZMA_MEMORY = 128 * 2**20
"""Bytes that a decompressor may take for what a body's header says of itself; xz needs 65 MiB at its highest level."""
_METHODS: dict[str, Callable[[], Any]] = {
    "application/x-gzip": lambda: zlib.decompressobj(zlib.MAX_WBITS | 32),
    "application/x-bz2": bz2.BZ2Decompressor,
    "application/x-lzma": lambda: lzma.LZMADecompressor(memlimit=LZMA_MEMORY),
}


class NotDecompressed(Exception):
    """The body is not what its header says, or too large when decompressed, or by a method unknown here."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason
        """`compression` or `too-large`."""


def decompress(body: bytes, method: object, max_bytes: int) -> bytes:
    """Return the decompressed body, of `max_bytes` at most. Raises NotDecompressed."""
    start = _METHODS.get(method) if isinstance(method, str) else None
    if start is None:
        raise NotDecompressed("compression", f"compressed by {str(method)[:80]!r}, which is none of {sorted(_METHODS)}")
    decompressor = start()
    try:
        data: bytes = decompressor.decompress(body, max_bytes + 1)
    except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError) as exc:
        raise NotDecompressed("compression", f"not what its header `compression` says ({method}): {exc}") from exc
    if len(data) > max_bytes:
        raise NotDecompressed("too-large", f"over {max_bytes} bytes when decompressed")
    if not decompressor.eof or decompressor.unused_data:
        raise NotDecompressed("compression", f"the {method} data ends too early, or is followed by something else")
    return data
