"""Faults in simulated worlds: `python -m tests.simulation [--seconds 60] [--seed 1] [--world contract] [--plays 1]`."""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from tests.simulation.kinds import KINDS
from tests.simulation.run import Played, play, plays, shrunk

SHRINKS_FOR = 60.0
"""Seconds that a failing schedule is made shorter for."""
SHOWN = 120
"""Lines of the trace of a failure that are drawn."""


def main() -> int:
    """Play, and return the exit code: 1 where a promise is broken."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description="Simulate faults; see what is lost."
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to play, in real seconds (60)")
    parser.add_argument("--seed", type=int, help="the first seed; each play takes the next one (drawn, and printed)")
    parser.add_argument("--world", default="all", help=f"all, or of {', '.join(KINDS)}, by commas")
    parser.add_argument("--plays", type=int, help="how many at most; with 1, the trace of that seed is drawn")
    parser.add_argument("--as-found", action="store_true", help="do not make a failing schedule shorter")
    options = parser.parse_args()
    kinds = [*KINDS] if options.world == "all" else options.world.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"no world is called {unknown[0]}: there are {', '.join(KINDS)}")
    seed = secrets.randbelow(10**9) if options.seed is None else options.seed
    print(f"from seed {seed} on, in {', '.join(kinds)}", flush=True)
    if options.plays == 1:
        done, one = play(kinds[0], str(seed))
        print(one.world.trace.picture(10**6))
        return _failed(done, 0.0) if done.failure else _passed([done], 0.0)
    began, all_done = time.monotonic(), []
    for done in plays(kinds, seed, options.seconds, most=options.plays):
        all_done.append(done)
        if done.failure:
            return _failed(done, 0.0 if options.as_found else SHRINKS_FOR)
    return _passed(all_done, time.monotonic() - began)


def _passed(done: list[Played], seconds: float) -> int:
    faults, hours = sum(one.faults for one in done), sum(one.simulated for one in done) / 3600
    rate = f", {faults / seconds:,.0f} faults a second" if seconds else f", trace {done[0].digest}"
    messages = sum(one.messages for one in done)
    print(f"{len(done)} plays: {faults:,} faults, {messages:,} messages, {hours:.1f} simulated hours: 0 broken{rate}")
    return 0


def _failed(done: Played, shrinks_for: float) -> int:
    print(f"seed {done.seed} in the world {done.kind}: {done.failure}", flush=True)
    if not shrinks_for:
        return 1
    cards, best, one = shrunk(done, shrinks_for)
    print(one.world.trace.picture(SHOWN))
    print(f"the shortest schedule that was found has {len(cards)} of {done.faults} faults:")
    for card in cards:
        print(f"  {card.at:8.4f} s  {card.name} (who {card.who:.3f}, how much {card.much:.3f})")
    print(f"{best.failure.splitlines()[0]}")
    print(f"again: make simulate SEED={done.seed} WORLD={done.kind} PLAYS=1")
    return 1


if __name__ == "__main__":
    sys.exit(main())
