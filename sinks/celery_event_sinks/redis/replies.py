"""The replies to many `XADD`, read in bulk. Nearly all are ids of entries, which a regular expression finds.

Pure: bytes in, replies out.
"""

from __future__ import annotations

import re

_ids = re.compile(rb"(?:\$\d+\r\n\d+-\d+\r\n)+").match
_each_id = re.compile(rb"\$\d+\r\n(\d+-\d+)\r\n").findall


class NoReply(Exception):
    """Something that is no answer to an `XADD`. The text is what it was."""


class EntryReplies:
    """Replies, as they come: bytes for the id of an entry, text for an error."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, received: bytes) -> list[bytes | str]:
        """The replies that are whole now. Raises NoReply; what follows on this connection nobody can tell."""
        replies: list[bytes | str] = []
        buffer = self._buffer + received
        at = 0
        while at < len(buffer):
            if found := _ids(buffer, at):
                replies += _each_id(buffer, at, found.end())
                at = found.end()
                continue
            end = buffer.find(b"\r\n", at)
            if end < 0:
                break
            line = buffer[at:end]
            if line[:1] == b"-":
                replies.append(line[1:].decode(errors="replace"))
                at = end + 2
            elif line[:1] == b"$" and line[1:].isdigit() and len(buffer) < end + 4 + int(line[1:]):
                break
            else:
                raise NoReply(repr(buffer[at : at + 100]))
        self._buffer = buffer[at:]
        return replies
