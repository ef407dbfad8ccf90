"""The tiles on top of a report: for each clock the winner in full, how sure it is, and the ratio of the lowest two."""

from html import escape

import numpy as np

from harness.analysis import Answer, Headline, Lead, Standing
from harness.inference import Interval
from harness.report.headlines import name_in_full
from harness.report.markdown import TIED, identical, interval, number

CHIPS = {Standing.LOWER: "resolved", Standing.EQUAL: "tied", Standing.OPEN: "open", Standing.NOT_COMPARED: "no verdict"}
MOST = 4  # headlines with tiles
WIDTH, HEIGHT, SIDE = 240, 30, 12  # of the ratio's bar, in pixels


def tiles(found: Answer) -> str:
    """A row of tiles for each of the first headlines that compare something."""
    rows = [each for each in found.headlines if each.leads]
    return "".join(_row(each, several=len(found.headlines) > 1) for each in rows[:MOST])


def chip(lead: Lead) -> str:
    return "identical" if lead.standing is Standing.EQUAL and identical(lead) else CHIPS[lead.standing]


def _row(headline: Headline, several: bool) -> str:
    title = f"<h2>{escape(headline.of)}</h2>" if several else ""
    return f'{title}<div class="tiles">{"".join(_tile(lead, headline) for lead in headline.leads)}</div>'


def _tile(lead: Lead, headline: Headline) -> str:
    said = chip(lead)
    winner, second = (escape(name_in_full(arm.best, headline)) for arm in (lead.first, lead.second))
    word = "lower than the next" if lead.standing is Standing.LOWER else "lowest so far"
    against = f"next: {second}"
    if lead.comparison is not None and lead.comparison.finite:
        against = f"{_bar(lead.comparison.ratio)}<p>cost {interval(lead.comparison.ratio)} × that of {second}</p>"
    elif lead.comparison is None:
        against += f"<p>{escape(str(lead.tuning))}</p>"
    kind = said.replace(" ", "-")
    return (
        f'<article class="tile {kind}"><h3>equal {escape(lead.clock)} ({number(lead.budget)})</h3>'
        f'<span class="chip {kind}">{said}</span><p>{word if said != "tied" else TIED}</p>'
        f'<p class="winner">{winner}</p>{against}</article>'
    )


def _bar(ratio: Interval) -> str:
    """The ratio with its interval on a log axis around 1, at least from 1/2 to 2."""
    ends = [value for value in (ratio.low, ratio.estimate, ratio.high) if np.isfinite(value) and value > 0]
    most = max(2.0, *(max(value, 1 / value) for value in ends)) * 1.1

    def place(value: float) -> float:
        inside = np.clip(value, 1 / most, most)
        return float(SIDE + (WIDTH - 2 * SIDE) * (0.5 + 0.5 * np.log(inside) / np.log(most)))

    low, high = (place(value) if np.isfinite(value) else place(ratio.estimate) for value in (ratio.low, ratio.high))
    text = f"ratio {interval(ratio)}"
    middle = HEIGHT / 2
    return (
        f'<svg class="ratio" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text}"><title>{text}</title>'
        f'<line class="axis" x1="{SIDE}" x2="{WIDTH - SIDE}" y1="{middle}" y2="{middle}"/>'
        f'<line class="one" x1="{place(1)}" x2="{place(1)}" y1="3" y2="{HEIGHT - 3}"/>'
        f'<rect x="{low:.1f}" width="{max(high - low, 2):.1f}" y="{middle - 4}" height="8"/>'
        f'<circle cx="{place(ratio.estimate):.1f}" cy="{middle}" r="5"/></svg>'
    )
