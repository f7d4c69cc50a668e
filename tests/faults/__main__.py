"""A campaign: `python -m tests.faults --seconds 600 --seed 1 --sink redis`. Exits 1 if a guarantee does not hold."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.campaign import LATE, Campaign, cards_for, dealt, named
from tests.faults.stage import stage


def main() -> int:
    """Run a campaign; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Break things; count what is lost.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--sink", choices=["sqlite", "redis", "kafka"], default="redis")
    parser.add_argument("--only", default="", help="a part of the names of the faults to deal")
    parser.add_argument("--card", action="append", default=[], help="a fault's name; if given, in this order")
    parser.add_argument("--times", type=int, default=1, help="how often to play the faults that --card names")
    parser.add_argument("--late", type=float, default=LATE, help="seconds to wait for what is missing at the end")
    parser.add_argument("--nodes", type=int, choices=[1, 3], default=1, help="of RabbitMQ")
    options = parser.parse_args()
    cards = cards_for(options.sink, options.only, options.nodes)
    folder = Path(tempfile.mkdtemp(prefix="celery-event-bridge-faults-"))
    print(f"seed {options.seed}, sink {options.sink}, {len(cards)} kinds of fault, logs in {folder}", flush=True)
    with stage(options.sink, folder, options.nodes) as on:
        campaign = Campaign(on, options.seed)
        campaign.play(named(cards, options.card) * options.times or dealt(cards, campaign.dice, options.seconds))
        verdict = campaign.verdict(options.late)
        good = campaign.holds(verdict)
    print(
        f"seed {options.seed}, sink {options.sink}: {campaign.played.total()} faults, "
        f"consuming again after {campaign.slowest:.1f} s at most; {verdict}"
    )
    if good:
        shutil.rmtree(folder, ignore_errors=True)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
