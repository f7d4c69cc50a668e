"""Judge of a run, by the contract's promise. It is asked with each step, and once at the end."""

from __future__ import annotations

from collections.abc import Callable, Collection

from tests.simulation.messages import Published, identity


class Broken(AssertionError):
    """A promise is broken. The text says which, and of what."""


class Oracle:
    """Knows what was published, and hears of all that leaves a queue and of all that is stored."""

    def __init__(self) -> None:
        self.obligations: dict[int, Published] = {}
        """Messages that RabbitMQ has confirmed, and that are not known to be decided."""
        self.published = 0
        self.events = 0
        self.excused: set[int] = set()
        """Messages that a bound has dropped, as the documents say, or somebody with their queue."""
        self._ids: set[str] = set()

    def asks(self, is_stored: Callable[[str], bool], is_parked: Callable[[int], bool]) -> None:
        """Ask these whether an event is stored, or a message parked."""
        self._is_stored, self._is_parked = is_stored, is_parked

    def publishes(self, message: Published) -> None:
        """Take note of a message before it is published."""
        self._ids.update(message.events)

    def confirmed(self, message: Published) -> None:
        """Take note that RabbitMQ has it."""
        self.published += 1
        self.events += len(message.events)
        self.obligations[message.number] = message

    def stored(self, event: str, data: bytes) -> None:
        """Judge a record. Raises Broken where nobody has published it."""
        if event not in self._ids or identity(data) != event:
            raise Broken(f"changed: the record {event} has bytes that nobody has published")

    def removed(self, message: Published, queue: str, how: str) -> None:
        """Judge that a message leaves a queue. Raises Broken where it is neither stored nor parked."""
        if how in ("dropped", "deleted"):
            self.excused.add(message.number)
        elif how == "acknowledged":
            if why := self.owed(message):
                raise Broken(f"lost: message {message.number} was acknowledged in {queue} and is {why}")
            self.obligations.pop(message.number, None)

    def owed(self, message: Published) -> str:
        """Return what a message is still owed, in a few words, or nothing."""
        if message.junk:
            return "" if self._is_parked(message.number) else "not parked"
        if message.poisoned and not self._is_parked(message.number):
            return "not parked, though an event of it was refused"
        missing = [one for one in message.events if one not in message.poisoned and not self._is_stored(one)]
        return f"not stored: {len(missing)} of {len(message.events)} events" if missing else ""

    def finish(self, waiting: Collection[str]) -> None:
        """Judge the end, when every fault is over and its time has passed. Raises Broken."""
        owing = [
            f"message {number} is {why}"
            for number, message in self.obligations.items()
            if number not in self.excused and (why := self.owed(message))
        ]
        if owing:
            raise Broken(f"held up: {len(owing)} messages, the first: {owing[0]}")
        if waiting:
            raise Broken(f"held up: {', '.join(waiting)}")
