"""Numbers, intervals, verdicts and tables as Markdown, and Markdown with its pictures as one HTML file."""

import base64
import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from harness.analysis import MARGIN, Question, Standing, arms_of, seconds_for
from harness.config import visible
from harness.inference import Interval

COSTS = {"train": "training cost", "validation": "validation cost"}  # by target_on
FURTHER = {"low": (1 / 3,), "high": (3,), "both": (1 / 3, 3)}  # edge of a grid -> rates to add, relative to the best
TIED = f"equal within {MARGIN:.0%}"
MOST_SEEDS = 1000  # that a sentence counts
LONGEST = 7500  # characters; MLflow keeps 8000 of a tag
# What could begin a link, an image or HTML; sentences have none of their own.
MARKUP = re.compile(r"<(?=[a-zA-Z/!?])|\](?=[(\[:])|&(?=#?\w+;)")
UNSAFE = re.compile(r"[^\w .,=\[\]-]")  # signs in the name of a file
LONGEST_FILE = 100  # bytes of it, without its number and ending
# A second lock: a browser that opens the page loads nothing and runs nothing, whatever stands in it.
LOCK = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{lock}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1180px; margin: 2rem auto;
  padding: 0 1rem; }}
h1 {{ font-size: 1.5rem; }} h3 {{ margin-top: 2rem; }}
code {{ background: #f3f3f3; padding: .1em .3em; overflow-wrap: anywhere; }}
div.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }}
th, td {{ border-bottom: 1px solid #ddd; padding: .3rem .7rem; text-align: left; vertical-align: top; }}
figure {{ margin: 2rem 0; }} img {{ max-width: 100%; height: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
{figures}
</body>
</html>
"""


def number(value: float) -> str:
    """Three significant digits, without an exponent where it can be read without one."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e3 else f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.2g}"


def interval(value: Interval) -> str:
    if np.isnan(value.low):
        return number(value.estimate)
    return f"{number(value.estimate)} [{number(value.low)}, {number(value.high)}]"


def duration(seconds: float) -> str:
    """3.2 s, 4 min, 1.5 h."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def listed(rates: Iterable[float], digits: int = 3) -> str:
    """Different numbers in ascending order, as the command line takes them; to so many significant digits."""
    return ",".join(dict.fromkeys(f"{rate:.{digits}g}" for rate in sorted(rates)))


def further(best: Iterable[tuple[float, str]]) -> str:
    """The learning rates to add beyond the edges of grids on which best rates lie, from (asked_rate, edge)."""
    return listed(rate * factor for rate, edge in best for factor in FURTHER.get(edge, ()))


def p_of(question: Question) -> float:
    """The p-value behind what is said: of equality where two arms are tied, else of a difference."""
    if question.comparison is None:
        return np.nan
    return question.comparison.equivalence_p if question.standing is Standing.EQUAL else question.comparison.p


def identical(question: Question) -> bool:
    """Whether all pairs are equal to rounding: no test is needed, and there is no p."""
    return question.comparison is not None and question.comparison.equivalence_p == 0


def would_tell(question: Question) -> str:
    """What would resolve it, and its price: `about 30 seeds would tell (2 min more)`; empty where nothing is known."""
    needed = question.comparison.seeds_needed if question.comparison else None
    if needed is None:
        return ""
    if needed > question.most_pairs:
        return f"no number of seeds would tell, as seconds have at most {question.most_pairs} readings"
    roughly, over = ("about", "") if needed <= MOST_SEEDS else ("more than", "over ")
    needed = int(float(f"{min(needed, MOST_SEEDS):.2g}"))
    seconds = seconds_for(arms_of(question), needed)
    more = f" ({over}{duration(seconds)} more)" if np.isfinite(seconds) else ""
    return f"{roughly} {needed} seeds would tell{more}"


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    """Lines of a Markdown table; none without rows."""
    columns = list(columns)
    body = ["| " + " | ".join(str(value).replace("|", r"\|") for value in row) + " |" for row in rows]
    return ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|", *body] if body else []


def harmless(markdown: str) -> str:
    """The text with entities where a name in it would be a link, an image or HTML: a page would load what they name."""
    return MARKUP.sub(lambda found: f"&#{ord(found[0])};", markdown)


def code(text: str) -> str:
    """A command as Markdown's code, on one line: between more backticks in a row than it has itself."""
    text = visible(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if text.startswith("`") or text.endswith("`") else f"{fence}{text}{fence}"


def file_names(titles: Sequence[str]) -> dict[str, str]:
    """Title -> a name that every file system takes, numbered where two would be alike; settings hold any text."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for title in titles:
        safe = UNSAFE.sub("_", unicodedata.normalize("NFC", title)).encode()[:LONGEST_FILE].decode(errors="ignore")
        safe = safe.strip(" .") or "figure"
        numbered = (f"{safe} {i}" if i else safe for i in itertools.count())
        found[title] = next(name for name in numbered if name.casefold() not in taken)
        taken.add(found[title].casefold())
    return found


def shortened(text: str) -> str:
    """As much as MLflow keeps of a description, cut between lines; report.html has the whole."""
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST].rpartition("\n")[0] + "\n\nThe rest is in `report.html`, all cells in `cells.csv`.\n"


def html(title: str, markdown: str, pictures: Mapping[str, bytes]) -> str:
    """The page: text, then pictures (PNG files by name). It loads nothing and has no script, so it opens anywhere."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = parser.disable(["link", "image", "autolink", "reference"]).render(markdown)
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    figures = "\n".join(_figure(name, png) for name, png in pictures.items())
    return PAGE.format(title=escape(visible(title)), lock=LOCK, body=body, figures=figures)


def _figure(name: str, png: bytes) -> str:
    data = base64.b64encode(png).decode("ascii")
    return f'<figure><img alt="{escape(visible(name))}" src="data:image/png;base64,{data}"></figure>'
