"""What a figure shows, as its title: the finding where there is one, else that there is none."""

from typing import TYPE_CHECKING

from harness.analysis import Answer, Headline, Standing, SweepData
from harness.inference import Interval, Status
from harness.report.markdown import interval, number

if TYPE_CHECKING:
    import pandas as pd


def titled(figure: str, data: SweepData, found: Answer) -> str:
    """The finding of a figure, and on a second line the sweep."""
    said = {
        "slices": _best,
        "learning_rates": _rates,
        "to_target": _to_target,
        "stability": _stability,
        "outcomes": _outcomes,
    }
    finding = said[figure](data, found) if figure in said else ""
    return f"{finding}\n{data.title}" if finding else data.title


def winners(found: Answer) -> dict[str, str]:
    """Of each headline that compares something: what its first clock says of the lowest two."""
    return {each.of: _winner(each) for each in found.headlines if each.leads}


def _winner(headline: Headline) -> str:
    lead = headline.leads[0]
    names, at = headline.cells.set_index("cell")["name"], f"at equal {lead.clock}"
    name = names[lead.first.best]
    if lead.standing is Standing.LOWER:
        return f"{name} has a lower training cost than {names[lead.second.best]} {at}"
    said = {Standing.EQUAL: "The lowest two are tied", Standing.OPEN: "No winner yet"}
    return f"{said.get(lead.standing, 'No verdict')} {at}; lowest so far: {name}"


def _best(data: SweepData, found: Answer) -> str:
    several = data.finished["setting"].nunique() > 1
    parts = []
    for (setting, reduction), own in found.best[found.best["n_rates"] > 1].groupby(["setting", "reduction"]):
        of = f"{setting}, {reduction}" if several else str(reduction)
        parts.append(f"{of} {_ends(own.sort_values('batch_size'), 'learning_rate')}")
    return f"Best learning rate tried: {_few(parts)}" if parts else ""


def _rates(data: SweepData, found: Answer) -> str:
    several = data.finished["setting"].nunique() > 1
    parts = []
    for (setting, reduction), fit in found.exponents.items():
        of = f"{setting}, {reduction}" if several else str(reduction)
        grows = f"best lr_mean ∝ B^{interval(fit.p)}" if fit.status is Status.RESOLVED else "unresolved"
        parts.append(f"{of}: {grows}")
    return f"How the best rate scales with B: {_few(parts)}" if parts else ""


def _to_target(data: SweepData, found: Answer) -> str:
    several = data.finished["setting"].nunique() > 1
    parts = []
    for fit in found.fits.itertuples():
        of = f"{fit.setting}, {fit.reduction}" if several else str(fit.reduction)
        b_crit = interval(Interval(fit.b_crit, fit.b_crit_low, fit.b_crit_high))
        parts.append(f"{of}: {f'B = {b_crit}' if fit.resolved else 'unresolved'}")
    return f"Where more examples stop saving updates: {_few(parts)}" if parts else ""


def _stability(data: SweepData, found: Answer) -> str:
    several = data.finished["setting"].nunique() > 1
    parts = []
    for (setting, reduction), own in found.frontier.groupby(["setting", "reduction"]):
        stable = own.sort_values("batch_size").dropna(subset="stable")
        if len(stable) and stable["unstable"].notna().any():
            of = f"{setting}, {reduction}" if several else str(reduction)
            parts.append(f"{of} {_ends(stable, 'stable')}")
    return f"Largest stable learning rate tried: {_few(parts)}" if parts else ""


def _ends(own: "pd.DataFrame", rate: str) -> str:
    """A rate at the smallest and at the largest batch size."""
    rows = [own.iloc[0], *([own.iloc[-1]] if len(own) > 1 else [])]
    return ", ".join(f"{row[rate]:g} at B={row['batch_size']:.0f}" for row in rows)


def _outcomes(data: SweepData, found: Answer) -> str:
    cells, first = data.finished, data.finished.sort_values("score").iloc[0]
    lost = int((cells["n_diverged"] > 0).sum())
    diverged = f"in {lost} of {len(cells)} cells a replica diverged" if lost else ""
    if cells["task"].nunique() > 1:  # costs of different data do not compare
        return f"Final costs: {diverged}" if diverged else ""
    lowest = f"the lowest median is {number(first['score'])}, of {first['name']}"
    return f"Final costs: {'; '.join(part for part in (lowest, diverged) if part)}"


def _few(parts: list[str], most: int = 2) -> str:
    more = f"; and {len(parts) - most} more" if len(parts) > most else ""
    return "; ".join(parts[:most]) + more
