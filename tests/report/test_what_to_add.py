"""Where a note names learning rates to add: a second grid that has them settles what the first left open."""

import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
from configs import configured
from synthetic import cell, evidence

from harness.analysis import Answer
from harness.config import learning_rate_factor
from harness.report import headlines, note

RULES = pytest.mark.parametrize("rule", ["constant", "sqrt", "linear"])
ASKED = (0.03, 0.1, 0.3)  # values of the key learning_rate


def factor(rule: str, batch_size: int) -> float:
    return learning_rate_factor(configured(learning_rate_rule=rule, reference_batch_size=64), batch_size)


def cost(asked: float, best: float) -> float:
    return 0.05 * math.exp(math.log(asked / best) ** 2)


def grid(rule: str, asked: Sequence[float], sizes: Sequence[int] = (8, 16), best: float = 0.5) -> list[Any]:
    """The lowest cost of each batch size is near `best`, in units of the key."""
    factors = {B: factor(rule, B) for B in sizes}
    return [cell(B, rate * by, final=cost(rate, best), rate_factor=by) for B, by in factors.items() for rate in asked]


def sums_and_means(rule: str, sums: Sequence[float], sizes: Sequence[int]) -> list[Any]:
    made = []
    for B in sizes:
        by = factor(rule, B)
        made += [cell(B, 0.1 * by, "mean", rate_factor=by)]
        made += [cell(B, rate * by, "sum", final=0.2, rate_factor=by) for rate in sums]
    return made


def rates_in(text: str, before: str) -> list[float]:
    found = re.search(before + r"learning_rate=([\d.,e-]*[\de])", text)
    assert found, text
    return [float(rate) for rate in found[1].split(",")]


def answered(cells: list[Any]) -> tuple[Answer, str]:
    made = evidence(*cells)
    return made.answer, note(made.data, made.answer)


@pytest.mark.sample(3)
@RULES
@pytest.mark.parametrize("before", [r"\(add ", "extend the grid to "])
@pytest.mark.parametrize(("best", "further"), [(0.5, 0.9), (0.02, 0.01)])
def test_one_value_of_the_key_takes_the_best_rate_of_every_batch_size_off_the_edge(rule, before, best, further):
    found, text = answered(grid(rule, ASKED, best=best))
    assert (found.best["edge"] != "").all()
    added = rates_in(text, before)
    assert added == [further]
    found, text = answered(grid(rule, (*ASKED, *added), best=best))
    assert (found.best["edge"] == "").all()
    assert "add learning_rate" not in text


@RULES
def test_where_learning_rates_are_compared_the_next_one_is_a_value_of_the_key(rule):
    (sentence,) = headlines(evidence(*grid(rule, ASKED, sizes=(16,))).answer)
    added = rates_in(sentence, "tried: add ")
    assert added == [0.9]
    (sentence,) = headlines(evidence(*grid(rule, (*ASKED, *added), sizes=(16,))).answer)
    assert "learning rate tried" not in sentence


@pytest.mark.sample(2)
@RULES
@pytest.mark.parametrize(("sizes", "needed"), [((8, 16), [0.00625, 0.0125]), ((24,), [0.1 / 24])])
def test_the_rates_to_add_to_sum_have_the_lr_mean_of_the_mean(rule, sizes, needed):
    found, text = answered(sums_and_means(rule, (0.1,), sizes))
    assert not found.pairs
    added = rates_in(text, "for one lr_mean add ")
    assert added == pytest.approx(needed, rel=1e-9)
    found, _ = answered(sums_and_means(rule, (0.1, *added), sizes))
    assert [pair.batch_size for pair in found.pairs] == list(sizes)
