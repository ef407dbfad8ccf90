"""The first lines of a text file as cells: what the separator, the header and the decimal mark are found out from.

Offsets are in bytes: the UTF-8 text is looked at as Latin-1, in which every byte is a character.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

BLANKS, RUNS = "blanks", "runs of blanks"  # separators of more than one character: one or more, two or more
FIRST_BYTES, MOST_BYTES, ENOUGH_LINES, MOST_LINES = 2**16, 2**26, 50, 400
QUOTED = re.compile(r'(?<![^,;|\t: \r\n])"[^"]*(?:""[^"]*)*"(?![^,;|\t: \r\n])')
LINE = re.compile(r"([^\r\n]*)(\r\n|\n|\r|$)")
CELLS_TYPED, CHARACTERS_TYPED = 200, 2000  # of a line: enough to see what its cells are
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)", re.IGNORECASE)
COMMA_NUMBER = re.compile(r"[-+]?\d*,\d+(?:[eE][-+]?\d+)?")
GROUPED = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
FEW_BLANK_NUMBERS = re.compile(r"[-+\d.,eE]+(?:\s+[-+\d.,eE]+)+")  # cells that a blank should have separated
NO_VALUE = frozenset(
    {
        "?", "-", "--", "---", ".", "..", "*", "na", "n/a", "nan", "null", "none", "missing", "<na>",
        "#n/a", "#na", "#div/0!", "#value!", "#ref!", "#num!", "#null!",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A row of the file that ends where no quote is open: `text` [start:end] and the same with quoted text blotted."""

    number: int  # the first is 1; counted as an editor does
    start: int  # offset in bytes
    end: int  # offset in bytes of the next line
    text: str
    masked: str

    @property
    def is_comment(self) -> bool:
        return bool(re.match(r"#(?![,;|\t])", self.text))  # a column may have the name #

    @property
    def is_title(self) -> bool:
        """Whether separators follow one text alone, as a spreadsheet saves a title."""
        return bool(re.fullmatch(r"[^,;|\t]+(,{2,}|;{2,}|\t{2,}|\|{2,})", self.masked))

    @property
    def is_blank(self) -> bool:
        return not self.text.strip()

    def count(self, sep: str) -> int:
        """How many cells the separator makes."""
        if sep == BLANKS:
            return len(self.masked.split())
        if sep == RUNS:
            return len(re.split(r"\s{2,}|\t", self.masked.strip()))
        return self.masked.count(sep) + 1

    def first_cells(self, sep: str) -> list[str]:
        """So many cells as are enough to see what the columns are."""
        return self.cells(sep, CELLS_TYPED)

    def cells(self, sep: str, most: int | None = None) -> list[str]:
        """The cells as text, without their quotes."""
        pattern = {BLANKS: r"\s+", RUNS: r"\s{2,}|\t"}.get(sep, re.escape(sep))
        masked = self.masked
        offset = len(masked) - len(masked.lstrip()) if sep in (BLANKS, RUNS) else 0
        masked = masked.strip() if sep in (BLANKS, RUNS) else masked
        found, start = [], 0
        for mark in re.finditer(pattern, masked):
            found.append(self.text[offset + start : offset + mark.start()])
            start = mark.end()
            if most is not None and len(found) >= most:
                return list(map(unquoted, found))
        found.append(self.text[offset + start : offset + len(masked)])
        return list(map(unquoted, found))


def unquoted(cell: str) -> str:
    """The text of a cell of the sample: no quotes, UTF-8."""
    bare = cell.strip()
    if len(bare) > 1 and bare[0] == bare[-1] == '"':
        cell = bare[1:-1].replace('""', '"')
    return cell.encode("latin-1").decode("utf-8", errors="replace")


class Sample:
    """The first lines of the text, at least ENOUGH_LINES unless they are very long."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        size = FIRST_BYTES
        while size < min(len(content), MOST_BYTES) and content.count(b"\n", 0, size) < ENOUGH_LINES:
            size *= 4
        self.complete = size >= len(content)
        self.lines = lines_of(content[:size].decode("latin-1"))[:MOST_LINES]
        if not self.complete and len(self.lines) > 1:
            self.lines = self.lines[:-1]

    @cached_property
    def rows(self) -> list[Line]:
        """The lines that hold something, without comments."""
        return [line for line in self.lines if not (line.is_blank or line.is_comment)] or [
            line for line in self.lines if not line.is_blank
        ]

    def separator(self) -> str:
        """The one that makes the most alike rows of the cleanest cells; blanks only where no other one does."""
        marks = {sep: _quality(self.rows, sep) for sep in ("\t", ";", "|", ",")}
        best = max(marks, key=lambda sep: marks[sep])
        if _consistent(self.rows, best) and _clean(self.rows, best) >= 0.9:
            return best
        marks |= {BLANKS: 0.7 * _quality(self.rows, BLANKS), RUNS: 0.9 * _quality(self.rows, RUNS)}
        best = max(marks, key=lambda sep: marks[sep])
        return best if marks[best] > 0 else ":" if _consistent(self.rows, ":") else ","

    def width(self, sep: str) -> int:
        """The number of cells that most rows have; of two equally frequent ones the larger."""
        counts = Counter(line.count(sep) for line in self.rows)
        return max(counts, key=lambda n: (counts[n], n), default=0)


def lines_of(text: str) -> list[Line]:
    """The lines of a text; one that is in quotes when it ends goes on."""
    masked = QUOTED.sub(lambda found: '"' + "q" * (len(found[0]) - 2) + '"', text)
    lines, number = [], 1
    for found in LINE.finditer(masked):
        if not found[0]:
            break
        start, end = found.start(), found.end()
        lines.append(Line(number, start, end, text[start : found.end(1)], found[1]))
        number += max(1, len(re.findall(r"\r\n|\n|\r", text[start:end])))
    return lines


def _quality(rows: list[Line], sep: str) -> float:
    """CleverCSV's measure (van den Burg, Nazábal and Sutton 2019): regular rows × cells of known types."""
    counts = Counter(line.count(sep) for line in rows)
    pattern = sum(n * (length - 1) / length for length, n in counts.items()) / max(1, len(counts))
    return pattern * _clean(rows, sep) ** 2


def _consistent(rows: list[Line], sep: str) -> bool:
    """Whether four rows of five have the same number of cells, and more than one."""
    counts = Counter(line.count(sep) for line in rows)
    length, n = counts.most_common(1)[0] if counts else (0, 0)
    return length > 1 and n >= 0.8 * len(rows)


def _clean(rows: list[Line], sep: str) -> float:
    """The share of cells that hold no other separator, or are numbers with a decimal comma."""
    cells = []
    for line in rows[:100]:
        short = Line(0, 0, 0, line.text[:CHARACTERS_TYPED], line.masked[:CHARACTERS_TYPED])
        cells += short.cells(sep, CELLS_TYPED)
        if len(cells) > 2000:
            break
    return sum(map(_is_clean, cells)) / max(1, len(cells))


def _is_clean(cell: str) -> bool:
    text = cell.strip()
    if COMMA_NUMBER.fullmatch(text) or GROUPED.fullmatch(text):
        return True
    return not (re.search(r"[;|\t]|\S,\S|,$", text) or FEW_BLANK_NUMBERS.fullmatch(text))


def is_number(cell: str) -> bool:
    """Whether the cell reads as a number, perhaps one with a decimal comma or thousands separators."""
    text = cell.strip()
    return any(pattern.fullmatch(text) for pattern in (NUMBER, COMMA_NUMBER, GROUPED))


def is_gap(cell: str) -> bool:
    """Whether the cell is empty or a spelling of "no value"."""
    return cell.strip().casefold() in NO_VALUE or not cell.strip()
