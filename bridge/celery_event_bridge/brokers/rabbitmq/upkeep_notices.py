"""Notices on the exchange, the queues and what comes through them: see `Upkeep`, which finds it out."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from celery_event_bridge.contract import notices

A_DAY = 86_400.0
_STOP = "stop this bridge, and start it with the BRIDGE_QUEUE of the new one"


class UpkeepNotices:
    """Tells of one exchange and the queues of one bridge."""

    def __init__(self, exchange: str, live: str) -> None:
        self._exchange = exchange
        self._live = live

    def gap(self, why: str) -> None:
        """Tell that events may have passed by."""
        text = f"gap on the way from exchange {self._exchange!r} to queue {self._live!r}: {why}"
        notices.tell("gap", text, subject=self._live, every=1.0)

    def silence(self, seconds: float) -> None:
        """Tell of a silence that a removed binding may explain, and chance as well."""
        notices.tell(
            "silence",
            f"no event came for {seconds:.1f} s, and the first one right after the binding of queue {self._live!r} to "
            f"exchange {self._exchange!r} was declared again: perhaps somebody had removed it, perhaps nothing was "
            "published; with BRIDGE_MANAGEMENT_URL it is known",
            subject=self._live,
            level=logging.INFO,
        )

    def missing(self, names: Sequence[str], seen: Collection[str], *, parking: str) -> None:
        """Tell of queues that were missing and are declared; `seen`: those that had been there."""
        for name in names:
            if name in seen:
                notices.tell(
                    "queue-made",
                    f"queue {name!r} was there before, was deleted, and is declared anew; what it held is gone: "
                    "did somebody, or a policy with `expires`, remove it?",
                    subject=name,
                )
            else:
                text = f"queue {name!r} was not there and is declared"
                notices.tell("queue-declared", text, subject=name, level=logging.INFO)
        lost = [name for name in names if name in seen and name != parking]
        if self._live in lost:
            self.gap("the queue itself was gone, and events published meanwhile too")
        elif lost:
            self.gap(f"queue {lost[0]!r} was gone, and the events that waited in it too")

    def moving(self, *, is_so: bool) -> None:
        """Tell of a migration that takes our queue, or that there is none any more."""
        if not is_so:
            notices.over("moved", f"queue {self._live!r} is no longer moved to another name", subject=self._live)
            return
        notices.tell(
            "moved",
            f"queue {self._live!r} is moved to one of another name by `queues migrate`; events come to that one too, "
            f"so that none is lost: {_STOP}",
            subject=self._live,
        )

    def moved(self) -> None:
        """Tell of queues that a migration has removed."""
        notices.tell(
            "moved",
            f"queue {self._live!r} was removed by `queues migrate`, which has moved what it held to the queue of "
            "another name that events reach since then, so that none is lost; it is declared anew, and events come "
            f"to both: {_STOP}, and say `queues migrate` again",
            subject=f"{self._live} is gone",
        )

    def absent(self, name: str, *, declares: bool) -> None:
        """Tell, once a minute, of a queue that is not there and is not declared by this bridge."""
        why = "this user may not declare it" if declares else "BRIDGE_DECLARE=false expects it to be there"
        notices.tell(
            "queue-missing",
            f"queue {name!r} is not there, and {why}: declare it with `queues declare`, as a user who may; live events "
            "are stored meanwhile",
            subject=name,
        )

    def present(self, name: str) -> None:
        """Tell that it is there by now."""
        notices.over("queue-missing", f"queue {name!r} is there", subject=name)

    def replaced(self, name: str) -> None:
        """Tell of a queue that somebody has deleted and declared."""
        text = f"queue {name!r} was deleted and declared anew by somebody: what it held is gone"
        notices.tell("queue-made", text, subject=name)
        if name == self._live:
            self.gap("the queue was deleted and declared anew, and what was published before it was bound is gone")

    def standstill(self, seconds: float) -> None:
        """Say once that nothing comes."""
        notices.tell(
            "no-events",
            f"no event has come through exchange {self._exchange!r} into queue {self._live!r} for "
            f"{seconds:.0f} s: do workers run, and with -E (worker_send_task_events), and is BRIDGE_EVENT_EXCHANGE "
            "what Celery's event_exchange says?",
            subject=self._live,
            every=A_DAY,
        )

    def come_again(self, seconds: float) -> None:
        """Say that it is over."""
        notices.over("no-events", f"events come again, after {seconds:.0f} s", subject=self._live)
