"""Stops by signal, where nothing of Python's can run."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.servers.debian import PATIENCE, until

STUCK = """
import ctypes
from celery_event_bridge.process.signals import stopping

def cut_off():
    print("cut off", flush=True)

libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(256)
with stopping(lambda: None, 0.1, cut_off):
    print("stuck", flush=True)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)  # no signal ends this one, as none ends a look-up of a name
"""


@pytest.fixture
def stuck() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert "stuck\n" == process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_a_call_that_no_signal_ends_is_cut_off(stuck: subprocess.Popen[str]) -> None:
    """Python's handler does not run while its main thread is in the library: the stop is watched without it."""
    stuck.send_signal(signal.SIGTERM)
    assert 0 == stuck.wait(10 * PATIENCE)
    assert stuck.stdout is not None
    assert "cut off\n" == stuck.stdout.read()


def test_a_second_signal_ends_a_call_that_no_signal_ends(stuck: subprocess.Popen[str]) -> None:
    """At once, with the code of that signal; whichever thread sees to it."""
    stuck.send_signal(signal.SIGTERM)
    stuck.send_signal(signal.SIGINT)
    assert 128 + signal.SIGINT == stuck.wait(10 * PATIENCE) or stuck.returncode == 128 + signal.SIGTERM


TWICE = """
import os, signal, sys, threading
from celery_event_bridge.process.signals import stopping

asked = threading.Event()
with stopping(asked.set, 60.0):
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.is_set()
    print("asked", flush=True)
    sys.stdin.readline()
print("ended by itself", flush=True)
"""


@pytest.fixture
def twice() -> Iterator[subprocess.Popen[str]]:
    """A process that has been sent the same signal again before it could do anything about it."""
    command = [sys.executable, "-c", TWICE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_signal_that_is_sent_to_the_process_and_to_its_group_is_one(twice: subprocess.Popen[str]) -> None:
    """GNU `timeout` sends it so, within a moment: what is in hand is finished, and the last line is logged."""
    assert twice.communicate("\n", 10 * PATIENCE) == ("asked\nended by itself\n", None)
    assert 0 == twice.returncode


def test_the_same_signal_sent_later_ends_it(twice: subprocess.Popen[str]) -> None:
    """A person who presses Ctrl-C again means it."""
    assert twice.stdout is not None
    assert "asked\n" == twice.stdout.readline()

    def sent() -> bool:
        twice.send_signal(signal.SIGTERM)
        return twice.poll() is not None

    until(sent, 10 * PATIENCE, "it has ended")
    assert 128 + signal.SIGTERM == twice.returncode
