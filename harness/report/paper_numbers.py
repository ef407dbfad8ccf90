"""The numbers of a paper: each a macro of LaTeX that is used wherever the number stands, with the runs it came from."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from harness.config import visible
from harness.inference import Interval
from harness.report.booktabs import cell_text
from harness.report.latex import escaped, short_name, tex_number

RUN_DIGITS = 8  # of a run's id, in the table


class Number(NamedTuple):
    """name: of the macro. what: it is, in words. runs: ids of the cells or of the sweeps that it was computed from."""

    name: str
    value: float
    what: str
    runs: tuple[str, ...]


class Numbers:
    """Collects numbers; `put` returns how LaTeX uses one."""

    def __init__(self) -> None:
        self._found: dict[str, Number] = {}

    def __iter__(self) -> Iterator[Number]:
        return iter(self._found.values())

    def put(self, name: str, value: float, what: str, runs: Sequence[str]) -> str:
        """The macro of a number; empty for one that does not exist."""
        if np.isnan(value):
            return ""
        number = Number(name, float(value), visible(what), tuple(runs))
        if self._found.setdefault(name, number) != number:  # never one name for two numbers
            number = number._replace(name=name + short_name(visible(f"{what} {value} {runs}"))[-6:])
            self._found[number.name] = number
        return rf"\{number.name}{{}}"

    def interval(self, name: str, value: Interval, what: str, runs: Sequence[str], limits: str = "limit") -> str:
        """0.5 [0.4, 0.6], of three macros; without limits where there are none."""
        text = self.put(name, value.estimate, what, runs)
        low = self.put(f"{name}Low", value.low, f"{what}: lower {limits}", runs)
        high = self.put(f"{name}High", value.high, f"{what}: upper {limits}", runs)
        return f"{text} {{[}}{low}, {high}{{]}}" if low and high else text

    def macros(self) -> str:
        """Their definitions, each followed by the number in full, what it is, and its runs."""
        return "".join(
            f"\\newcommand{{\\{n.name}}}{{{tex_number(n.value)}}}% {n.value!r}: {n.what}; {_source(n.runs)}\n"
            for n in self
        )

    def table(self) -> str:
        """All macros with their numbers and runs, over as many pages as they take."""
        rows = "\n".join(rf"{_shown(n.name)} & \{n.name}{{}} & {cell_text(n.what)} & {_ids(n.runs)} \\" for n in self)
        return rf"""{{\footnotesize\setlength{{\tabcolsep}}{{4pt}}
\begin{{longtable}}{{@{{}}>{{\raggedright\arraybackslash}}p{{2.4in}}l>{{\raggedright\arraybackslash}}p{{2.35in}}>{{\raggedright\arraybackslash}}p{{0.95in}}@{{}}}}
\toprule
macro & number & what it is & computed from \\
\midrule
\endhead
\bottomrule
\endfoot
{rows}
\end{{longtable}}}}
"""


def _source(runs: Sequence[str]) -> str:
    return f"run{'s' if len(runs) > 1 else ''} {' '.join(runs)}"


def _ids(runs: Sequence[str]) -> str:
    return ", ".join(rf"\texttt{{{escaped(run[:RUN_DIGITS])}}}" for run in runs)


def _shown(name: str) -> str:
    """A macro as an author types it; it may break before its capital letters."""
    letters = "".join(rf"\allowbreak{{}}{sign}" if sign.isupper() else sign for sign in name)
    return rf"\texttt{{\ensuremath{{\backslash}}{letters}}}"
