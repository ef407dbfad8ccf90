"""The files of a paper from the answer of a sweep: LaTeX with macros for all numbers, tables, figures in columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.analysis import Answer, Finding, Study, SweepData
from harness.report.booktabs import CLEAR, caption_text, flushed
from harness.report.columns import COLUMN, in_columns, pdfs
from harness.report.findings import finding_figures
from harness.report.latex import escaped
from harness.report.markdown import duration, file_names
from harness.report.paper_numbers import Numbers
from harness.report.paper_tables import Tables, claims
from harness.report.sweep_figures import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MADE = "Made by `python -m harness report --paper`, which replaces this file as long as nobody has changed it."
LEFT_OUT = ("outcomes",)  # figures; the table of cells has the same
MOST_FIGURES = 12
TALLEST, ON_A_PAGE = 3.6, 7.2  # inches: of one panel, and of the panels of one float
Judged = tuple[Study, Sequence[Finding]]


@dataclass(frozen=True)
class Origin:
    """Where the numbers come from: what the statement on reproducibility says.

    sweeps: ids of the runs. facts: what -> text, in this order. seconds: that training took, and that training it all
    again will take.
    """

    sweeps: Sequence[str]
    facts: Mapping[str, Sequence[str]]
    seconds: float


def paper(
    data: SweepData, found: Answer, said: Sequence[str], origin: Origin, judged: Judged | None
) -> dict[str, bytes]:
    """Name -> content of every file. said: the sentences of the answer."""
    numbers = Numbers()
    made = {"claims": claims(*judged, origin.sweeps, numbers)} if judged else {}
    made |= Tables(data, found, origin.sweeps, numbers).all()
    statement = _statement(data, found, origin, numbers)
    pictures, floats = _figures(data, found, judged)
    texts = {
        "numbers": numbers.macros(),
        "answer": _answer(said),
        "reproducibility": statement,
        "table-numbers": numbers.table(),
        **{f"table-{name}": text for name, text in made.items()},
    }
    texts["main"] = _main(data.title, [f"table-{name}" for name in made], floats)
    return {
        f"{name}.tex": f"% {MADE}\n{text}".encode("utf8", "backslashreplace") for name, text in texts.items()
    } | pictures


def _answer(said: Sequence[str]) -> str:
    return "\n\n".join([r"\section*{Answer}", *map(escaped, said)]) + "\n"


def _statement(data: SweepData, found: Answer, origin: Origin, numbers: Numbers) -> str:
    """A paragraph that an author can copy, then the facts one by one."""
    counts = {
        "Cells": ("finished cells", len(data.finished)),
        "Replicas": ("replicas of a cell, at most", found.n_replicas),
    }
    n = {name: numbers.put(name, value, what, origin.sweeps) for name, (what, value) in counts.items()}
    n["Seconds"] = numbers.put("VerifySeconds", origin.seconds, "seconds to train all cells again", origin.sweeps)
    time = rf"{escaped(duration(origin.seconds))} ({n['Seconds']} seconds)" if n["Seconds"] else "as long as training"
    about = (
        rf"All numbers were computed from {n['Cells']} cells with up to {n['Replicas']} replicas each. Replica $r$ has "
        "the same split of the data, initial weights and order of examples in every cell of the same data and root "
        r"seed. Each macro of \texttt{numbers.tex} names the runs that its number came from. "
        r"\texttt{python -m harness verify RUN} trains the cells of a run again from what was recorded with them and "
        rf"compares the parameters bit by bit. For all of them this takes about {time} on the machine named here. The "
        "bits repeat with the same code, versions and kind of processor."
    )
    facts = "\n".join(rf"\item[{escaped(what)}] {_listed(texts)}" for what, texts in origin.facts.items())
    return rf"""\section*{{Reproducibility}}
{about}
\begin{{description}}\raggedright
{facts}
\end{{description}}
"""


def _listed(texts: Sequence[str]) -> str:
    return "; ".join(map(escaped, texts))


def _figures(data: SweepData, found: Answer, judged: Judged | None) -> tuple[dict[str, bytes], list[str]]:
    """Files of all panels, and the floats that include them."""
    with in_columns():
        drawn = (finding_figures(*judged) if judged else {}) | figures(data, found)
    drawn = {title: figure for title, figure in drawn.items() if title not in LEFT_OUT}
    names, files, floats = file_names(list(drawn)), dict[str, bytes](), list[str]()
    if (left := len(drawn) - MOST_FIGURES) > 0:
        floats.append(rf"\noindent {left} more figures: \texttt{{harness.load(RUN).figures()}} draws them." + "\n\n")
    for title, figure in list(drawn.items())[:MOST_FIGURES]:
        safe = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in names[title])
        own = {f"figure-{safe}-{i + 1}.pdf": content for i, content in enumerate(pdfs(figure))}
        while files.keys() & own.keys():
            own = {f"figure-x{name.removeprefix('figure-')}": content for name, content in own.items()}
        files |= own
        floats += _floats(list(own), figure)
    return files, floats


def _floats(names: Sequence[str], figure: "Figure") -> Iterator[str]:
    """A panel in a column; several side by side over both columns, as many rows as a page has room for."""
    height = min(TALLEST, COLUMN * figure.get_figheight() / figure.get_figwidth())
    most = 2 * max(1, int(ON_A_PAGE / height))
    for start in range(0, len(names), most):
        part = names[start : start + most]
        star = "*" if len(part) > 1 else ""
        rows = [r" \hfill ".join(map(_included, part[i : i + 2])) for i in range(0, len(part), 2)]
        caption = caption_text(str(figure.get_label())) + (" (continued)" if start else "")
        body = "\n\n\\medskip\n".join(rows)
        caption = rf"\caption[]{{\raggedright {caption}}}"
        yield f"\\begin{{figure{star}}}\n\\centering\n{body}\n{caption}\n\\end{{figure{star}}}\n"


def _included(name: str) -> str:
    return rf"\includegraphics[width={COLUMN}in,height={TALLEST}in,keepaspectratio]{{{name}}}"


def _main(title: str, tables: Sequence[str], floats: Sequence[str]) -> str:
    inputs = "".join(rf"\input{{{name}}}" + "\n" for name in tables) + CLEAR
    pictures = flushed(floats)
    return rf"""\documentclass[10pt,twocolumn]{{article}}
\usepackage[letterpaper,textwidth=6.9in,textheight=9in,columnsep=0.3in]{{geometry}}
\usepackage{{array,booktabs,graphicx,longtable}}
\raggedbottom
\makeatletter\setlength\@dblfptop{{0pt}}\setlength\@dblfpsep{{18pt}}\makeatother
\input{{numbers}}
\title{{\raggedright {caption_text(title)}}}
\author{{}}
\date{{}}
\begin{{document}}
\maketitle
\raggedright
\input{{answer}}
\input{{reproducibility}}
{inputs}
{pictures}
\clearpage
\onecolumn
\section*{{Numbers}}
\input{{table-numbers}}
\end{{document}}
"""
