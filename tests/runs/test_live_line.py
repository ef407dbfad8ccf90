"""The live line of a terminal of 80 columns: its bar keeps its width while the numbers beside it change."""

import io
import re
import sys
from types import SimpleNamespace

import numpy as np

from harness.runs.forecast import Forecast
from harness.runs.progress import CellProgress
from harness.training import Budget, Record
from harness.training.order import Passes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_of_a_narrow_terminal_keeps_its_width(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    plan, one = SimpleNamespace(passes=Passes(23, "keep", [(0, 1)])), np.zeros(1, dtype=int)
    with CellProgress(
        "digits B=512 η=0.1 mean", 0, 3, live=True, forecast=Forecast({"a": 12.0, "b": 9.0}), cell="a"
    ) as shown:
        for update, cost in ((1, 2.3614), (4, 0.72), (23, 0.0004524), (391, 1.271), (690, 0.2)):
            costs = np.array([cost])
            shown.show(plan, Budget(690), Record(update, 1.0, one, costs, costs, costs, [None]))
            shown.bar.refresh()
    frames = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", frame) for frame in re.split(r"\r|\n", terminal.getvalue())]
    drawn = [frame for frame in frames if " cost " in frame and " left" in frame]
    assert len(drawn) >= 5
    assert max(map(len, drawn)) <= 80
    assert len({len(re.findall("[━╸╺]", frame)) for frame in drawn}) == 1
