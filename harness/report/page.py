"""The report of a sweep: one HTML file that answers at a glance, then moves, and loads nothing.

Tiles and sentences come first, then the charts that `page.js` moves, then the sections of the note with their figures.
Without scripts a static figure stands in place of each chart.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from html import escape
from importlib.resources import files
from typing import Any

from harness.analysis import Answer, SweepData
from harness.config import visible
from harness.report import mattered
from harness.report.cells_table import cells_table
from harness.report.chart_data import chart_data
from harness.report.charts import charts, javascript
from harness.report.encoding import webps
from harness.report.headlines import best_rates, headlines
from harness.report.markdown import rendered
from harness.report.notes import MOST_RATES
from harness.report.parallel import MOST_LINES
from harness.report.tiles import tiles

MOST_SENTENCES = 6  # on the first screen
Link = Callable[[str], str]  # a run's id -> the address of its page
Pictures = Mapping[str, bytes]  # files by the names of their figures
CURVES, SLICE, MATTERED, CELLS = "Curves", "Cost over learning rate", "What mattered", "All cells"
PARALLEL = "All keys at once"
MOST_OPEN = 12  # cells whose table is not folded
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
<main>
<h1>{title}</h1>
{first}
<nav><b>Contents</b><ol>{contents}</ol></nav>
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
    """words: the note. pictures: PNG files."""
    head, *parts = words.split("\n### ")
    sections = {title.strip(): text for title, _, text in (part.partition("\n") for part in parts)}
    sections.pop(CELLS, None)
    script, places = charts(data.finished) if len(data.finished) else ("", {})
    pictures = webps(pictures)
    static = {place: _figures(pictures, prefix) for place, prefix in PLACES.items()}
    own = static | {MATTERED: mattered.bars(found)}
    shown = {
        CURVES: _chart("curves", places, static[CURVES]),
        SLICE: _chart("slice", places, static[SLICE]),
        PARALLEL: _parallel_note(len(data.finished)) * ("parallel" in places) + _chart("parallel", places, ""),
        **{title: _section(text, own.get(title, "")) for title, text in sections.items()},
        "Time": static["Time"],
        "More figures": _figures(_others(pictures)),
        CELLS: _folded(cells_table(data, link), len(data.cells) > MOST_OPEN) + static[CELLS],
    }
    shown = {title: text for title, text in shown.items() if text}
    numbers = NUMBERS.format(_json(chart_data(data, found))) if places else ""
    scripts = [javascript(), script, _resource("page.js")] if places else []
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
        line for line in head.split("\n\n") if line.strip("*`\n") not in [*sentences, *rates, data.about.get("command")]
    )
    said = "".join(f'<p class="lead">{rendered(sentence)}</p>' for sentence in [*sentences[:MOST_SENTENCES], *rates])
    command = f"<p><code>{escape(visible(data.about.get('command', '')))}</code></p>"
    measured = f"<details><summary>How it was measured</summary>{command}{_section(rest, '')}</details>"
    return f"{tiles(found)}<div class='lead'>{said}</div>{measured}"


def _parallel_note(n_cells: int) -> str:
    """What of many cells is drawn."""
    if n_cells <= MOST_LINES:
        return ""
    return f'<p class="caption">{MOST_LINES} of {n_cells} cells, from the lowest to the highest cost.</p>'


def _chart(name: str, places: Mapping[str, str], static: str) -> str:
    """Controls and chart, hidden where scripts do not run; the static figure, hidden where they do."""
    if name not in places:
        return static
    moving = f'<div class="moving" data-chart="{name}" hidden><form></form>{places[name]}</div>'
    return f'{moving}<div class="static">{static}</div>'


def _figures(pictures: Pictures, prefix: str = "") -> str:
    return "".join(_figure(name, picture) for name, picture in pictures.items() if name.startswith(prefix))


def _others(pictures: Pictures) -> Pictures:
    return {name: picture for name, picture in pictures.items() if not name.startswith(tuple(PLACES.values()))}


def _figure(name: str, webp: bytes) -> str:
    data = base64.b64encode(webp).decode("ascii")
    return f'<figure><img alt="{escape(visible(name))}" src="data:image/webp;base64,{data}"></figure>'


def _section(markdown: str, figure: str) -> str:
    """What is found out, the figure, and the tables folded."""
    said, *tables = rendered(markdown).split("<table>")
    for i, table in enumerate(tables):
        tables[i], _, after = table.partition("</table>")
        said += after
    folded = "".join(f'<div class="wide"><table>{table}</table></div>' for table in tables)
    return f"{said}{figure}{_folded(folded) if folded else ''}"


def _folded(tables: str, closed: bool = True) -> str:
    return f"<details{'' if closed else ' open'}><summary>Numbers</summary>{tables}</details>"


def _anchor(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())


def _json(value: Any) -> str:
    """JSON that a script element may hold: no `</script>` can be in it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _resource(name: str) -> str:
    return files("harness.report").joinpath(name).read_text(encoding="utf8")
