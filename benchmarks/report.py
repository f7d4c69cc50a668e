"""The page of documentation, made of raw figures and of the text in page.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

from benchmarks.contenders import NAMES, OURS
from benchmarks.pictures import picture
from benchmarks.tables import names, ratio, summary, table

PAGE = Path(__file__).with_name("page.md")


def write(results: dict[str, Any], folder: Path) -> None:
    """`benchmarks.md` in that folder, and beside it `benchmarks/` with the pictures and the raw figures."""
    beside = folder / "benchmarks"
    beside.mkdir(parents=True, exist_ok=True)
    for old in beside.glob("*.svg"):
        old.unlink()
    for race in results["races"]:
        if race["found"]:
            (beside / f"{race['key']}.svg").write_text(picture(race))
    (beside / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "benchmarks.md").write_text(page(results))


def page(results: dict[str, Any]) -> str:
    """The whole page."""
    on = results["machine"]
    return Template(PAGE.read_text()).substitute(
        taken=results["taken"],
        runs=results["runs"],
        machine=f"{on['cores']} cores of {on['processor']}, {on['memory_bytes'] / 2**30:.1f} GiB, {on['system']}",
        disk=on["disk"],
        load=f"{on['load_before']:.2f}",
        versions=table([["what", "version"], *([name, text] for name, text in results["versions"].items())]),
        races="\n\n".join(_sections(results)),
    )


def _sections(results: dict[str, Any]) -> Iterator[str]:
    for race in results["races"]:
        if not race["found"]:
            continue
        yield f"## {race['title']}"
        yield f"![{race['title']}](benchmarks/{race['key']}.svg)"
        yield _size(race)
        yield summary(race)
        if "rate" not in race and (pairs := list(_pairs(race))):
            yield "\n".join(pairs)
    for line in results["failed"] + results["missing"]:
        yield f"Not measured: {line.splitlines()[0]}"


def _size(race: dict[str, Any]) -> str:
    if "rate" in race:
        return f"{race['rate']:,} single events a second for {race['seconds']:g} seconds; the first one does not count."
    return f"A backlog of {race['messages']:,} messages with {race['events']:,} events."


def _pairs(race: dict[str, Any]) -> Iterator[str]:
    """A line for each sink that both bridges store into."""
    there = names(race["found"])
    whole = "" if race["events"] == race["messages"] else ", which leaves lists whole"
    for sink in NAMES.values():
        own = f"{OURS} into {sink}"
        for how in ("", ", tuned"):
            if own in there and (other := f"mq-bridge into {sink}{how}") in there:
                rate, cpu = (ratio(race["found"], own, other, key) for key in ("events_per_second", "cpu_microseconds"))
                beside = f"mq-bridge{how}{whole}"
                yield f"- {sink}: {rate:.2f} times the events/s of {beside}, {cpu:.2f} times its CPU an event"
