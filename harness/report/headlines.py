"""The first sentences of a sweep's note, which the terminal prints too: who wins, and whether to sum or to average.

`analysis` decides what may be said: here are the words.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis import TARGET_LABELS, Answer, Arm, Headline, Lead, Standing, Tuning
from harness.inference import Interval
from harness.report import reductions
from harness.report.markdown import TIED, further, identical, interval, number, would_tell
from harness.report.style import apart

if TYPE_CHECKING:
    import pandas as pd

AT_TARGET = "a replica starts at its target"
SECONDS = "train seconds"
TUNED = {Tuning.ALIKE: "each at its best learning rate", Tuning.ONE_RATE: "each at the only learning rate tried"}
MOST_NAMED = 3  # cells on the edge
ENDS = {"low": "the smallest", "high": "the largest", "both": "the only"}  # edge of a grid -> which of its rates


def headlines(found: Answer) -> list[str]:
    """One sentence for each comparison; then one on sum and mean for each setting that has both."""
    several = len({each.setting for each in found.sum_or_mean}) > 1
    first = [
        f"{each.of}: {_headline(each, found)}{_to_target(each, found)}{_missing(each)}." for each in found.headlines
    ]
    return first + [reductions.sentence(each, several) for each in found.sum_or_mean]


def best_rates(found: Answer) -> list[str]:
    """A sentence for each setting and reduction with several rates: that of the lowest median at each batch size."""
    tried = found.best[found.best["n_rates"] > 1]
    several, rates, sentences = tried["setting"].nunique() > 1, apart(tried["learning_rate"]), []
    for (setting, reduction), own in tried.sort_values("batch_size").groupby(["setting", "reduction"], sort=False):
        of = f"{setting}, {reduction}" if several else reduction
        ends = [f" ({ENDS[edge]} tried)" if edge else "" for edge in own["edge"]]
        told = zip(own["learning_rate"].map(rates), own["batch_size"], ends, strict=True)
        named = ", ".join(f"{rate} at B={size:.0f}{end}" for rate, size, end in told)
        sentences.append(f"Best learning rate tried, {of}: {named}.")
    return sentences


def _headline(headline: Headline, found: Answer) -> str:
    if not headline.along:
        return _single(headline.cells.iloc[0], found)
    if not headline.leads:
        lost = (headline.cells["n_diverged"] >= headline.cells["n_replicas"] / 2).all()
        return f"no winner, as {'half of the replicas or more of every cell diverged' if lost else AT_TARGET}"
    parts: dict[tuple[str, ...], list[Lead]] = {}
    for lead in headline.leads:
        same_arms = () if lead.standing is Standing.NOT_COMPARED else (lead.first.best, lead.second.best)
        parts.setdefault((lead.standing, lead.tuning, *same_arms), []).append(lead)
    winners = {lead.first.best for lead in headline.leads if lead.standing is Standing.LOWER}
    depends = "the winner depends on the clock: " if len(winners) > 1 else ""
    said = "; ".join(_clause(headline, leads) for leads in parts.values())
    return f"{depends}{said}{_tuned(headline, ', ' if len(parts) == 1 else '; ')}"


def _tuned(headline: Headline, after: str) -> str:
    """At which learning rates the arms are compared, where that is so on every clock."""
    ways = {TUNED.get(lead.tuning, "") for lead in headline.leads}
    return f"{after}{ways.pop()}" if len(ways) == 1 and ways != {""} and headline.along != "learning_rate" else ""


def _single(cell: "pd.Series", found: Answer) -> str:
    """Of the only finished cell: no verdict, its numbers."""
    row = found.cells.set_index("cell").loc[cell["cell"]]
    cost = Interval(*(row[f"final_train_cost{end}"] for end in ("", "_low", "_high")))
    diverged = f"{cell['n_diverged']:g} of {cell['n_replicas']:g} replicas diverged"
    if np.isinf(cost.estimate):
        return f"a single cell, {cell['name']}: {diverged}"
    lost = f", {diverged}" if cell["n_diverged"] else ""
    return f"a single cell, {cell['name']}: final training cost {interval(cost)}{lost}"


def _clause(headline: Headline, leads: Sequence[Lead]) -> str:
    """What is said of the clocks on which the same arms stand in the same way."""
    lead = leads[0]
    first, second = (_arm(arm, headline) for arm in (lead.first, lead.second))
    mixed = len({each.tuning for each in headline.leads}) > 1
    end = _open_end(lead) if headline.along == "learning_rate" else f", {TUNED.get(lead.tuning, '')}" if mixed else ""
    if lead.standing is Standing.LOWER:
        return f"{first} has a lower training cost than {second} {_where(headline, leads)}{end}"
    if lead.standing is Standing.EQUAL:
        both = f"{first} and {second} have the lowest training costs"
        same = "which are identical" if all(map(identical, leads)) else TIED
        return f"tied {_where(headline, leads)}: {both}, {same}{end}"
    where = _where(headline, leads, all_of_them="on any clock")
    if lead.standing is Standing.NOT_COMPARED:
        return f"no verdict {where}, as {_why(headline, leads)}; lowest so far: {_lowest(headline, leads)}"
    tell = "".join(f"; {more}" for more in _tell(leads))
    return f"no winner yet {where}: {first} is lowest so far, {second} next{tell}{end}"


def _tell(leads: Sequence[Lead]) -> Iterator[str]:
    """The most seeds that one of these clocks needs, as these resolve all; the clocks on which no number would do."""
    needed = {lead.clock: lead.comparison.seeds_needed for lead in leads if lead.comparison}
    able = [lead for lead in leads if 0 < (needed[lead.clock] or 0) <= lead.most_pairs]
    never = [lead for lead in leads if (needed[lead.clock] or 0) > lead.most_pairs]
    if able:
        most = max(able, key=lambda lead: needed[lead.clock] or 0)
        yield f"{_at(able) if len(able) + len(never) < len(leads) else ''}{would_tell(most)}"
    for lead in never:
        yield f"{_at([lead]) if len(leads) > 1 else ''}{would_tell(lead)}"


def _at(leads: Iterable[Lead]) -> str:
    return f"at equal {' and '.join(lead.clock for lead in leads)} "


def _lowest(headline: Headline, leads: Sequence[Lead]) -> str:
    arms = [_arm(lead.first, headline) for lead in leads]
    on = {arm: [lead for lead, own in zip(leads, arms, strict=True) if own == arm] for arm in arms}
    clocks = {arm: " and ".join(lead.clock for lead in own) for arm, own in on.items()}
    return arms[0] if len(on) == 1 else ", ".join(f"{arm} at equal {own}" for arm, own in clocks.items())


def _where(headline: Headline, leads: Sequence[Lead], all_of_them: str = "on every clock") -> str:
    """With the budgets at which the costs are compared."""
    if len(leads) == len(headline.leads) and SECONDS in [lead.clock for lead in leads]:
        return f"{all_of_them} ({', '.join(f'{lead.clock} {number(lead.budget)}' for lead in leads)})"
    return f"at equal {' and '.join(f'{lead.clock} ({number(lead.budget)})' for lead in leads)}"


def _arm(arm: Arm, headline: Headline) -> str:
    """The best cell in full, and how many of its replicas diverged."""
    lost = f" ({arm.n_diverged} of {len(arm.costs)} replicas diverged)" if arm.n_diverged else ""
    return f"{name_in_full(arm.best, headline)}{lost}"


def name_in_full(signature: str, headline: Headline) -> str:
    """Of a cell in full, `optimizer=adam, B=64 (η=0.1, mean)`."""
    cell = headline.cells.set_index("cell").loc[signature]
    variant = f"{cell['variant']}, " if headline.along == "setting" and cell["variant"] else ""
    return f"{variant}{cell['name']}"


def _why(headline: Headline, leads: Sequence[Lead]) -> str:
    """Why two arms were not compared, and what would let them be."""
    if leads[0].tuning is Tuning.UNEQUAL:
        return f"the two lowest were {leads[0].tuning}"
    arms = [arm for lead in leads for arm in (lead.first, lead.second)]
    last = list(dict.fromkeys(cell for arm in arms for cell in (arm.edges or arm.gaps)))
    more = f" and {len(last) - MOST_NAMED} more" if len(last) > MOST_NAMED else ""
    named = ", ".join(name_in_full(cell, headline) for cell in last[:MOST_NAMED])
    return f"{leads[0].tuning}: {named}{more} (add learning_rate={_further(arms)} everywhere)"


def _open_end(lead: Lead) -> str:
    """Where learning rates are compared: that the best one is the last of the grid."""
    edge, rate = lead.first.edges.get(lead.first.best), lead.first.of_best("learning_rate")
    return f"; {rate:g} is {ENDS[edge]} learning rate tried: add learning_rate={_further([lead.first])}" if edge else ""


def _further(arms: Iterable[Arm]) -> str:
    """Learning rates beyond the edges of grids and in the middle of their gaps."""
    asked = [(arm.number_of(cell, "asked_rate"), edge) for arm in arms for cell, edge in arm.edges.items()]
    middles = [arm.number_of(cell, "asked_rate") * middle for arm in arms for cell, middle in arm.gaps.items()]
    return further(asked, middles)


def _to_target(headline: Headline, found: Answer) -> str:
    """Which cell has the lowest median to a target that was given: what was measured, and no claim."""
    if not headline.leads or not found.given_targets.intersection(headline.cells["setting"]):
        return ""
    rows = found.cells.set_index("cell").loc[headline.cells["cell"]]
    counts: dict[str, list[str]] = {}
    for axis, clock in TARGET_LABELS.items():
        values = rows[f"{axis}_to_target"]
        if np.isfinite(fewest := values.min()):
            first = values.index[values == fewest]
            more = f" and {len(first) - 1} more" if len(first) > 1 else ""
            counts.setdefault(f"{name_in_full(first[0], headline)}{more}", []).append(f"{clock} ({number(fewest)})")
    if not counts:
        return "; no cell brings half of its replicas to the target"
    firsts = " and ".join(f"{name} in {', '.join(spent)}" for name, spent in counts.items())
    return f"; first at the target, by medians: {firsts}"


def _missing(headline: Headline) -> str:
    n = headline.n_cells - len(headline.cells)
    return f"; {n} of {headline.n_cells} cells {'is' if n == 1 else 'are'} missing" if n else ""
