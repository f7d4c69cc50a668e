"""The arithmetic of the benchmarks: what is published, and what becomes of the samples."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from itertools import islice

import msgpack
import pytest

from benchmarks import backlog, workloads
from benchmarks.latency import percentile
from benchmarks.measure import Sample, span
from benchmarks.plan import SHORT, WHOLE, chosen
from benchmarks.tables import names, ratio, table
from benchmarks.workloads import LARGE, MSGPACK, SINGLE, Workload
from tests.support.oracle import Published

MAKERS = [workloads.singles, workloads.lists, workloads.mixed, workloads.large]


@pytest.mark.parametrize("make", MAKERS)
def test_every_event_of_a_workload_is_another(make: Callable[[int], Iterator[Published]]) -> None:
    """A sink that drops what it has would count too few otherwise; and there are as many as the workload says."""
    workload = Workload("", 500, make)
    messages = list(workload.published())
    values = [
        (msgpack.unpackb if one.properties["content_type"] == MSGPACK else json.loads)(one.body) for one in messages
    ]
    events = [event for value in values for event in (value if isinstance(value, list) else [value])]
    assert (500, workload.events) == (len(messages), len(events))
    assert workload.events == len({json.dumps(event, sort_keys=True) for event in events})


def test_events_have_the_size_they_should() -> None:
    """To the byte, whatever the number."""
    assert {SINGLE} == {len(one.body) for one in workloads.singles(1001)}
    assert {LARGE} == {len(one.body) for one in workloads.large(11)}


def test_frames_carry_the_whole_body() -> None:
    """A body larger than a frame is cut, and nothing of it is lost."""
    (message,) = workloads.large(1)
    method, header, *bodies = backlog.frames([message], 1, 8192)
    assert (1, 2) == (method[0], header[0])
    assert len(message.body) == struct.unpack_from(">Q", header, 11)[0]
    assert message.body == b"".join(frame[7:-1] for frame in bodies)
    assert {3} == {frame[0] for frame in bodies}
    assert 8192 == max(map(len, bodies))


def test_a_span_leaves_the_start_out() -> None:
    """It begins with the first sample that has a tenth of the backlog, or with the last but one."""
    samples = [Sample(0, 0, 1.0), Sample(1, 5, 1.5), Sample(2, 20, 2.0), Sample(4, 100, 3.0)]
    assert (2, 80, 1.0) == span(samples)
    assert (4, 100, 2.0) == span([samples[0], samples[-1]])


def test_ratios_are_taken_run_by_run() -> None:
    """The median of the pairs, also where one run is missing."""
    rates = {"a": [10, 30, 60], "b": [5, 10]}
    found = [{"contender": name, "run": run, "x": x} for name in rates for run, x in enumerate(rates[name])]
    assert 2.5 == ratio(found, "a", "b", "x")
    assert ["a", "b"] == names(found)


def test_percentiles() -> None:
    """The smallest value that so many per cent do not exceed."""
    values = [float(number) for number in range(1, 1001)]
    assert [500, 990, 999, 1000] == [percentile(values, point) for point in (50, 99, 99.9, 100)]
    assert 7 == percentile([7], 1)


def test_what_is_chosen() -> None:
    """Words choose whole races by key, or contenders by name; none chooses everything."""
    assert list(WHOLE) == chosen(WHOLE, "")
    assert ["tls", "latency"] == [item.key for item in chosen(WHOLE, "tls, latency")]
    assert {"redis"} == {one.sink for item in chosen(WHOLE, "into redis") for one in item.contenders}
    assert [] == chosen(SHORT, "nobody")


def test_a_table_is_markdown() -> None:
    """A head, a line that aligns, and rows of the same width."""
    lines = table([["what", "n"], ["apples", "12"]]).splitlines()
    assert ["| what   |   n |", "| ------ | --: |", "| apples |  12 |"] == lines


def test_workloads_are_made_one_by_one() -> None:
    """A backlog of large events is never in memory as a whole."""
    assert 3 == len(list(islice(workloads.large(10**9), 3)))
