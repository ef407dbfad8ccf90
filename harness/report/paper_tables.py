"""The tables of a paper, from the answer of a sweep; each of their numbers is put among the macros on the way."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from harness.analysis import Answer, Finding, Study, SweepData
from harness.inference import Interval, Status
from harness.report.booktabs import Row, caption_text, cell_text, tables, with_headings
from harness.report.headlines import name_in_full
from harness.report.latex import macro_name, short_name
from harness.report.markdown import COSTS, p_of
from harness.report.notes import BRACKETS
from harness.report.paper_numbers import Numbers
from harness.report.tiles import chip

MOST_CELLS = 80  # in the table of cells; `harness query` has all
MOST_TARGETS = 3  # in a caption
TARGETS = {"updates": "Updates", "epochs": "Epochs", "seconds": "Seconds"}


class Tables:
    """The tables of one answer. sweeps: ids of its runs, from which fits over many cells are said to come."""

    def __init__(self, data: SweepData, found: Answer, sweeps: Sequence[str], numbers: Numbers) -> None:
        self.data, self.found, self.sweeps, self.numbers = data, found, tuple(sweeps), numbers
        runs = data.cells["run_id"] + " " + data.cells["more_runs"] if len(data.cells) else ()
        self.runs = {cell: tuple(ids.split()) for cell, ids in zip(data.cells["cell"], runs, strict=True)}

    def all(self) -> dict[str, str]:
        """Name -> LaTeX, of the tables that have rows."""
        made = {
            "comparisons": self.comparisons(),
            "rates": self.rates(),
            "targets": self.targets(),
            "scaling": self.scaling(),
            "reductions": self.reductions(),
            "cells": self.cells(),
        }
        return {name: text for name, text in made.items() if text}

    def comparisons(self) -> str:
        rows: list[tuple[str, Sequence[str]]] = []
        for each in self.found.headlines:
            for lead in each.leads:
                name = macro_name(short_name(each.of), "equal", *lead.clock.split())
                of = f"{each.of}, at equal {lead.clock}"
                runs = [run for arm in (lead.first, lead.second) for run in self.runs[arm.best]]
                budget = self.numbers.put(
                    f"{name}Budget", lead.budget, f"{of}: {lead.clock} of every cell", self.sweeps
                )
                arms = [
                    f"{cell_text(name_in_full(arm.best, each))}: "
                    + self.numbers.put(f"{name}{which}", arm.cost, f"{of}: {says} training cost", self.runs[arm.best])
                    for which, says, arm in (("Lowest", "lowest", lead.first), ("Next", "second lowest", lead.second))
                ]
                ratio = lead.comparison.ratio if lead.comparison and lead.comparison.finite else None
                shown = self.numbers.interval(f"{name}Ratio", ratio, f"{of}: lowest over next", runs) if ratio else ""
                p = self.numbers.put(f"{name}P", p_of(lead), f"{of}: p-value", runs)
                rows.append((each.of, [f"{cell_text(lead.clock)}: {budget}", *arms, shown, p, cell_text(chip(lead))]))
        caption = "Lowest median training costs when every cell has spent the same, and the next; " + BRACKETS
        header = ("at equal", "lowest", "next", "ratio of costs", "p", "standing")
        widths = ("1.1in", "1.45in", "1.45in", "l", "l", "l")
        return tables("comparisons", caption_text(caption), widths, header, with_headings(rows))

    def rates(self) -> str:
        rows: list[tuple[str, Sequence[str]]] = []
        for r in self.found.best[self.found.best["n_rates"] > 1].to_dict("records"):
            name, of, runs = self._group(r)
            low, high = (r["low_rate"], r["high_rate"]) if r["low_rate"] < r["high_rate"] else (np.nan, np.nan)
            rate = Interval(r["learning_rate"], low, high)
            cells = [
                self.numbers.interval(f"{name}BestRate", rate, f"{of}: best learning rate tried", runs),
                self.numbers.put(f"{name}BestRateAsMean", r["lr_mean"], f"{of}: best learning rate as lr_mean", runs),
                self.numbers.interval(
                    f"{name}BestCost", _limits(r, "cost"), f"{of}: training cost at its best rate", runs
                ),
            ]
            rows.append((self._heading(r), [f"{r['batch_size']:.0f}", *cells, cell_text(r["edge"])]))
        caption = "Best learning rate tried of each batch size, and the median training cost there at equal epochs."
        header = ("B", "best rate", "as lr_mean", "training cost", "edge of the grid")
        return tables("rates", caption_text(caption), ("r", "l", "l", "l", "l"), header, with_headings(rows))

    def targets(self) -> str:
        rows: list[tuple[str, Sequence[str]]] = []
        for r in self.found.targets.to_dict("records"):
            name, of, runs = self._group(r)
            name, of = f"{name}ToTarget", f"{of}, to target"
            spent = [
                self.numbers.interval(f"{name}{what}", _limits(r, column), f"{of}: {column}", runs)
                for column, what in TARGETS.items()
            ]
            rate = self.numbers.put(f"{name}Rate", r["learning_rate"], f"{of}: learning rate", runs)
            reached = self.numbers.put(f"{name}Reached", r["n_reached"], f"{of}: replicas that reach it", runs)
            counted = f"{reached} of {r['n_replicas']}"
            rows.append((self._heading(r), [f"{r['batch_size']:.0f}", rate, *spent, counted, cell_text(r["edge"])]))
        said = (
            "Until the target, at the learning rate that takes the fewest updates; medians over replicas. " + BRACKETS
        )
        caption = " ".join([caption_text(said), *(self._targets() if rows else ())])
        header = ("B", "rate", "updates", "epochs", "train seconds", "reached", "edge")
        columns = ("r", "l", "l", "l", "l", "l", "l")
        return tables("targets", caption, columns, header, with_headings(rows))

    def _targets(self) -> Iterator[str]:
        """A sentence for the target of each of the first settings; all are macros."""
        on = self.data.finished.groupby("setting")["target_on"].first()
        for i, (setting, cost) in enumerate(self.found.targets_at.items()):
            what = f"{setting}: target, {COSTS[on[setting]]}"
            number = self.numbers.put(f"{short_name(setting)}Target", cost, what, self.sweeps)
            if i < MOST_TARGETS:
                yield f"{cell_text(what)} {number}."

    def scaling(self) -> str:
        """How the best rate grows with B, and where more examples stop saving updates; or why that is not known."""
        rows: list[Row] = []
        fits = {(fit["setting"], fit["reduction"]): fit for fit in self.found.fits.to_dict("records")}
        for key in dict.fromkeys([*self.found.exponents, *fits]):
            name, of = macro_name(short_name(key[0]), key[1]), ", ".join(key)
            cells = [cell_text(of), "", "", ""]
            if exponent := self.found.exponents.get(key):
                cells[1] = cell_text(f"unresolved, as {exponent.status.value}")
                if exponent.status is Status.RESOLVED:
                    cells[1] = self.numbers.interval(
                        f"{name}Power", exponent.p, f"{of}: p in best lr_mean as B^p", self.sweeps
                    )
            if fit := fits.get(key):
                cells[2] = cell_text(fit["status"])
                if fit["resolved"]:
                    cells[2:] = [
                        self.numbers.interval(
                            f"{name}BCrit", _limits(fit, "b_crit"), f"{of}: B_crit, examples", self.sweeps
                        ),
                        self.numbers.interval(
                            f"{name}SMin", _limits(fit, "s_min"), f"{of}: S_min, updates", self.sweeps
                        ),
                    ]
            rows.append(cells)
        caption = "p in best lr_mean ∝ B^p, and the fit S_min (1 + B_crit/B) through the updates to target."
        header = ("data, reduction", "p", "B_crit (examples)", "S_min (updates)")
        return tables("scaling", caption_text(caption), ("1.5in", "1.9in", "1.9in", "l"), header, rows)

    def reductions(self) -> str:
        rows: list[tuple[str, Sequence[str]]] = []
        for each in self.found.sum_or_mean:
            for B, ratio in each.ratios.items():
                name = macro_name(short_name(each.setting), "B", f"{B:.0f}", "sumOverMean")
                of = f"{each.setting}, B={B:.0f}: cost of sum over cost of mean, each at its lowest"
                runs = [run for arm in each.best[B] for run in self.runs[arm.best]]
                rows.append(
                    (
                        each.setting,
                        [f"{B:.0f}", self.numbers.interval(name, ratio, of, runs), cell_text(str(each.tunings[B]))],
                    )
                )
        caption = "Cost of sum over cost of mean at equal epochs, each at the learning rate of its lowest cost."
        header = ("B", "sum / mean", "learning rates")
        return tables("reductions", caption_text(caption), ("r", "l", "3.5in"), header, with_headings(rows))

    def cells(self) -> str:
        cells = self.data.best_first[self.data.best_first["status"] == "FINISHED"]
        rows = [(str(row["setting"]), self._cell(row)) for row in cells.head(MOST_CELLS).to_dict("records")]
        rows.sort(key=lambda row: list(dict.fromkeys(cells["setting"])).index(row[0]))
        left = len(cells) - len(rows)
        said = f"The {len(rows)} cells with the lowest costs of {len(cells)}" if left > 0 else "All finished cells"
        caption = (
            f"{said}: median over the replicas of the training cost at the end with its quartiles, test score with "
        )
        caption += "its baseline (a constant prediction), time of an update with its quartiles, and how replicas ended."
        header = ("cell", "training cost", "test score (baseline)", "µs per update", "outcome")
        return tables("cells", caption_text(caption), ("1.9in", "l", "l", "l", "l"), header, with_headings(rows))

    def _cell(self, row: Mapping[str, Any]) -> Sequence[str]:
        runs, of = self.runs[row["cell"]], f"{row['setting']}, {row['name']}"
        knobs = ("B", f"{row['batch_size']:.0f}", "rate", repr(float(row["learning_rate"])), row["reduction"])
        name = macro_name(short_name(row["setting"]), *knobs)
        cost = Interval(row["score"], row["q25"], row["q75"])
        score = next(
            (key for key in ("final/test_accuracy", "final/test_r2") if not np.isnan(row.get(key, np.nan))), ""
        )
        said, baseline = score.removeprefix("final/").replace("_", " "), score.replace("final/", "baseline/")
        tested = self.numbers.put(f"{name}Test", row.get(score, np.nan), f"{of}: {said}", runs)
        of_constant = self.numbers.put(
            f"{name}TestBaseline", row.get(baseline, np.nan), f"{of}: {said}, baseline", runs
        )
        time = Interval(*(row.get(f"time/update_us{end}", np.nan) for end in ("", "_q25", "_q75")))
        self.numbers.put(f"{name}TrainSeconds", row.get("time/train_seconds", np.nan), f"{of}: train seconds", runs)
        lost = self.numbers.put(f"{name}Diverged", row["n_diverged"], f"{of}: diverged replicas", runs)
        replicas = self.numbers.put(f"{name}Replicas", row["n_replicas"], f"{of}: replicas", runs)
        ended = f"{lost} of {replicas} diverged" if row["n_diverged"] > 0 else cell_text(str(row["outcome"]))
        return (
            cell_text(str(row["name"])),
            self.numbers.interval(f"{name}Cost", cost, f"{of}: final training cost", runs, "quartile"),
            f"{tested} ({of_constant})" if of_constant else tested,
            self.numbers.interval(
                f"{name}UpdateMicroseconds", time, f"{of}: time of an update, microseconds", runs, "quartile"
            ),
            ended,
        )

    def _group(self, row: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
        """Of a setting, reduction and batch size: the beginning of macros, words, the runs of its best cell."""
        name = macro_name(short_name(row["setting"]), "B", f"{row['batch_size']:.0f}", row["reduction"])
        return name, f"{row['setting']}, B={row['batch_size']:.0f}, {row['reduction']}", self.runs[row["cell"]]

    def _heading(self, row: Mapping[str, Any]) -> str:
        return f"{row['setting']}, {row['reduction']}"


def _limits(row: Mapping[str, Any], name: str) -> Interval:
    return Interval(*(float(row[f"{name}{end}"]) for end in ("", "_low", "_high")))


def claims(study: Study, findings: Sequence[Finding], sweeps: Sequence[str], numbers: Numbers) -> str:
    """The verdicts of a study with their effects."""
    return tables(
        "claims",
        caption_text(study.question),
        ("2.1in", "0.8in", "2.2in", "1.3in"),
        ("claim", "verdict", "what was found", "effect"),
        [*_claims(study, findings, sweeps, numbers)],
    )


def _claims(study: Study, findings: Sequence[Finding], sweeps: Sequence[str], numbers: Numbers) -> Iterator[Row]:
    for found in findings:
        claim, effect = f"{found.claim}: {study.claims[found.claim].says}", ""
        if found.effect:
            what = f"claim {found.claim}: effect, {found.unit}"
            effect = numbers.interval(f"Claim{macro_name(found.claim)}Effect", found.effect, what, sweeps)
        yield [
            cell_text(claim),
            cell_text(str(found.verdict)),
            cell_text(found.sentence),
            f"{effect} {cell_text(found.unit)}",
        ]
