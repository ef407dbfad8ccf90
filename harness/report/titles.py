"""What a figure shows, as its title: the finding where there is one, else that there is none."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import Answer, Headline, Standing, SweepData
from harness.inference import Interval, Status
from harness.report.headlines import name_in_full
from harness.report.layout import SETTING
from harness.report.markdown import interval, number
from harness.report.style import apart, short_names, two_digits

if TYPE_CHECKING:
    import pandas as pd


def titled(figure: str, data: SweepData, found: Answer) -> str:
    """The finding of a figure, and on a second line the sweep."""
    said = {
        "slices": _best,
        "learning_rates": _rates,
        "to_target": _to_target,
        "timing": _timing,
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
    name, at = name_in_full(lead.first.best, headline), f"at equal {lead.clock}"
    if lead.standing is Standing.LOWER:
        return f"{name} has a lower training cost than {name_in_full(lead.second.best, headline)} {at}"
    said = {Standing.EQUAL: "The lowest two are tied", Standing.OPEN: "No winner yet"}
    return f"{said.get(lead.standing, 'No verdict')} {at}; lowest so far: {name}"


def _best(data: SweepData, found: Answer) -> str:
    best = found.best[found.best["n_rates"] > 1].groupby(["setting", "reduction"])
    return _said("Best learning rate tried", data, {of: _ends(own, "learning_rate") for of, own in best}, " ")


def _rates(data: SweepData, found: Answer) -> str:
    grows = {
        of: f"best lr_mean ∝ B^{interval(fit.p)}" if fit.status is Status.RESOLVED else "unresolved"
        for of, fit in found.exponents.items()
    }
    return _said("How the best rate scales with B", data, grows)


def _to_target(data: SweepData, found: Answer) -> str:
    if not np.isfinite(found.targets["updates"]).any():
        return "At no batch size did half of the replicas reach the target"
    b_crit = {
        (fit.setting, fit.reduction): f"B = {interval(Interval(fit.b_crit, fit.b_crit_low, fit.b_crit_high))}"
        if fit.resolved
        else "unresolved"
        for fit in found.fits.itertuples()
    }
    return _said("Where more examples stop saving updates", data, b_crit)


def _timing(data: SweepData, found: Answer) -> str:
    cells, ends = data.finished, {}
    for setting, own in cells[cells["time/example_us"] > 0].groupby("setting"):
        times = own.groupby("batch_size")["time/example_us"].median()
        few_and_many = {size: times[size] for size in (times.index.min(), times.index.max())}
        ends[setting, ""] = ", ".join(f"{two_digits(us)} µs at B={size:.0f}" for size, us in few_and_many.items())
    return _said("Median train time per example", data, ends, "")


def _stability(data: SweepData, found: Answer) -> str:
    ends = {}
    for of, own in found.frontier.groupby(["setting", "reduction"]):
        stable = own.dropna(subset="stable")
        if len(stable) and stable["unstable"].notna().any():
            ends[of] = _ends(stable, "stable")
    return _said("Largest stable learning rate tried", data, ends, " ")


def _said(what: str, data: SweepData, texts: Mapping[Any, str], between: str = ": ", most: int = 2) -> str:
    """texts: of a setting and reduction. The first two, in the order and with the names of the panels."""
    settings = list(data.finished["setting"].unique())
    names = dict(zip(settings, short_names(settings, SETTING), strict=True))
    parts = [
        f"{f'{names[setting]}, ' if len(settings) > 1 else ''}{reduction}{between}{text}"
        for setting in settings
        for (of, reduction), text in texts.items()
        if of == setting
    ]
    more = f"; and {len(parts) - most} more" if len(parts) > most else ""
    return f"{what}: {'; '.join(parts[:most])}{more}" if parts else ""


def _ends(own: "pd.DataFrame", rate: str) -> str:
    """A rate at the smallest and at the largest batch size."""
    own = own.sort_values("batch_size")
    rows, rates = [own.iloc[0], *([own.iloc[-1]] if len(own) > 1 else [])], apart(own[rate])
    return ", ".join(f"{rates[row[rate]]} at B={row['batch_size']:.0f}" for row in rows)


def _outcomes(data: SweepData, found: Answer) -> str:
    cells, first = data.finished, data.finished.sort_values("score").iloc[0]
    lost = int((cells["n_diverged"] > 0).sum())
    diverged = f"in {lost} of {len(cells)} cells a replica diverged" if lost else ""
    if cells["task"].nunique() > 1:  # costs of different data do not compare
        return f"Final costs: {diverged}" if diverged else ""
    name = ", ".join(filter(None, (first.get("variant"), first["name"])))
    lowest = f"the lowest median is {number(first['score'])}, of {name}" if first["score"] < np.inf else ""
    parts = [part for part in (lowest, diverged) if part]
    return f"Final costs: {'; '.join(parts)}" if parts else ""
