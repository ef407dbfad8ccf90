"""Text columns that hold numbers, dates or truth values in another spelling; what they are is found out and told."""

import re
from collections.abc import Callable, Container, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from harness.data.columns import quoted, word
from harness.data.sample import NO_VALUE

UNIT = r"(?:[$€£¥₹%]|USD|EUR|GBP|CHF|CAD|AUD|kr\.?|Rs\.?|zł)"
GROUPS = {"": "", ",": ",", ".": r"\.", " ": "[ \u00a0\u2009\u202f]", "'": "['’]"}  # thousands marks as patterns
TRUTH = {"yes": True, "no": False, "true": True, "false": False, "t": True, "f": False, "y": True, "n": False}
TRUTHS = tuple(map(set, (("yes", "no"), ("true", "false"), ("t", "f"), ("y", "n"))))
DAYS = ("%d/%m/%Y", "%d/%m/%y", "%d-%m-%Y", "%d-%m-%y", "%d.%m.%Y", "%d.%m.%y")
MONTHS = tuple(day.replace("%d", "%n").replace("%m", "%d").replace("%n", "%m") for day in DAYS)
NAMED = (
    "%d %b %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%b %d %Y",
    "%b-%d-%Y",
    "%b %Y",
    "%B %Y",
)
ISO = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y-%m")
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
DATES = (*ISO, *DAYS[4:], *MONTHS[:4], *DAYS[:4], *NAMED)  # of two that fit the earlier: month first, as pandas does
LIKE_DATES = re.compile(r"(?=.*\d)(?=.*[-/., Q])[\dA-Za-z:/.,+\- ]{6,35}")
CLOCK = re.compile(
    r"(?:(\d+) days?,? )?(\d{1,3}):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?(?: ?([ap])\.?m\.?)?", re.IGNORECASE
)
NEARLY = 0.5  # a text column with a larger share of numbers is told
FIRST = 1000  # rows of a column that are looked at before all
LOOK = 50  # different values that must agree before all are converted


class Spelling(NamedTuple):
    """How the text file spells values: marks of numbers, a format of dates (False: none are read), missing values."""

    decimal: str = "."
    thousands: str | None = None
    dates: Any = None
    missing: Sequence[Any] | None = None


class Found(NamedTuple):
    """A converted column, and what was done to it ("" where nothing is worth a word)."""

    values: Any
    what: str


Kind = Callable[[list[str], Spelling], Found | None]


def typed(frame: Any, spelling: Spelling, truth: bool) -> tuple[Any, list[str]]:
    """The frame with the types that its text columns really have, and notes. `truth`: yes and no are truth values."""
    import pandas as pd
    from pandas.api.types import is_numeric_dtype

    columns: dict[str, Any] = {}
    done: dict[str, list[str]] = {}
    notes: list[str] = []
    for i, kind in enumerate(frame.dtypes):
        if is_numeric_dtype(kind):  # truth values too
            continue
        name = frame.columns[i]
        found, note = _typed_column(frame.iloc[:, i], spelling, truth)
        columns[name] = found.values
        for what in filter(None, found.what.split("; ")):
            done.setdefault(what, []).append(name)
        notes += [note] if note else []
    if columns:
        frame = pd.DataFrame({name: columns.get(name, column) for name, column in frame.items()}, copy=False)
    told = [f"{what}: {quoted(names, 4)}" for what, names in done.items()]
    return frame, told + notes[:4] + ([f"{len(notes) - 4} more columns like these"] if len(notes) > 4 else [])


def _typed_column(column: Any, spelling: Spelling, truth: bool) -> tuple[Found, str]:
    """The column as numbers, truth values or dates where all its texts are such, and else as it is; and a note."""
    usual = spelling.missing is None or len(spelling.missing) > 0
    first = [str(text).strip() for text in column.iloc[:FIRST].dropna().unique()]
    truths: list[tuple[Kind, Container[str]]] = [(_truths, {"?"} if usual else set())] if truth else []
    for kind, blanks in [(_numbers, NO_VALUE), *truths, (_clocks, NO_VALUE), (_dates, NO_VALUE)]:
        kept = [text for text in first if text and text.casefold() not in blanks]
        possible = not kept or kind(kept, spelling) is not None  # else a column of long texts is not taken apart
        if possible and (found := _converted(column, kind, blanks, spelling)) is not None:
            return found, ""
    return _text(column, usual), _nearly_numbers(column, first, spelling)


def _converted(column: Any, kind: Kind, blanks: Container[str], spelling: Spelling) -> Found | None:
    """The column as `kind` reads it, if it reads all texts but those in `blanks`, which are missing values."""
    import pandas as pd

    codes, uniques = pd.factorize(column)
    words = [str(text).strip() for text in uniques]
    gap = np.array([text.casefold() in blanks or not text for text in words], dtype=bool)
    kept = [text for text, is_gap in zip(words, gap, strict=True) if not is_gap]
    found = kind(kept, spelling) if kept else None
    if found is None:
        return None
    places = np.append(np.where(gap, -1, np.cumsum(~gap) - 1), -1)  # of each text among `kept`; a missing value is -1
    values = pd.Series(found.values).reindex(places[codes]).set_axis(column.index)
    what = "; ".join(filter(None, (found.what, _gaps_told(words, gap))))
    return Found(values.astype("boolean") if values.dtype == object else values, what)


def _text(column: Any, usual: bool) -> Found:
    """A column of texts: blank ones, and ? where it is one of the `usual` spellings, are missing values."""
    if not hasattr(column, "str"):
        return Found(column, "")
    bare_text = column.str.strip()
    gaps = bare_text.isin(["", "?"] if usual else [""])
    what = ["'?' read as missing (missing=[] keeps it)"] if (bare_text[gaps] == "?").any() else []
    column = column.mask(gaps) if gaps.any() else column
    if column.notna().any() and column.str.startswith(" ", na=True).all():
        column, what = column.str.lstrip(" "), [*what, "blanks before the texts taken off"]
    return Found(column, "; ".join(what))


def _gaps_told(words: list[str], gaps: Any) -> str:
    spelled = list(dict.fromkeys(text for text, gap in zip(words, gaps, strict=True) if gap and text))
    return f"{quoted(spelled, 4)} read as missing" if spelled else ""


def _numbers(words: list[str], spelling: Spelling) -> Found | None:
    """Numbers with thousands separators, a decimal comma, one currency or a percent sign."""
    for decimal, group in _marks(spelling):
        pattern = _pattern(decimal, group)
        if _all_match(pattern, words):
            return _read_numbers([pattern.fullmatch(text) for text in words], decimal, group)
    return None


@cache
def _pattern(decimal: str, group: str) -> re.Pattern[str]:
    """Numbers of these marks; groups: ( - unit - digits unit )."""
    whole = rf"(?:\d{{1,3}}(?:{GROUPS[group]}\d{{3}})+|\d+)" if group else r"\d+"
    power = r"(?:[eE][-+]?\d+)?"
    digits = rf"{whole}(?:\{decimal}\d*)?{power}|\{decimal}\d+{power}"
    return re.compile(rf"(\()?([-+−]?)\s*({UNIT})?\s*([-+−]?)({digits})\s*({UNIT})?(\))?")


def _marks(spelling: Spelling) -> list[tuple[str, str]]:
    """Pairs of a decimal mark and a thousands mark to try: the file's own decimal mark first."""
    decimals = [spelling.decimal, *({".", ","} - {spelling.decimal})]
    if spelling.thousands:
        return [(decimal, spelling.thousands) for decimal in decimals if decimal != spelling.thousands]
    return [(decimal, group) for decimal in decimals for group in GROUPS if group != decimal]


def _all_match(pattern: re.Pattern[str], words: list[str]) -> bool:
    return all(map(pattern.fullmatch, words[:LOOK])) and all(map(pattern.fullmatch, words[LOOK:]))


def _read_numbers(matches: list[Any], decimal: str, group: str) -> Found | None:
    units = {unit for found in matches for unit in (found[3], found[6]) if unit}
    if len(units) > 1:
        return None
    values = []
    for found in matches:
        digits = re.sub(GROUPS[group], "", found[5]) if group else found[5]
        negative = (found[2] in ("-", "−")) ^ (found[4] in ("-", "−")) ^ bool(found[1] and found[7])
        values.append((-1 if negative else 1) * float(digits.replace(decimal, ".")))
    array = np.array(values)
    if not any(decimal in found[5] or "e" in found[5].lower() for found in matches) and np.all(np.abs(array) < 2**53):
        array = array.astype(np.int64)
    what = [f"{unit!r} taken off" for unit in units]
    if group and _grouped(matches, group):
        other = {",": "comma", ".": "point"}.get(group)
        way_out = f" (decimal={other} reads decimals)" if other and array.dtype == np.int64 else ""
        what.append(f"{group!r} between thousands taken off{way_out}")
    what += ["decimal comma (decimal)"] if decimal == "," and any("," in found[5] for found in matches) else []
    return Found(array, ", ".join(what))


def _grouped(matches: list[Any], group: str) -> bool:
    return any(re.search(GROUPS[group], found[5]) for found in matches)


def _truths(words: list[str], spelling: Spelling) -> Found | None:
    """Yes and no, in any case."""
    different = {text.casefold() for text in words}
    if different not in TRUTHS:
        return None
    spelled = " and ".join(sorted(different, key=lambda text: not TRUTH[text]))
    return Found([TRUTH[text.casefold()] for text in words], f"{spelled} are truth values")


def _clocks(words: list[str], spelling: Spelling) -> Found | None:
    """Times of day and durations: 8:30, 08:30:15.5, 8:30 pm, 1 days 02:00:00."""
    import pandas as pd

    if spelling.dates not in (None, True) or not _all_match(CLOCK, words):
        return None
    seconds = [_seconds(*found.groups()) for found in map(CLOCK.fullmatch, words) if found]
    return Found(pd.to_timedelta(pd.Series(seconds), unit="s"), "times (dates=false keeps them text)")


def _seconds(days: str | None, hours: str, minutes: str, seconds: str | None, half: str | None) -> float:
    """half: a or p of a clock of twelve hours."""
    hour = int(hours) if half is None else int(hours) % 12 + 12 * (half in "pP")
    return ((int(days or 0) * 24 + hour) * 60 + int(minutes)) * 60 + float(seconds or 0)


def _dates(words: list[str], spelling: Spelling) -> Found | None:
    """Dates of one format, the first that fits all."""
    import pandas as pd

    if spelling.dates is False or not all(map(LIKE_DATES.fullmatch, words[:LOOK])):
        return None
    if isinstance(spelling.dates, str):
        return _of_format(words, [spelling.dates])
    iso = pd.to_datetime(pd.Series(words[:LOOK]), format="ISO8601", errors="coerce", utc=True)
    if iso.notna().all() and all("-" in text for text in words[:LOOK]):
        dates = pd.to_datetime(pd.Series(words), format="ISO8601", errors="coerce", utc=True)
        if dates.notna().all():
            return Found(dates.dt.tz_localize(None), "dates")
    if all(re.fullmatch(r"\d{4}[- ]?Q[1-4]", text) for text in words):
        quarters = pd.PeriodIndex([text.replace(" ", "").replace("-", "") for text in words], freq="Q")
        return Found(pd.Series(quarters.to_timestamp()), "first days of quarters")
    return _of_format(words, [day + time for day, time in product(DATES, TIMES)])


def _of_format(words: list[str], formats: Sequence[str]) -> Found | None:
    import pandas as pd

    for form in formats:
        if _reads(words[:LOOK], form) and _reads(words, form):
            dates = pd.to_datetime(pd.Series(words), format=form)
            return Found(dates, f"dates ({word('dates', form)})")
    return None


def _reads(words: list[str], form: str) -> bool:
    import pandas as pd

    try:
        pd.to_datetime(pd.Series(words), format=form)
    except (ValueError, OverflowError):
        return False
    return True


def _nearly_numbers(column: Any, first: list[str], spelling: Spelling) -> str:
    """The note of a column that would hold numbers if a few of its texts were missing values."""
    numeric = [text for text in first if _numbers([text], spelling) is not None]
    if len(first) < 3 or len(numeric) <= NEARLY * len(first):
        return ""
    counts = column.dropna().astype(str).str.strip().value_counts()
    odd = [text for text in counts.index if text.casefold() not in NO_VALUE and _numbers([text], spelling) is None]
    if not 0 < len(odd) <= 5:
        return ""
    way_out = word("dataset.load.missing", odd)
    return f"{str(column.name)!r} is text because of {quoted(odd)}: {way_out} makes it numbers"
