"""Numbers, intervals, verdicts and tables as Markdown; Markdown as HTML."""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from harness.analysis import MARGIN, Question, Ratio, Standing, arms_of, seconds_for
from harness.config import visible
from harness.inference import Interval, Verdict

COSTS = {"train": "training cost", "validation": "validation cost"}  # by target_on
FURTHER = {"low": (1 / 3,), "high": (3,), "both": (1 / 3, 3)}  # edge of a grid -> rates to add, relative to the best
TIED = f"equal within {MARGIN:.0%}"
MOST_SEEDS = 1000  # that a sentence counts
MARKS = re.compile(r"[\\`*_\[\]<>|#~&$]")  # that mean something in Markdown; names of columns hold any of them
LONGEST = 7500  # characters; MLflow keeps 8000 of a tag
# What could begin a link, an image or HTML; sentences have none of their own.
MARKUP = re.compile(r"<(?=[a-zA-Z/!?])|\](?=[(\[:])|&(?=#?\w+;)")
UNSAFE = re.compile(r"[^\w .,=\[\]-]")  # signs in the name of a file
LONGEST_FILE = 100  # bytes of it, without its number and ending


def number(value: float) -> str:
    """Three significant digits, without an exponent where it can be read without one."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e3 else f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.2g}"


def interval(value: Interval) -> str:
    if np.isnan(value.low):
        return number(value.estimate)
    return f"{number(value.estimate)} [{number(value.low)}, {number(value.high)}]"


def bounds(value: Interval) -> str:
    """An interval of which the upper end may be open, or nothing known."""
    if np.isnan([value.estimate, value.low]).any():
        return "not known"
    return f"at least {number(value.low)}" if np.isinf(value.high) else interval(value)


def held(ratio: Ratio, *bands: tuple[float, float]) -> str:
    """A ratio with its limits and, where it is open whether it lies in one of these bands, what would tell more."""
    needed = [seeds for band in bands if (seeds := ratio.seeds_to_tell(*band))]
    why = ratio.edge or (f"about {min(needed)} seeds would tell more" if needed else "")
    known = "unknown" if np.isnan(ratio.limits.estimate) else interval(ratio.limits)
    return known + (f" ({why})" if why else "")


def verdicts_along(parts: Mapping[float, Verdict]) -> str:
    """1.25 refuted; 2 unresolved; 3 to 5 supported: the verdicts of a rule along its free constant, in its order."""
    runs = ((found, list(own)) for found, own in itertools.groupby(parts, key=parts.__getitem__))
    spans = ((found, " to ".join(dict.fromkeys(map(number, (own[0], own[-1]))))) for found, own in runs)
    return "; ".join(f"{span} {found}" for found, span in spans)


def price(found: tuple[float, float] | None) -> str:
    """With the constants as stated about 40 seeds would tell (3 min): of `Evidence.price`; empty if it is not known."""
    told = f" With the constants as stated about {found[0]:.0f} seeds would tell" if found else ""
    return f"{told} ({duration(found[1])})." if found else ""


def duration(seconds: float) -> str:
    """3.2 s, 4 min, 1.5 h."""
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def listed(rates: Iterable[float], digits: int = 3) -> str:
    """Different numbers in ascending order, as the command line takes them; to so many significant digits."""
    return ",".join(dict.fromkeys(f"{rate:.{digits}g}" for rate in sorted(rates)))


def further(best: Iterable[tuple[float, str]], middles: Iterable[float] = ()) -> str:
    """The learning rates to add: middles of gaps, and those beyond edges with a best rate, from (asked_rate, edge)."""
    return listed([*middles, *(rate * factor for rate, edge in best for factor in FURTHER.get(edge, ()))])


def p_of(question: Question) -> float:
    """The p-value behind what is said: of equality where two arms are tied, else of a difference."""
    if question.comparison is None:
        return np.nan
    return question.comparison.equivalence_p if question.standing is Standing.EQUAL else question.comparison.p


def identical(question: Question) -> bool:
    """Whether all pairs are equal to rounding: no test is needed, and there is no p."""
    return question.comparison is not None and question.comparison.equivalence_p == 0


def would_tell(question: Question) -> str:
    """What would resolve it, and its price: `about 30 seeds would tell (2 min more)`; empty where nothing is known.

    Seeds that are too few for any difference "would show a tie".
    """
    if question.comparison is None or (needed := question.comparison.seeds_needed) is None:
        return ""
    if needed > question.most_pairs:
        most = question.most_pairs
        return f"no number of seeds would tell, as seconds have at most {most} readings, unless they scatter less"
    roughly, over = ("about", "") if needed <= MOST_SEEDS else ("more than", "over ")
    needed = int(float(f"{min(needed, MOST_SEEDS):.2g}"))
    seconds = seconds_for(arms_of(question), needed)
    more = f" ({over}{duration(seconds)} more)" if np.isfinite(seconds) else ""
    return f"{roughly} {needed} seeds would {'show a tie' if question.comparison.only_a_tie else 'tell'}{more}"


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> list[str]:
    """Lines of a Markdown table; none without rows."""
    columns = list(columns)
    head, *body = (
        "| " + " | ".join(str(value).replace("|", r"\|") for value in row) + " |" for row in (columns, *rows)
    )
    return [head, "|---" * len(columns) + "|", *body] if body else []


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


def about_data(notes: Iterable[str]) -> str:
    """A section of a note, empty without notes: what was found out about the data, and done to them."""
    lines = ["- " + MARKS.sub(r"\\\g<0>", note) for note in notes]
    return "\n".join(["### Data", "", *lines, ""]) if lines else ""


def shortened(text: str, spare: int = 0) -> str:
    """As much as MLflow keeps of a description, less `spare`, cut between lines; report.html has the whole."""
    if len(text) <= LONGEST - spare:
        return text
    return text[: LONGEST - spare].rpartition("\n")[0] + "\n\nThe rest is in `report.html`, all cells in `cells.csv`.\n"


def rendered(markdown: str) -> str:
    """Markdown as HTML; HTML in it is text."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    return str(parser.disable(["link", "image", "autolink", "reference"]).render(markdown))
