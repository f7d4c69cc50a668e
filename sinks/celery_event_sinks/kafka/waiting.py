"""Events that librdkafka does not have: not handed over yet, or to be handed over once more."""

from __future__ import annotations

from collections import deque

from celery_event_bridge.contract import Event


class Waiting:
    """The queues of one sink, each in order."""

    def __init__(self) -> None:
        self.unsent: deque[Event] = deque()
        """Taken over, and not handed to librdkafka yet: its queue was full."""
        self.suspects: deque[Event] = deque()
        """To be sent alone, since the batch in which they went was refused as a whole."""
        self.again: deque[Event] = deque()
        """To be sent again as they are: refused for another one in their batch."""
        self.late: deque[Event] = deque()
        """Refused for their time, which the topic took at the last look: to be sent with the time of now."""
        self.dated_now: set[Event] = set()
        """Sent so, and not decided."""

    def __bool__(self) -> bool:
        return bool(self.unsent or self.suspects or self.again or self.late)

    def take_all(self) -> list[Event]:
        """Take all; none waits then."""
        events = [*self.suspects, *self.again, *self.late, *self.unsent]
        for queue in (self.unsent, self.suspects, self.again, self.late, self.dated_now):
            queue.clear()
        return events
