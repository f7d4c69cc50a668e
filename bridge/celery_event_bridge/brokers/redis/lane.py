"""Events of a window, or of others' files, that were handed out to be forwarded."""

from __future__ import annotations

from collections import deque

import msgspec

from celery_event_bridge.brokers.envelope import Heard


class Lane(msgspec.Struct, eq=False):
    """Events that were handed out, in the order of their numbers, and are not confirmed."""

    queue: deque[Heard] = msgspec.field(default_factory=deque)
    singly: set[int] = msgspec.field(default_factory=set)
    """Numbers of those that are confirmed, while one before them is not."""

    def acknowledge(self, tag: int, *, multiple: bool) -> None:
        """Let go of one, or of all up to it."""
        queue, singly = self.queue, self.singly
        if multiple:
            while queue and queue[0].tag <= tag:
                singly.discard(queue.popleft().tag)
        else:
            singly.add(tag)
        while queue and queue[0].tag in singly:
            singly.discard(queue.popleft().tag)
        if not queue:
            singly.clear()
