"""Tables of booktabs over both columns of a page: as many pages as their rows take, every text short enough for one."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from harness.report.latex import cut, escaped

FLOATS, CLEAR = 6, "\\clearpage\n"
LINES = 50  # of a table and its caption on one page
IN_CAPTION, IN_HEADING, IN_CELL = 800, 300, 240  # letters that are shown of a text
PER_LINE, PER_INCH = 95, 12  # letters of a line over both columns, and of an inch of a column
NOT_SHOWN = re.compile(r"\\(allowbreak|ensuremath)|[\\{}]")

Row = Sequence[str] | str  # cells, or a heading over all columns


def caption_text(text: str) -> str:
    """The text of a caption: of a long one both ends."""
    return escaped(cut(text, IN_CAPTION))


def cell_text(text: object) -> str:
    """The text of a cell of a table, which may have several lines."""
    return escaped(cut(str(text), IN_CELL))


def tables(name: str, caption: str, columns: Sequence[str], header: Sequence[str], rows: Sequence[Row]) -> str:
    """A table, which goes on on the next page where it is too long for one; empty without rows.

    columns: of LaTeX, `l`, `r` or the width of a column whose texts are wrapped, as 1.2in. Caption and cells are LaTeX.
    """
    spec = "".join(one if len(one) == 1 else rf">{{\raggedright\arraybackslash}}p{{{one}}}" for one in columns)
    head = " & ".join(map(escaped, header))
    label, bodies = rf"\label{{tab:{name}}}", _pages(rows, columns, LINES - _lines(caption, PER_LINE))
    ends = (label if i == 0 else " (continued)" for i in itertools.count())
    return flushed(_table(f"{caption}{end}", spec, head, body) for end, body in zip(ends, bodies, strict=False))


def flushed(floats: Iterable[str]) -> str:
    """Floats with a new page after some of them: LaTeX holds no more than so many back."""
    return "\n".join(f"{one}{'' if i % FLOATS else CLEAR}" for i, one in enumerate(floats, 1))


def _table(caption: str, columns: str, head: str, body: str) -> str:
    return rf"""\begin{{table*}}
\caption[]{{\raggedright {caption}}}
\centering\footnotesize\setlength{{\tabcolsep}}{{4pt}}
\begin{{tabular}}{{@{{}}{columns}@{{}}}}
\toprule
{head} \\
\midrule
{body}
\bottomrule
\end{{tabular}}
\end{{table*}}
"""


def _pages(rows: Sequence[Row], columns: Sequence[str], most: int) -> Iterator[str]:
    """Rows with so many lines together."""
    page, lines = list[str](), 0
    for row in rows:
        own = _height(row, columns)
        if page and lines + own > most:
            yield "\n".join(page)
            page, lines = [], 0
        page.append(_row(row, len(columns)))
        lines += own
    if page:
        yield "\n".join(page)


def _height(row: Row, columns: Sequence[str]) -> int:
    """Lines that a row takes."""
    if isinstance(row, str):
        return _lines(row, PER_LINE)
    wrapped = [(text, width) for text, width in zip(row, columns, strict=True) if len(width) > 1]
    return max((_lines(text, PER_INCH * float(width.removesuffix("in"))) for text, width in wrapped), default=1)


def _lines(text: str, letters: float) -> int:
    return max(1, int(-(-len(NOT_SHOWN.sub("", text)) // letters)))


def _row(row: Row, n_columns: int) -> str:
    if isinstance(row, str):
        return rf"\multicolumn{{{n_columns}}}{{@{{}}p{{0.9\textwidth}}@{{}}}}{{\raggedright\itshape {row}}} \\"
    return " & ".join(row) + r" \\"


def with_headings(rows: Iterable[tuple[str, Sequence[str]]]) -> list[Row]:
    """Rows with the heading (plain text) of each group over it; without, where all have the same one."""
    grouped = [(heading, [row for _, row in own]) for heading, own in groupby(rows, key=lambda one: one[0])]
    if len(grouped) < 2:
        return [row for _, own in grouped for row in own]
    return [row for heading, own in grouped for row in (escaped(cut(heading, IN_HEADING)), *own)]
