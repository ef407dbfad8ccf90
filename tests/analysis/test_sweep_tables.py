"""The tables of a sweep: names that are unique, settings that are what the configuration says, the union of sweeps."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import cell, evidence

from harness.analysis import answer
from harness.analysis.sweep_tables import BUDGETS, families
from harness.config import KNOBS, labels
from harness.report import note

TEXTS = st.sampled_from(["price", "price mean", "price sum", "mean", "B=8", "0.1", "null", 'a "b"', "x,y", ""])
RATES = st.sampled_from([0.1, 0.10000001, np.nextafter(0.1, 1), 1.0, 1e-9]) | st.floats(1e-12, 1e12)
VALUES = st.fixed_dictionaries(
    {
        "dataset.name": st.sampled_from(["digits", "mean t", "sum t", "t B=1", "t"]),
        "model.hidden": st.lists(st.sampled_from([16, 32, 64]), max_size=3),
        "optimizer.name": st.sampled_from(["sgd", "adam"]),
        "batch_size": st.sampled_from([1, 64, 1437, 1234567, 1234568]),
        "learning_rate": RATES,
        "reduction": st.sampled_from(["sum", "mean"]),
        "epochs": st.none() | st.integers(1, 3),
        "updates": st.none() | st.integers(1, 3),
        "target": st.none() | RATES,
        "seed": st.integers(0, 2),
        "code": st.sampled_from(["0123", "4567"]),
    },
    optional={"dataset.load.target": TEXTS | st.none(), "dataset.load.sum": TEXTS, "dataset.load.seed": TEXTS},
)
SWEEPS = st.lists(VALUES, min_size=1, max_size=12, unique_by=lambda values: repr(sorted(values.items())))
SWEPT = ("dataset.name", "batch_size", "learning_rate", "epochs", "seed")
GRIDS = st.fixed_dictionaries(
    {key: st.lists(VALUES.map(lambda v, k=key: v[k]), min_size=1, max_size=2, unique_by=repr) for key in SWEPT}
)


def cells_of(grid: dict[str, list[Any]], base: dict[str, Any]) -> list[dict[str, Any]]:
    """Every value of a key with every value of the others."""
    cells = [base]
    for key, values in grid.items():
        cells = [{**one, key: value} for one in cells for value in values]
    return cells


def comparable(one: dict[str, Any], other: dict[str, Any], cells: list[dict[str, Any]]) -> bool:
    """By definition: alike but for the knobs, and for budgets where no two cells differ in these alone."""

    def but(values: dict[str, Any], *keys: str) -> dict[str, Any]:
        return {key: value for key, value in values.items() if key not in keys}

    alike = [c for c in cells if but(c, *KNOBS, *BUDGETS) == but(one, *KNOBS, *BUDGETS)]
    if other not in alike:
        return False
    follows = not any(a is not b and all(a[k] == b[k] for k in KNOBS) for a in alike for b in alike)
    return follows or but(one, *KNOBS) == but(other, *KNOBS)


@pytest.mark.slow
@given(cells=SWEEPS | st.builds(cells_of, GRIDS, VALUES))
def test_labels_are_unique_and_settings_are_what_the_configuration_says(cells):
    assert len(set(labels(cells))) == len(cells)
    found = [family.setting for family in families(cells)]
    for one, of_one in zip(cells, found, strict=True):
        for other, of_other in zip(cells, found, strict=True):
            assert (of_one == of_other) == comparable(one, other, cells)
    assert len({(name, *(one[key] for key in KNOBS)) for one, name in zip(cells, found, strict=True)}) == len(cells)


def of(*cells: dict[str, Any]) -> Any:
    return evidence(*cells, n_replicas=6)


def test_budgets_that_follow_from_the_batch_size_make_no_setting():
    table = of(cell(1, epochs=3), cell(64, epochs=30)).data.cells
    assert list(table["setting"]) == ["digits", "digits"]
    assert list(table["label"]) == ["digits B=1 η=0.1 mean epochs=3", "digits B=64 η=0.1 mean epochs=30"]


def test_two_budgets_at_one_batch_size_are_two_settings():
    table = of(cell(1, epochs=3), cell(1, epochs=30), cell(64, epochs=30)).data.cells
    assert list(table["setting"]) == ["digits epochs=3", "digits epochs=30", "digits epochs=30"]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("dataset", ("mean t", "sum t")),
        ("dataset.load.target", ("price mean", "price sum")),
        ("seed", (0, 1)),
        ("seeds", (3, 6)),
        ("target", (0.2, 0.3)),
        ("target_on", ("train", "validation")),
    ],
)
def test_two_tasks_are_never_one_comparison(key, values):
    """Whose batch sizes differ, so that a single table would name a winner."""
    made = [cell(B, **{key: value}) for B, value in zip((8, 64), values, strict=True)]
    own = of(*made)
    assert own.data.cells["setting"].nunique() == 2
    assert [headline.leads for headline in own.answer.headlines] == [[], []]
    assert own.answer.n_comparisons == 0
    assert len(own.answer.targets_at) == 2


@pytest.mark.parametrize(
    ("key", "values"), [("model.hidden", ([64, 32], [16, 32])), ("order", ("reshuffle", "sorted"))]
)
def test_two_settings_of_one_task_are_compared_only_at_the_same_batch_sizes(key, values):
    other = [cell(B, **{key: value}) for B, value in zip((8, 64), values, strict=True)]
    assert of(*other).answer.n_comparisons == 0
    same = of(*(cell(8, **{key: value}) for value in values)).answer
    assert same.n_comparisons > 0
    assert [headline.along for headline in same.headlines] == ["setting"]


def test_rates_that_read_alike_are_two_cells():
    own = of(cell(64, 0.1, final=0.2), cell(64, 0.10000001, final=0.1), cell(64, 0.1, "sum"))
    assert list(own.data.cells["label"])[:2] == ["digits B=64 η=0.1 mean", "digits B=64 η=0.10000001 mean"]
    assert own.data.cells["setting"].nunique() == 1
    assert own.answer.best.set_index("reduction")["learning_rate"]["mean"] == 0.10000001
    assert len(own.answer.cells) == 3


def test_each_setting_is_held_to_the_costs_that_it_names():
    """target_on of one cell does not stand for another's: validation costs are 1.1 times as high here."""
    own = of(cell(8, target_on="train", target=0.15), cell(8, target_on="validation", target=0.15))
    updates = own.answer.targets.set_index("setting")["updates"]
    assert updates["digits target_on=train"] < updates["digits target_on=validation"]


def test_cells_that_never_started_have_a_row_and_nothing_is_computed_from_them():
    finished = of(cell(8), cell(64)).data
    rows = finished.cells.assign(status=["FINISHED", "MISSING"], reason=["", "never started"])
    kept = finished.cells["cell"].iloc[0]
    tables = [table[table["cell"] == kept] for table in (finished.replicas, finished.histories)]
    data = type(finished)("t", {}, rows, *tables)
    words = note(data, answer(data))
    assert "1 of 2 cells finished" in words
    assert "Missing: digits B=64 η=0.1 mean (never started)." in words
    nothing = type(finished)("t", {}, rows.assign(status="MISSING"), pd.DataFrame(), pd.DataFrame())
    assert "0 of 2 cells finished" in note(nothing, answer(nothing))
