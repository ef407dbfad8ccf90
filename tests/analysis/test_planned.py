"""How many comparisons a planned sweep makes, and whether its seeds can resolve any of them."""

import numpy as np
import pytest
from synthetic import cell, evidence

from harness.analysis import n_comparisons, too_few_seeds
from harness.inference import compare_family

BASE = {"dataset.name": "iris", "epochs": 2, "updates": None, "train_seconds": None, "seed": 0} | {"last_batch": "keep"}


def grid(sizes, rates=(0.1,), reductions=("mean",), datasets=("iris",)):
    return [
        {**BASE, "dataset.name": dataset, "batch_size": B, "learning_rate": rate, "reduction": reduction}
        for dataset in datasets
        for B in sizes
        for rate in rates
        for reduction in reductions
    ]


@pytest.mark.parametrize(
    ("cells", "count"),
    [
        (grid([64]), 0),
        (grid([1, 64]), 3),
        (grid([64], rates=(0.1, 1)), 2),  # equal epochs are equal updates
        (grid([64], reductions=("sum", "mean")), 2),  # sum against mean is the headline's comparison
        (grid([1, 64, 512], rates=(0.1, 1), reductions=("sum", "mean")), 4),
        (grid([1, 64], datasets=("iris", "wine")), 6),
        (grid([64], datasets=("iris", "wine")), 0),
        ([one | {"order": order} for order in ("once", "none") for one in grid([1, 64])], 9),  # orders, sizes in each
    ],
)
def test_one_comparison_for_each_clock_and_one_for_sum_against_mean(cells, count):
    assert n_comparisons(cells) == count


def test_no_answer_makes_more_comparisons_than_were_planned():
    axes = {"sizes": (1, 8), "rates": (0.1, 0.3, 1.0), "reductions": ("sum", "mean"), "datasets": ("iris", "wine")}
    planned = grid(**axes)
    costs = {0.1: 0.2, 0.3: 0.1, 1.0: 0.2}
    keys = ("batch_size", "learning_rate", "reduction", "dataset.name")
    found = evidence(*(cell(*(one[key] for key in keys), final=costs[one["learning_rate"]]) for one in planned)).answer
    assert 0 < found.n_comparisons <= n_comparisons(planned)


@pytest.mark.parametrize("m", [1, 3, 10, 26])
def test_the_seeds_named_are_the_fewest_with_which_a_difference_can_be_shown(m):
    """Every comparison as clear as can be."""
    named = next(seeds for seeds in range(1, 20) if not too_few_seeds(m, seeds))
    clear = [{i: (np.ones(seeds), np.full(seeds, 9.0)) for i in range(m)} for seeds in (named - 1, named)]
    before, at = (compare_family(family, 0.05)[0].verdict for family in clear)
    assert (before, at) == ("unresolved", "a lower")
    assert f"seeds={named} can." in too_few_seeds(m, named - 1)


def test_before_training_fewer_comparisons_may_be_made_than_planned():
    """The answer makes none where a best rate is on the edge. No number of them can be shown with five seeds."""
    assert "With seeds=8 perhaps no difference can be shown, as the answer makes up to 8" in too_few_seeds(8, 8, True)
    assert "With seeds=8 no difference can be shown, as the answer makes 8 comparisons" in too_few_seeds(8, 8)
    assert "With seeds=5 no difference can be shown, as the answer makes 8 comparisons" in too_few_seeds(8, 5, True)


def test_without_comparisons_there_is_nothing_to_say():
    assert too_few_seeds(0, 1) == ""


def test_replicas_that_diverged_in_both_arms_are_no_readings():
    assert too_few_seeds(3, 10, pairs=7) == ""
    assert too_few_seeds(3, 10, pairs=6) == (
        "No difference can be shown, as in every comparison both arms diverged in 4 replicas or more of 10; "
        "7 pairs with one that did not can."
    )
    assert "seeds=7 can" in too_few_seeds(3, 6, pairs=6)


def test_a_family_that_no_number_of_seeds_resolves():
    assert "no number of seeds can: make the grid smaller" in too_few_seeds(5000, 100)
