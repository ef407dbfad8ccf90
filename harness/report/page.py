"""The report of a sweep: one HTML file that answers at a glance, then moves, and loads nothing.

Tiles and sentences come first, then the charts that `page.js` moves, then the sections of the note with their figures.
Without scripts a static figure stands in place of each chart.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import Answer, SweepData
from harness.config import visible
from harness.report.chart_data import chart_data
from harness.report.charts import charts, library
from harness.report.headlines import best_rates, headlines
from harness.report.layout import packed
from harness.report.markdown import number, rendered
from harness.report.tiles import tiles

if TYPE_CHECKING:
    pass

MOST_SENTENCES, MOST_RATES = 6, 4  # on the first screen
Link = Callable[[str], str]  # a run's id -> the address of its page
Pictures = Mapping[str, bytes]  # PNG files by the names of their figures
CURVES, SLICE, MATTERED, CELLS = "Curves", "Cost over learning rate", "What mattered", "All cells"
PARALLEL = "All keys at once"
PLACES = {  # the figures of a section of the note, by the beginning of their names
    CURVES: "clocks",
    SLICE: "slices",
    "Learning rate": "learning_rates",
    "Updates to target": "to_target",
    "Divergence": "stability",
    "Time": "timing",
    CELLS: "outcomes",
}
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{lock}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<nav><b>Contents</b><ol>{contents}</ol></nav>
<main>
<h1>{title}</h1>
{first}
{body}
</main>
{scripts}
</body>
</html>
"""
NUMBERS = '<script type="application/json" id="numbers">{}</script>\n'
NOTHING = "'none'"
# A second lock: a browser that opens the page loads nothing, and runs no script but those of the page.
LOCK = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(data: SweepData, found: Answer, words: str, pictures: Pictures, link: Link) -> str:
    """words: the note."""
    head, *parts = words.split("\n### ")
    sections = {title.strip(): text for title, _, text in (part.partition("\n") for part in parts)}
    sections.pop(CELLS, None)
    script, places = charts(data.finished) if len(data.finished) else ("", {})
    static = {place: _figures(pictures, prefix) for place, prefix in PLACES.items()}
    own = static | {MATTERED: _bars(found)}
    shown = {
        CURVES: _chart("curves", places, static[CURVES]),
        SLICE: _chart("slice", places, static[SLICE]) if _has_slice(data) else "",
        PARALLEL: _chart("parallel", places, ""),
        **{title: _section(text, own.get(title, "")) for title, text in sections.items()},
        "Time": static["Time"],
        "More figures": _figures(_others(pictures)),
        CELLS: _cells_table(data, link) + static[CELLS],
    }
    shown = {title: text for title, text in shown.items() if text}
    numbers = (
        f'<script type="application/json" id="numbers">{_json(chart_data(data, found))}</script>\n' if places else ""
    )
    scripts = [library(), script, _resource("page.js")] if places else []
    return PAGE.format(
        title=escape(visible(data.title)),
        style=_resource("page.css"),
        contents="".join(f'<li><a href="#{_anchor(title)}">{escape(title)}</a></li>' for title in shown),
        first=_first(data, found, head),
        body="\n".join(f'<section id="{_anchor(t)}"><h2>{escape(t)}</h2>{text}</section>' for t, text in shown.items()),
        lock=f"{LOCK}; script-src {' '.join(map(_hash, scripts)) or NOTHING}",
        scripts=numbers + "".join(f"<script>{one}</script>\n" for one in scripts),
    )


def _hash(script: str) -> str:
    """What a browser knows an allowed script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _first(data: SweepData, found: Answer, head: str) -> str:
    """The first screen: tiles, sentences, and folded the rest of what the note says first."""
    sentences, rates = headlines(found), best_rates(found)[:MOST_RATES]
    rest = "\n\n".join(
        line for line in head.split("\n\n") if line.strip("*`\n") not in [*sentences, data.about.get("command")]
    )
    said = "".join(f'<p class="lead">{rendered(sentence)}</p>' for sentence in [*sentences[:MOST_SENTENCES], *rates])
    command = f"<p><code>{escape(visible(data.about.get('command', '')))}</code></p>"
    measured = f"<details><summary>How it was measured</summary>{command}{_section(rest, '')}</details>"
    return f"{tiles(found)}<div class='lead'>{said}</div>{measured}"


def _has_slice(data: SweepData) -> bool:
    cells = data.finished
    return bool(len(cells)) and bool(
        (cells.groupby(["setting", "batch_size", "reduction"])["learning_rate"].nunique() > 1).any()
    )


def _chart(name: str, places: Mapping[str, str], static: str) -> str:
    """Controls and chart, hidden where scripts do not run; the static figure, hidden where they do."""
    if name not in places:
        return static
    moving = f'<div class="moving" data-chart="{name}" hidden><form></form>{places[name]}</div>'
    return f'{moving}<div class="static">{static}</div>'


def _figures(pictures: Pictures, prefix: str = "") -> str:
    return "".join(_figure(name, png) for name, png in pictures.items() if name.startswith(prefix))


def _others(pictures: Pictures) -> Pictures:
    return {name: png for name, png in pictures.items() if not name.startswith(tuple(PLACES.values()))}


def _figure(name: str, png: bytes) -> str:
    data = base64.b64encode(packed(png)).decode("ascii")
    return f'<figure><img alt="{escape(visible(name))}" src="data:image/png;base64,{data}"></figure>'


def _section(markdown: str, figure: str) -> str:
    """What is found out, the figure, and the tables folded."""
    said, *tables = rendered(markdown).split("<table>")
    for i, table in enumerate(tables):
        tables[i], _, after = table.partition("</table>")
        said += after
    folded = "".join(f'<div class="wide"><table>{table}</table></div>' for table in tables)
    numbers = f"<details><summary>Numbers</summary>{folded}</details>" if folded else ""
    return f"{said}{figure}{numbers}"


def _bars(found: Answer) -> str:
    """For each task a bar of the parts of the variance of log cost."""
    return "".join(
        f'<p class="caption">{escape(each.of)}</p><dl class="parts">{_parts(each.shares)}</dl>' for each in found.shares
    )


def _parts(shares: Mapping[str, float]) -> str:
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    return "".join(
        f'<dt>{escape(name)}</dt><dd><span style="width:{100 * part:.1f}%"></span>{part:.1%}</dd>'
        for name, part in ranked
    )


def _cells_table(data: SweepData, link: Link) -> str:
    """Every cell of the grid, best first, with a link to its run; `page.js` sorts it by a click on a column's name."""
    cells = data.cells.sort_values([name for name in ("score", "q25") if name in data.cells] or "cell")
    several = cells["setting"].nunique() > 1
    scores = [name for name in cells if name.startswith("final/test_") and not name.endswith("cost")][:1]
    names = [
        "cell",
        "B",
        "η",
        "reduction",
        "final training cost [quartiles]",
        *_score_name(scores),
        "train seconds",
        "outcome",
    ]
    head = "".join(f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in names)
    rows = "".join(f"<tr>{_row(row, several, scores, link)}</tr>" for row in cells.to_dict("records"))
    return f'<div class="wide"><table class="cells"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _score_name(scores: list[str]) -> list[str]:
    return [f"{name.removeprefix('final/').replace('_', ' ')} (baseline)" for name in scores]


def _row(cell: Mapping[str, Any], several: bool, scores: Iterable[str], link: Link) -> str:
    name = escape(visible(str(cell["label"] if several else cell["name"])))
    named = f'<a href="{escape(link(cell["run_id"]))}">{name}</a>' if cell["run_id"] else name
    costs = [cell.get(key, np.nan) for key in ("score", "q25", "q75")]
    spread = f"{number(costs[0])} [{number(costs[1])}, {number(costs[2])}]" if np.isfinite(costs[0]) else ""
    lost, n = cell.get("n_diverged", 0), cell.get("n_replicas", 0)
    ended = f"{lost:g} of {n:g} diverged" if lost > 0 else str(cell["outcome"] or cell["reason"])
    values = [
        (named, cell["label"]),
        (f"{cell['batch_size']:.0f}", cell["batch_size"]),
        (f"{cell['learning_rate']:g}", cell["learning_rate"]),
        (escape(str(cell["reduction"])), cell["reduction"]),
        (spread, costs[0]),
        *((_with_baseline(cell, score), cell[score]) for score in scores),
        (_or_empty(cell.get("time/train_seconds", np.nan)), cell.get("time/train_seconds", np.nan)),
        (escape(visible(ended)), lost),
    ]
    return "".join(f'<td data-value="{escape(str(value))}">{text}</td>' for text, value in values)


def _with_baseline(cell: Mapping[str, Any], score: str) -> str:
    baseline = cell.get(score.replace("final/", "baseline/"), np.nan)
    beside = f" ({number(baseline)})" if np.isfinite(baseline) else ""
    return f"{_or_empty(cell[score])}{beside}"


def _or_empty(value: float) -> str:
    return number(value) if np.isfinite(value) else ""


def _anchor(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())


def _json(value: Any) -> str:
    """JSON that a script element may hold: no `</script>` can be in it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _resource(name: str) -> str:
    return files("harness.report").joinpath(name).read_text(encoding="utf8")
