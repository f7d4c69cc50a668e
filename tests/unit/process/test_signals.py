"""Stops by signal, where nothing of Python's can run."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.servers.debian import PATIENCE

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
