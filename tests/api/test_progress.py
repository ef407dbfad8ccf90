"""The line that shows how far a sweep from Python is: in a terminal, in a notebook, and nowhere else."""

import io
import sys

import pytest

import harness

SMALL = {"dataset": "iris", "epochs": 3, "seeds": 2}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(written: str) -> list[str]:
    return [line for line in written.replace("\r", "\n").split("\n") if "cell " in line]


def test_a_terminal_shows_the_cell_of_how_many_its_epoch_and_cost(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    harness.sweep({"batch_size": [8, 64]}, **SMALL)
    shown = lines(terminal.getvalue())
    assert "cell 1/2" in shown[0]
    assert "cell 2/2" in shown[-1]
    assert "iris B=64 η=0.1 mean  epoch 3  cost" in shown[-1]


def test_a_notebook_shows_it_as_plain_text(monkeypatch, capsys):
    """Which needs no widgets."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    harness.train(**SMALL)
    written = capsys.readouterr()
    assert "iris B=64 η=0.1 mean  epoch 3  cost" in lines(written.out)[-1]
    assert written.err == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_the_line_ends_with_an_exception(monkeypatch, error):
    from rich.progress import Progress

    from harness.runs.progress import SweepProgress

    stopped = []
    monkeypatch.setattr(Progress, "stop", lambda bar: stopped.append(bar))
    monkeypatch.setattr(SweepProgress, "show", lambda *_: (_ for _ in ()).throw(error))
    with pytest.raises(error):
        harness.train(**SMALL)
    assert len(stopped) == 1
