"""Answers in plain words: which settings say yes, and which no."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from harness.analysis import Ratio
from harness.inference import Comparison, Interval, Verdict
from harness.report.markdown import interval, number

WORDS = {
    Verdict.SUPPORTED: "yes",
    Verdict.REFUTED: "no",
    Verdict.CONDITIONAL: "in part",
    Verdict.UNRESOLVED: "not decided",
}
DECIDED = (Verdict.SUPPORTED, Verdict.REFUTED)  # of these the claim has an answer that needs no numbers


def percent(part: float) -> str:
    """`2.5 %` of 0.025."""
    return f"{100 * part:.3g} %"


def joined(names: Iterable[str]) -> str:
    """a; a and b; a, b and c."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def where(parts: Mapping[str, Verdict], before: str = "on ") -> str:
    """`on digits and wine yes, on iris no`: names of settings -> verdict, with what goes before the names.

    Settings of one verdict stand together, in their order; what is not known comes last.
    """
    groups = {word: [name for name, verdict in parts.items() if verdict is of] for of, word in WORDS.items()}
    return ", ".join(f"{before}{joined(names)} {word}" for word, names in groups.items() if names)


def within(parts: Mapping[float, Verdict], before: str = "within ") -> str:
    """`within 10 % yes, within 1 % and 5 % no`: margin, as a part -> verdict."""
    return where({percent(margin): verdict for margin, verdict in parts.items()}, before)


def by_constants(along: Mapping[str, Mapping[float, Verdict]]) -> str:
    """`by the margin: 0.1 yes, 0.05 no`: free constants (words -> value -> verdict), but those of which all say yes."""
    parts = {words: {number(x): found for x, found in own.items()} for words, own in along.items()}
    told = (words for words, own in parts.items() if set(own.values()) != {Verdict.SUPPORTED})
    return "; ".join(f"by {words}: {where(parts[words], '')}" for words in told)


def telling(along: Mapping[float, Mapping[Any, Verdict]]) -> float | None:
    """The constant by which some settings say yes and others no, and most are decided; None if there is none."""
    differ = [x for x, own in along.items() if {*DECIDED} <= {*own.values()}]
    return max(differ, key=lambda x: sum(found in DECIDED for found in along[x].values()), default=None)


def differing(parts: Mapping[tuple[str, str], Verdict], names: Mapping[str, str]) -> str:
    """`the mean and the sum on iris yes, on wine no; the median yes`: of (key, dataset), names has words for the keys.

    Keys that agree on every dataset stand together.
    """
    alike: dict[tuple[tuple[str, Verdict], ...], list[str]] = {}
    for key, words in names.items():
        own = tuple((dataset, verdict) for (of, dataset), verdict in parts.items() if of == key)
        alike.setdefault(own, []).append(words)
    return "; ".join(f"{joined(some)} {_one_or_where(dict(own))}" for own, some in alike.items())


def _one_or_where(parts: Mapping[str, Verdict]) -> str:
    first, *others = set(parts.values())
    return where(parts) if others else WORDS[first]


def by_size(parts: Mapping[tuple[str, float], Verdict], size: str = "B") -> str:
    """`on iris yes, on digits at B = 1 and 8 no`: of (dataset, batch size), a dataset alone for all its sizes."""
    if len(set(parts.values())) == 1:
        return f"everywhere {WORDS[next(iter(parts.values()))]}"
    groups = {word: [key for key, verdict in parts.items() if verdict is of] for of, word in WORDS.items()}
    return ", ".join(f"{places(own, parts, size)} {word}" for word, own in groups.items() if own)


def places(some: Iterable[tuple[str, float]], every: Iterable[tuple[str, float]], size: str = "B") -> str:
    """`on iris and on digits and wine at B = 1`, or `nowhere`: some of all settings (dataset, batch size)."""
    chosen, sizes = _sizes(some), _sizes(every)
    alike: dict[str, list[str]] = {}
    for name, own in chosen.items():
        at = "" if own == sizes[name] else f" at {size} = {joined(f'{B:g}' for B in own)}"
        alike.setdefault(at, []).append(name)
    return joined(f"on {joined(alike[at])}{at}" for at in sorted(alike, key=bool)) if alike else "nowhere"


def _sizes(keys: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, B in sorted(keys, key=lambda key: key[1]):
        found.setdefault(name, []).append(B)
    return found


def span(values: Iterable[float]) -> str:
    """`0.38 to 2.4`: the smallest and the largest of the numbers that are known."""
    known = [value for value in values if np.isfinite(value)]
    return " to ".join(dict.fromkeys(map(number, (min(known), max(known))))) if known else "not known"


def spread(found: Iterable[Interval]) -> str:
    """`0.5 [0.4, 0.6] to 2 [1, 3]`: the lowest and the highest of what is known, each with its limits."""
    known = sorted((one for one in found if not np.isnan(one.estimate)), key=lambda one: one.estimate)
    return " to ".join(dict.fromkeys(map(interval, (known[0], known[-1])))) if known else "not known"


def why_open(found: Iterable[Ratio], *bands: tuple[float, float]) -> str:
    """What leaves some of these ratios open whether they lie in these bands, in short; empty where all are decided.

    The reason of each is in `held`.
    """
    every = list(found)
    own = [one for one in every if Verdict.UNRESOLVED in {one.inside(*band) for band in bands}]
    seeds = [0 if one.edge else max(one.seeds_to_tell(*band) or 0 for band in bands) for one in own]
    return _open(f"{len(every)} ratios", seeds, sum(bool(one.edge) for one in own))


def why_undecided(found: Iterable[tuple[Comparison, str, int]]) -> str:
    """The same of comparisons, each with its edge and n_replicas as in `compared`, which has the reason of each."""
    every = list(found)
    own = [one for one in every if one[1] or one[0].verdict == "unresolved"]
    seeds = [0 if edge else round(_seeds(one, n)) for one, edge, n in own]
    return _open(f"{len(every)} comparisons", seeds, sum(bool(edge) for _, edge, _ in own))


def _open(every: str, seeds: list[int], edges: int) -> str:
    """seeds: that would decide each open one; 0: none is known."""
    known = [n for n in seeds if n]
    lost = len(seeds) - len(known) - edges
    reasons = {
        f"{edges} with a best rate on the edge of its grid": edges,
        f"{len(known)} that about {max(known, default=0)} seeds would tell": len(known),
        f"{lost} with lost or too few replicas": lost,
    }
    return f" Open, of {every}: {joined(words for words, n in reasons.items() if n)}." if seeds else ""


def compared(one: Comparison, edge: str = "", n_replicas: int = 0) -> str:
    """The ratio of two arms with its limits and what qualifies it, as `held` has it. edge: what keeps it open.

    n_replicas: of the sweep, where only a part of them is compared (the others chose rates); seeds are counted in it.
    """
    seeds = _seeds(one, n_replicas)
    needed = f"about {seeds:.0f} seeds would tell" if one.verdict == "unresolved" and seeds else ""
    lost = f"{one.diverged[0]} and {one.diverged[1]} of {one.pairs + one.dropped} lost" if any(one.diverged) else ""
    why = ", ".join(filter(None, [edge or needed, lost]))
    known = interval(one.ratio) if np.isfinite(one.ratio.estimate) else "not known"
    return known + (f" ({why})" if why else "")


def _seeds(one: Comparison, n_replicas: int) -> float:
    """How many would tell, of the sweep; 0: none is known."""
    own = one.pairs + one.dropped
    return (one.seeds_needed or 0) * (n_replicas or own) / max(1, own)
