"""Replies to many `XADD`, read in bulk by hiredis. Pure: bytes in, replies out."""

from __future__ import annotations

from typing import Any

import hiredis

_NOT_WHOLE = object()
_DIGITS = b"0123456789"


class NoReply(Exception):
    """Something that is no answer to an `XADD`. The text is what it was."""


class _Failed(Exception):
    """Error that Redis has answered with."""


class EntryReplies:
    """Replies, as they come: bytes for the id of an entry, text for an error."""

    def __init__(self, passed_over: bytes | None = None) -> None:
        """`passed_over`: a reply to something else than an entry, which may come between them."""
        self._passed_over = passed_over
        self._replies = hiredis.Reader(
            protocolError=NoReply, replyError=_Failed, notEnoughData=_NOT_WHOLE, errors="replace"
        )

    def feed(self, received: bytes) -> list[bytes | str]:
        """Return the replies that are whole now. Raises NoReply; what follows on this connection nobody can tell."""
        self._replies.feed(received)
        replies: list[Any] = list(iter(self._replies.gets, _NOT_WHOLE))
        if self._passed_over is not None:
            replies = [reply for reply in replies if reply != self._passed_over]
        try:
            # All at once: a look at each costs more than hiredis does.
            if b",".join(replies).translate(None, _DIGITS) == b",".join([b"-"] * len(replies)):
                return replies
        except TypeError:
            pass  # there are others among them
        return [_checked(reply) for reply in replies]


def _checked(reply: Any) -> bytes | str:
    if isinstance(reply, bytes) and reply.translate(None, _DIGITS) == b"-":
        return reply
    if isinstance(reply, _Failed):
        return str(reply)
    raise NoReply(repr(reply)[:100])
