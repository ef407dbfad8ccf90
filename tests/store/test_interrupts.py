"""Signals that come at a bad moment: during a write, during a callback of the interpreter, twice."""

import gc
import os
import signal
import weakref
from contextlib import suppress

import pytest

from harness.store.interrupts import Interrupted, Interrupts, when_continued


def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_unwinds_with_its_exit_code(number, code):
    before = signal.signal(number, signal.SIG_DFL)  # the tests themselves may run after `nohup`
    try:
        with Interrupts(), pytest.raises(SystemExit) as stop:
            send(number)
    finally:
        signal.signal(number, before)
    assert stop.value.code == code


def test_a_signal_that_a_library_swallowed_stops_the_next_work():
    """As an import that catches everything; the context of a later command knows nothing of it."""
    interrupts = Interrupts()
    with interrupts:
        with suppress(BaseException):
            send()
        with pytest.raises(Interrupted) as stop, interrupts:
            pytest.fail("work began")
        assert stop.value.code == interrupts.exit_code == 143
    with interrupts, interrupts:
        assert interrupts.exit_code == 0


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_hangup_that_is_ignored_stays_ignored():
    """As after nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts():
            send(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_going_on_after_a_stop_is_noticed():
    noticed = []
    with when_continued(lambda: noticed.append(True)):
        send(signal.SIGCONT)
    send(signal.SIGCONT)
    assert noticed == [True]


def write_while_interrupted(interrupts, done):
    with interrupts.deferred():
        with interrupts.deferred():
            send()
            done.append("inner")
        done.append("outer")


def test_a_write_is_finished_first():
    interrupts, done = Interrupts(), []
    with interrupts, pytest.raises(SystemExit):
        write_while_interrupted(interrupts, done)
    assert done == ["inner", "outer"]


def test_work_that_may_take_long_is_finished_unless_a_second_signal_comes():
    interrupts, done = Interrupts(), []

    def work(n_signals):
        with interrupts.deferred(unless_repeated=True):
            for n in range(n_signals):
                with interrupts.deferred():
                    send()
                    done.append((n_signals, n))
            done.append((n_signals, "end"))

    with interrupts:
        with pytest.raises(SystemExit):
            work(1)
        with pytest.raises(SystemExit):
            work(1)
    assert done == [(1, 0), (1, "end"), (1, 0)]


def test_while_unwinding_nothing_is_raised_again():
    interrupts = Interrupts()
    with interrupts:
        with pytest.raises(SystemExit):
            send()
        interrupts.check()
        with interrupts.deferred():
            pass


def test_a_second_signal_is_raised_again():
    with Interrupts():
        for _ in range(2):
            with pytest.raises(SystemExit):
                send()


class Cell:
    """Something that can be referred to weakly."""


def test_a_signal_during_a_callback_is_raised_at_the_next_check(capsys):
    """Python cannot raise out of a weak reference's callback: it reports the exception and drops it."""
    interrupts, gone = Interrupts(), []
    with interrupts:
        cell = Cell()
        reference = weakref.ref(cell, lambda _: (gone.append(True), send()))
        del cell
        gc.collect()
        assert gone
        assert reference() is None
        with pytest.raises(SystemExit):
            interrupts.check()
    assert capsys.readouterr().err == ""
