"""How a text file is laid out: separator, header, title lines, footers, decimal mark; found out where not given."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.config import ConfigError
from harness.data.columns import quoted
from harness.data.headers import looks_like_names
from harness.data.sample import (
    BLANKS,
    COMMA_NUMBER,
    GROUPED,
    NUMBER,
    RUNS,
    Line,
    Sample,
    is_gap,
    is_number,
    lines_of,
    unquoted,
)

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "colon": ":", "blanks": BLANKS, "runs": RUNS}
MARKS = {"point": ".", "comma": ",", "blank": " ", "apostrophe": "'"}  # words that need no quotes in a shell
SPELLED = {",": ",", ";": ";", "\t": "tab", "|": "|", ":": ":", BLANKS: "blank", RUNS: "several-blank"}
MOST_TITLES, MOST_VOTERS, TAIL_BYTES, MOST_FOOTERS = 60, 200, 2**16, 20
FEWEST_BELOW_UNITS = 3  # rows
NO_HEADER = frozenset({"false", "none", "no"})


@dataclass
class Layout:
    """What to tell pandas, and what to tell the user."""

    sep: str
    names: list[str]
    start: int  # offset of the first row in bytes
    end: int  # offset behind the last row in bytes
    first_row: int  # its line, the first of the file is 1
    header: int | None  # the line of the names; None: no header
    decimal: str
    blank_after: bool  # a blank follows separators in front of quotes
    notes: list[str] = field(default_factory=list)


def layout_of(content: bytes, sep: Any, decimal: Any, header: Any) -> Layout:
    """The layout of a text in UTF-8; a value that is None is found out. Raises ConfigError for one that cannot be."""
    sample = Sample(content)
    if not sample.rows:
        raise ConfigError("dataset.load.path", "a table with rows", f"{len(content)} bytes without one")
    told = _told_by_excel(sample)
    mark = named(sep, SEPARATORS, "sep") or told or sample.separator()
    width = sample.width(mark)
    rows = sample.rows[1:] if told else sample.rows
    names, line = _header(sample, rows, mark, width, header)
    first = _first_row(rows, mark, width, line)
    units = _unit_row([row for row in rows if line and first and row.start >= first.start], mark)
    if units:
        first = next(row for row in rows if row.start > units.start)
    start = first.start if first else len(content)
    end, notes = _without_footers(content, start, mark, width)
    if units:
        notes.append(f"line {units.number} skipped, as it holds units of numbers: {quoted(units.cells(mark))}")
    body = [row.first_cells(mark) for row in rows if row.start >= start]
    point = named(decimal, MARKS, "decimal") or _decimal(body, mark)
    blank_after = len(mark) == 1 and bool(re.search(re.escape(mark) + ' +"', "".join(row.text for row in rows[:50])))
    top = line or first
    if skipped := [unquoted(row.text.strip()) for row in rows if top and row.number < top.number]:
        notes.insert(0, f"{len(skipped)} lines above the table skipped: {quoted(skipped, 3)}")
    if short := [row.number for row in rows if row.start >= start and row.end <= end and row.count(mark) < width]:
        notes.append(f"rows of fewer values (the first in line {short[0]}): those at their ends are missing")
    number = line.number if line else None
    names = names if names else [str(i) for i in range(width)]
    return Layout(mark, names, start, end, first.number if first else 0, number, point, blank_after, notes)


def named(value: Any, words: dict[str, str], key: str) -> str | None:
    """The character that the user gave, or named in words. Raises ConfigError for anything else."""
    if value is None:
        return None
    text = str(value)
    mark = words.get(text.lower(), {"\\t": "\t", " ": words.get("blanks", " ")}.get(text, text))
    if mark not in words.values() and (len(mark) != 1 or mark.isalnum() or mark in '"\r\n'):
        raise ConfigError(f"dataset.load.{key}", f"one character or {' | '.join(words)}, or null: found out", value)
    return mark


def _told_by_excel(sample: Sample) -> str | None:
    """The separator in a first line like `sep=;`."""
    found = re.fullmatch(r'"?sep=(.)"?', sample.rows[0].text.strip("\r\n"), re.IGNORECASE)
    return found[1] if found else None


def _header(sample: Sample, rows: list[Line], sep: str, width: int, given: Any) -> tuple[list[str], Line | None]:
    """The names of the columns and their line: the one that `given` says, or the first that looks like one."""
    if given is not None:
        return _given_header(sample, sep, width, given)
    first = enumerate(rows[: MOST_TITLES + 1])
    top = next((i for i, line in first if line.count(sep) == width and not line.is_title), 0)
    lines = rows[top : top + MOST_VOTERS]
    body = [line.first_cells(sep) for line in lines]
    if looks_like_names(body):
        return rows[top].cells(sep), rows[top]
    ends = all(line.masked.endswith(sep) for line in lines)
    beside = top and rows[top - 1].number + 1 == rows[top].number
    if beside and (names := _short_names(rows[top - 1].cells(sep), body, width, ends)):
        return names, rows[top - 1]
    return _commented(sample, rows[top], sep, width)


def _given_header(sample: Sample, sep: str, width: int, given: Any) -> tuple[list[str], Line | None]:
    if str(given).lower() in NO_HEADER:
        return [], None
    lines = {line.number: line for line in sample.lines if not line.is_blank}
    number = next(iter(lines)) if given is True else int(given) if str(given).isdecimal() else given
    if number in lines:
        names = _uncommented(lines[number]).cells(sep)
        below = [line for line in sample.rows if line.number > number]
        nameless = len(names) == width - 1 and not all(line.masked.endswith(sep) for line in below)
        return [""] * nameless + names, lines[number]
    allowed = f"the line of the column names (the first is 1, the last looked at {max(lines)}), false for none, or null"
    raise ConfigError("dataset.load.header", allowed, given)


def _short_names(names: list[str], body: Sequence[Sequence[str]], width: int, ends: bool) -> list[str]:
    """The names in a line of one cell more or less than the rows have; none where it is a title.

    R names no column of row names; some programs end rows (`ends`), or the header, with a separator.
    """
    if any(map(is_number, names)) or not names[0].strip():
        return []
    if len(names) > width and not any(name.strip() for name in names[width:]):
        return names[:width]
    if len(names) != width - 1:
        return []
    if ends:
        return names
    labels = [row[0].strip() for row in body]
    if not all(map(is_number, labels)) or labels[:3] in (
        ["1", "2", "3"][: len(labels)],
        ["0", "1", "2"][: len(labels)],
    ):
        return ["", *names]
    if width > 2:
        allowed = "as many names in the header as values in a row (add the missing one, or dataset.load.header=false)"
        raise ConfigError("dataset.load.path", allowed, f"{len(names)} names, {width} values")
    return []


def _commented(sample: Sample, top: Line, sep: str, width: int) -> tuple[list[str], Line | None]:
    """A header in a comment right above the first row, as numpy.savetxt writes it."""
    above = [line for line in sample.lines if line.is_comment and line.number < top.number]
    if above:
        line = above[-1]
        stripped = _uncommented(line)
        if stripped.count(sep) == width and not any(map(is_number, stripped.cells(sep))):
            return stripped.cells(sep), line
    return [], None


def _uncommented(line: Line) -> Line:
    """The line without the # that makes it a comment."""
    n = len(line.text) - len(line.text.lstrip("# ")) if line.is_comment else 0
    return replace(line, text=line.text[n:], masked=line.masked[n:])


def _first_row(rows: list[Line], sep: str, width: int, header: Line | None) -> Line | None:
    """The first row behind the header; without a header the first that is not shorter than usual."""
    if header is not None:
        return next((line for line in rows if line.number > header.number), None)
    return next((line for line in rows if line.count(sep) >= width), rows[0])


def _unit_row(rows: Sequence[Line], sep: str) -> Line | None:
    """The first row, if it holds no number and, above several columns of numbers, texts, such as units."""
    first, *body = [row.first_cells(sep) for row in rows[:MOST_VOTERS]] or [[]]
    if len(body) < FEWEST_BELOW_UNITS or any(map(is_number, first)):
        return None
    numeric = 0
    for i, cell in enumerate(first):
        below = [row[i] for row in body if i < len(row) and not is_gap(row[i])]
        numeric += bool(below and not is_gap(cell) and all(map(is_number, below)))
    return rows[0] if numeric >= 2 else None


def _without_footers(content: bytes, start: int, sep: str, width: int) -> tuple[int, list[str]]:
    """The offset behind the last row: lines at the end that are short and hold text are no rows."""
    begin = max(start, len(content) - TAIL_BYTES)
    lines = [line for line in lines_of(content[begin:].decode("latin-1")) if not line.is_blank]
    if begin > start:
        lines = lines[1:]
    n = next((i for i, line in enumerate(reversed(lines)) if not _is_prose(line, sep, width)), len(lines))
    while n and not _begins_footers(lines[: len(lines) - n + 1], sep, width):
        n -= 1
    footers = lines[len(lines) - n :]
    if not footers or len(footers) >= MOST_FOOTERS:
        return len(content), []
    texts = [unquoted(line.text.strip()) for line in footers]
    return begin + footers[0].start, [f"{len(footers)} lines below the table skipped: {quoted(texts, 3)}"]


def _is_prose(line: Line, sep: str, width: int) -> bool:
    """Whether the line begins with text, is shorter or longer than a row, and holds hardly a number."""
    cells = [cell for cell in line.cells(sep) if cell.strip()]
    few = bool(cells) and not is_number(cells[0]) and 3 * sum(map(is_number, cells)) < len(cells)
    return few and (line.count(sep) != width or line.is_title)


def _begins_footers(lines: Sequence[Line], sep: str, width: int) -> bool:
    """Whether the last line is no row: below a blank line, below numbers, or one cell where rows have many."""
    line, above = lines[-1], lines[-2:-1]
    if not above:
        return False
    below_numbers = is_number(above[0].cells(sep, 1)[0]) and width > 1
    below_blank = line.number > above[0].number + 1
    alone = sum(bool(cell.strip()) for cell in line.cells(sep)) == 1 and width > 2
    return below_numbers or (not line.is_title and (below_blank or alone))


def _decimal(body: Sequence[Sequence[str]], sep: str) -> str:
    """Comma, if columns of numbers with commas say so and none has a point; thousands have groups of three digits."""
    points = commas = grouped = 0
    for column in zip(*(row for row in body if len(row) == len(body[0])), strict=True):
        values = [cell.strip() for cell in column if not is_gap(cell)]
        with_comma = [value for value in values if COMMA_NUMBER.fullmatch(value) or GROUPED.fullmatch(value)]
        if with_comma and all(map(is_number, values)) and not any("." in value for value in values):
            threes = all(re.fullmatch(r"[-+]?[1-9]\d{0,2}(,\d{3})+", value) for value in with_comma)
            grouped, commas = grouped + threes, commas + (not threes)
        elif any("." in value and NUMBER.fullmatch(value) for value in values):
            points += not all(re.fullmatch(r"[-+]?\d{1,3}(\.\d{3})+", value) for value in values)
    if commas:
        return "," if not points else "."
    return "," if grouped and sep == ";" and not points else "."


def described(layout: Layout, encoding: str) -> str:
    """One line: how the file was read, each part with the key and the value that say the same."""
    words = {mark: name for name, mark in SEPARATORS.items()}
    parts = [f"{SPELLED.get(layout.sep, repr(layout.sep))}-separated (sep={words.get(layout.sep, layout.sep)})"]
    if layout.decimal != ".":
        parts.append("decimal comma (decimal=comma)" if layout.decimal == "," else f"decimal {layout.decimal!r}")
    header = f"names in line {layout.header} (header={layout.header})"
    parts.append(header if layout.header else "no header (header=false)")
    if encoding not in ("utf-8", "utf-8-sig"):
        parts.append(f"{encoding} (encoding={encoding})")
    return f"read as {', '.join(parts)}; dataset.load.KEY=VALUE says otherwise"
