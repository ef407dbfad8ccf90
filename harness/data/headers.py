"""Whether the first row of a text file names the columns."""

import re
from collections.abc import Sequence
from itertools import pairwise

from harness.data.sample import NUMBER, is_gap, is_number

MANY_STEPS = 8  # that numbers of a first row of values do not all go upwards
TRUTH = frozenset({"true", "false", "yes", "no"})  # no names


def looks_like_names(body: Sequence[Sequence[str]]) -> bool:
    """Whether the first of these rows names the columns of the others.

    A column votes for it if the first cell is no number above numbers, or a text that occurs nowhere below in a column
    of few texts; against it if the cell is a number above numbers, or a text that occurs below. Numbers vote for a
    header where they grow from left to right and those of other rows do not: wavelengths, years, 0 1 2 ... A word above
    numbers alone decides.
    """
    first, rest = body[0], body[1:]
    if not rest:
        return not any(map(is_number, first))
    if any(is_gap(cell) for cell in first[1:]) and sum(map(is_number, first)) > 0:
        return False
    if len(rest) > 1 and any(
        _is_word(cell) and _all_numbers([row[i] for row in rest if i < len(row)]) for i, cell in enumerate(first)
    ):
        return True
    numbers = [i for i, cell in enumerate(first) if is_number(cell)]
    if len(numbers) >= 3 and _only_first_grows([[row[i] for i in numbers if i < len(row)] for row in body]):
        return True
    votes = sum(_vote(cell, [row[i] for row in rest if i < len(row)]) for i, cell in enumerate(first))
    return votes > 0 or (votes == 0 and not numbers)


def _is_word(cell: str) -> bool:
    return any(map(str.isalpha, cell)) and not any(map(str.isdigit, cell)) and not is_gap(cell)


def _all_numbers(cells: list[str]) -> bool:
    return bool(cells) and all(map(is_number, cells))


def _vote(cell: str, below: list[str]) -> int:
    values = [value.strip() for value in below if not is_gap(value)]
    if not values or is_gap(cell):
        return 0
    numeric = sum(map(is_number, values)) / len(values)
    if numeric > 0.9:
        return -1 if is_number(cell) else 1
    if cell.strip() in values or cell.strip().casefold() in TRUTH:
        return -1
    alike = _shape(cell) == _shape(values[0]) and any(map(str.isdigit, cell)) and len({*map(_shape, values)}) == 1
    if alike:  # dates, codes
        return -1
    return int(len(set(values)) <= max(1, len(values) // 2))


def _shape(text: str) -> str:
    return re.sub(r"[A-Za-z]", "a", re.sub(r"\d", "0", text.strip()))


def _only_first_grows(body: Sequence[Sequence[str]]) -> bool:
    """Whether the numbers of the first row grow in equal steps or in many, and those of hardly any other row do."""
    rows = [[float(cell) for cell in row if NUMBER.fullmatch(cell.strip())] for row in body[:50]]
    grows = [all(a < b for a, b in pairwise(row)) and len(row) >= 3 for row in rows]
    steps = [b - a for a, b in pairwise(rows[0])]
    regular = len(steps) >= MANY_STEPS or max(steps, default=0) - min(steps, default=0) <= 1e-6 * max(
        rows[0], default=0
    )
    return grows[0] and regular and sum(grows[1:]) <= 0.1 * len(grows)
