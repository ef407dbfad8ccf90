"""Whether the seeds of a grid can resolve anything, where its cells have different numbers of them."""

from types import SimpleNamespace
from typing import Any

import pytest

from harness.runs.grid import unresolvable

BASE = {"dataset.name": "iris", "epochs": 2, "updates": None, "train_seconds": None, "last_batch": "keep"}


def cells(*seeds: int) -> Any:
    """Two batch sizes, 1 and 64, with each of these numbers of replicas."""
    return [
        SimpleNamespace(
            run_id=None,
            config=SimpleNamespace(replicas=range(n)),
            identity=SimpleNamespace(
                values={**BASE, "seeds": n, "batch_size": B, "learning_rate": 0.1, "reduction": "mean"}
            ),
        )
        for n in seeds
        for B in (1, 64)
    ]


@pytest.mark.parametrize("seeds", [(14,), (14, 1)])  # cells of one replica are there to be looked into
def test_enough_seeds_in_two_cells_can_show_a_difference(seeds):
    assert unresolvable(cells(*seeds)) == ""


def test_too_few_seeds_in_all_but_one_cell_cannot():
    assert "no difference can be shown" in unresolvable(cells(3, 1))
    assert "With seeds=3 no" in unresolvable([*cells(3), cells(14)[1]])
