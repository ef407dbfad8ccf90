"""The clock of training does not count the time in which the process was stopped."""

import os
import signal
import subprocess
import sys
import time

import pytest

from harness.training.clock import Clock

STOPPED = 0.6  # seconds


@pytest.mark.skipif(not hasattr(signal, "SIGCONT"), reason="processes are not stopped here")
def test_stopped_seconds_are_not_counted():
    clock, noticed = Clock(), signal.signal(signal.SIGCONT, lambda number, frame: Clock.count_stop())
    begun = time.perf_counter()
    wake = f"import os, time; time.sleep({STOPPED}); os.kill({os.getpid()}, {int(signal.SIGCONT)})"
    try:
        with subprocess.Popen([sys.executable, "-c", wake]), clock:
            os.kill(os.getpid(), signal.SIGSTOP)
            while time.thread_time() < 0:  # a signal is seen at a jump backwards
                pass
    finally:
        signal.signal(signal.SIGCONT, noticed)
    assert time.perf_counter() - begun > STOPPED
    assert clock.seconds < STOPPED / 2


def test_all_other_seconds_are():
    clock = Clock()
    with clock:
        time.sleep(0.05)
    assert clock.seconds >= 0.05
