"""The findings of a study in words and figures: for its sweep's note, and a file beside it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import BATCH_SIZE, Claim, Finding, Panel, Series, Study
from harness.inference import Interval, Verdict
from harness.report.layout import LEFT, batch_axis, empty_axes, log_axis, log_limits, panels
from harness.report.markdown import file_names, harmless, interval, table, verdicts_along
from harness.report.style import COLOURS, MARKS, key, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHES = ("-", "--", "-.")
COLUMNS = 3
ALONG = 12  # marks along a line of many points
BARS_UP_TO = 20  # points; the limits of more are a band
BEYOND: dict[str, Any] = {"marker": "^", "mfc": "white", "ms": 8, "ls": ""}  # at the upper edge: +inf
ROW, LETTER = 0.3, 0.078  # inches: of a row with a name, of a letter of that name
NUMBERS = "Numbers of the claims"
GENERAL = {  # answers to a claim that has no text of its own for its verdict
    Verdict.SUPPORTED: "Yes, in these runs.",
    Verdict.REFUTED: "No, not in these runs.",
    Verdict.CONDITIONAL: "In some settings yes, in others no.",
    Verdict.UNRESOLVED: "These runs do not decide it.",
}


def note(study: Study, findings: Sequence[Finding]) -> str:
    """The head of the sweep's note: the question, and a row for each claim."""
    rows = [
        (
            f"{claim.id}: {claim.says}",
            f"**{f.verdict}**",
            f"{_own(claim, f)} {f.sentence}".strip(),
            effect(f.effect, f.unit),
        )
        for claim, f in ((study.claims[f.claim], f) for f in findings)
    ]
    lines = table(("claim", "verdict", "what was found", "effect"), rows)
    return harmless(f"**{study.question}**\n\n" + "\n".join(lines))


def plain(claim: Claim, finding: Finding) -> str:
    """The answer in one sentence of plain words: the finding's, the claim's for this verdict, or a general one."""
    return _own(claim, finding) or GENERAL[finding.verdict]


def _own(claim: Claim, finding: Finding) -> str:
    return finding.plain or claim.plain.get(finding.verdict, "")


def numbers(findings: Iterable[Finding]) -> str:
    """The last section of the sweep's note: the tables of every claim, its id in their first cell."""
    tables = [
        "\n".join(table((f"{f.claim}: {columns[0]}", *columns[1:]), rows))
        for f in findings
        for columns, *rows in tables_of(f)
    ]
    return harmless("\n\n".join([f"### {NUMBERS}", *tables])) if tables else ""


def tables_of(finding: Finding) -> list[Sequence[Sequence[str]]]:
    """The numbers of a finding, and its verdict along each constant of its rule; names of columns first."""
    return [rows for rows in (finding.rows, _along(finding)) if rows]


def _along(finding: Finding) -> Sequence[Sequence[str]]:
    own = [(words, verdicts_along(parts)) for words, parts in finding.along.items()]
    return [("the verdict, by", "is"), *own] if own else []


def sentences(study: Study, findings: Iterable[Finding]) -> list[str]:
    """C4 refuted: what is asked, the answer, what was found."""
    return [_sentence(study.claims[f.claim], f) for f in findings]


def _sentence(claim: Claim, finding: Finding) -> str:
    asked = claim.plain.get("question", claim.says)
    return " ".join([f"{claim.id} {finding.verdict}:", asked, *filter(None, [_own(claim, finding)]), finding.sentence])


def effect(value: Interval | None, unit: str) -> str:
    """The main number with its interval and unit; nothing for an exact claim without one."""
    return f"{interval(value)} {unit}".strip() if value else ""


def records(study: Study, findings: Iterable[Finding]) -> dict[str, Any]:
    """Question, claims and findings as plain values, to be kept as a file."""
    rows = []
    for found in findings:
        claim = study.claims[found.claim]
        effect = (found.effect.estimate, found.effect.low, found.effect.high) if found.effect else ()
        limits = [float(value) if np.isfinite(value) else str(value) for value in effect] or None
        title = f"claim {found.claim}"
        row: dict[str, Any] = {"claim": asdict(claim), "verdict": str(found.verdict), "plain": plain(claim, found)}
        row |= {
            "sentence": found.sentence,
            "tables": [[list(map(str, one)) for one in own] for own in tables_of(found)],
        }
        picture = f"{file_names([title])[title]}.png" if found.panels else None
        rows.append(row | {"effect": limits, "unit": found.unit, "replicas": found.replicas, "picture": picture})
    return {"study": study.name, "question": study.question, "findings": rows}


# Figures


def finding_figures(study: Study, findings: Iterable[Finding]) -> dict[str, "Figure"]:
    """The figures of the findings that have panels, by file name."""
    return {f"claim {f.claim}": finding_figure(*caption(study, f), f.panels) for f in findings if f.panels}


def caption(study: Study, finding: Finding) -> tuple[str, str]:
    """Title and note of the figure that shows a finding: its verdict and the claim; what was found, in few words."""
    claim = study.claims[finding.claim]
    found = plain(claim, finding) if claim.plain else finding.sentence
    return f"{finding.verdict.capitalize()}: {claim.says}", f"{claim.id}. {found}"


@styled()
def finding_figure(title: str, note: str, shown: Sequence[Panel]) -> "Figure":
    """Panels in rows of three, one key for all of them: a label has the same style in each."""
    styles = _styles(shown)
    keys = [key(label, **style) for label, style in styles.items() if label] if len(styles) > 1 else []
    keys += [key("infinite: diverged or not reached", color="#555555", **BEYOND)] if _any_beyond(shown) else []
    titles = [[panel.title for panel in shown[i : i + COLUMNS]] for i in range(0, len(shown), COLUMNS)]
    width, height = (4.1, 3.0) if len(shown) > 1 else (6.4, 3.4)
    names = [panel.names for panel in shown if panel.named == "y"]
    height = max([height, *(ROW * len(own) for own in names)])
    left = max([LEFT, *(0.4 + LETTER * len(name) for own in names for name in own)])
    figure, axes = panels(titles, title, note, keys, (width, height), left=left)
    for one, panel in zip(axes.flat, shown, strict=False):
        _draw(one, panel, styles)
    return figure


def _styles(shown: Sequence[Panel]) -> dict[str, dict[str, Any]]:
    """Label -> its style: a colour and a marker each, references in grey with dashes of their own."""
    every = [line for panel in shown for line in panel.lines]
    kinds = {line.label: line.kind for line in sorted(every, key=lambda line: line.kind == "line")}  # key: of a line
    styles: dict[str, dict[str, Any]] = {}
    n_data = n_references = 0
    for label in dict.fromkeys(line.label for line in every):
        if kinds[label] == "reference":
            dashes = (0, (1, 1 + n_references) if n_references else (5, 3))
            styles[label] = {"color": "#444444", "linewidth": 1.2, "linestyle": dashes}
            n_references += 1
        else:
            styles[label] = {"color": COLOURS[n_data % len(COLOURS)], "marker": MARKS[n_data % len(MARKS)]}
            line = DASHES[n_data % len(DASHES)] if kinds[label] == "line" else ""
            styles[label] |= {"markersize": 6, "linestyle": line, "linewidth": 1.6}
            n_data += 1
    return styles


def _draw(axes: "Axes", panel: Panel, styles: dict[str, dict[str, Any]]) -> None:
    known = [_finite(line) for line in panel.lines]
    for line, (x, y, low, high) in zip(panel.lines, known, strict=True):
        style = styles[line.label]
        own = {"linestyle": ""} if line.kind == "marks" else {}
        every = max(1, len(x) // ALONG) if line.kind == "line" else 1
        axes.plot(x, y, **style | own, markevery=every, zorder=2 if line.kind == "reference" else 3)
        if line.low is not None and len(x) > BARS_UP_TO:
            axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
        elif line.low is not None:
            axes.vlines(x, low, high, color=style["color"], linewidth=1.6, zorder=3)
    axes.set(xlabel=panel.x, ylabel=panel.y)
    if any(rows.size for rows in known):
        _scale(axes, panel, known)
    else:
        empty_axes(axes, "nothing to show")
    for line in panel.lines:
        _draw_beyond(axes, line, styles[line.label])


def _any_beyond(shown: Sequence[Panel]) -> bool:
    return any(np.isposinf(np.asarray(line.y, dtype=float)).any() for panel in shown for line in panel.lines)


def _draw_beyond(axes: "Axes", line: Series, style: dict[str, Any]) -> None:
    """What is +inf, at the upper edge: marks, with the way of a line to its first one; and limits up to there."""
    x, y = (np.asarray(values, dtype=float) for values in (line.x, line.y))
    colour, dashes = style["color"], style["linestyle"]
    limits, top = axes.get_ylim(), axes.get_ylim()[1]
    open_ended = np.isfinite(y) & np.isposinf(np.asarray(y if line.high is None else line.high, dtype=float))
    if len(x) > BARS_UP_TO:
        axes.fill_between(x, y, top, where=open_ended, color=colour, alpha=0.2, linewidth=0)
    else:
        axes.vlines(x[open_ended], y[open_ended], top, color=colour, linewidth=1.6, zorder=3)
    places = np.flatnonzero(np.isposinf(y) & np.isfinite(x))
    places = places[:1] if line.kind == "line" else places
    if line.kind == "line" and places.size and places[0] > 0:
        before = places[0] - 1
        axes.plot(x[[before, before + 1]], [y[before], top], color=colour, linestyle=dashes, linewidth=1.6)
    if places.size:
        axes.plot(x[places], np.full(len(places), top), color=colour, clip_on=False, zorder=4, **BEYOND)
    axes.set_ylim(limits)


def _finite(line: Series) -> "np.ndarray":
    """(4, n): x, y, low, high where x and y are finite; limits that are missing or not finite are put at y."""
    limits = [line.y if limit is None else limit for limit in (line.low, line.high)]
    rows = np.array([line.x, line.y, *limits], dtype=float)
    known = np.isfinite(rows)
    return np.where(known, rows, rows[1])[:, known[0] & known[1]]


def _scale(axes: "Axes", panel: Panel, known: list["np.ndarray"]) -> None:
    """Log axes over everything drawn, and the names of the places on an axis that has names."""
    drawn = np.hstack(known)
    if panel.x == BATCH_SIZE:
        data = [rows[0] for rows, line in zip(known, panel.lines, strict=True) if line.kind != "reference"]
        batch_axis(axes, np.hstack(data).round() if data else [])
    elif "x" in panel.log:
        log_axis(axes, "x", log_limits([drawn[0]]))
    if "y" in panel.log:
        log_axis(axes, "y", log_limits([drawn[1:]]))
    if panel.names and panel.named == "y":
        axes.set_yticks(range(len(panel.names)), list(panel.names), fontsize=10)
        axes.set_ylim(len(panel.names) - 0.5, -0.5)
    elif panel.names:
        slanted = max(len(text) for text in panel.names) * len(panel.names) > 36
        look: dict[str, Any] = {"rotation": 25, "ha": "right", "fontsize": 9} if slanted else {}
        axes.set_xticks(range(len(panel.names)), list(panel.names), **look)
        axes.set_xlim(-0.5, len(panel.names) - 0.5)
        axes.grid(visible=False, axis="x")
