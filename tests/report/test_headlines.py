"""What a note says first, for sweeps of which it is known what may be said: every sentence and its null case."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from synthetic import cell, evidence

from harness.analysis import Answer, SweepData, Tuning, answer, n_comparisons
from harness.report import headlines, note
from harness.report.markdown import would_tell

RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
Final = Callable[[float, float, str], float | None]  # B, lr_mean, reduction -> final cost, None for diverged


def grid(sizes=(64,), rates=(0.1,), reductions=("mean",), final: Final = lambda *_: 0.1, **options: Any) -> list[Any]:
    """final: of B, η and the reduction."""
    return [
        cell(B, rate, reduction, final=final(B, rate, reduction), **options)
        for B in sizes
        for rate in rates
        for reduction in reductions
    ]


def bowl(best: float, factor: Callable[[float, str], float] = lambda *_: 1.0) -> Final:
    return lambda B, rate, reduction: 0.05 * factor(B, reduction) * math.exp(math.log(rate / best) ** 2)


def matched(sizes: tuple[int, ...], factor: float = 1.0, **options: Any) -> list[Any]:
    """Sum and mean at the same five lr_mean; the costs of sum are `factor` times as high."""
    own = bowl(0.1)
    means = [cell(B, rate, final=own(B, rate, "mean"), **options) for B in sizes for rate in RATES]
    sums = [cell(B, rate / B, "sum", final=own(B, rate, "sum") * factor, **options) for B in sizes for rate in RATES]
    return means + sums


def said(*cells: Any, **options: Any) -> list[str]:
    return headlines(evidence(*cells, **options).answer)


ALIKE = {"n_updates": 100, "update_us": 50}  # with nearly equal batch sizes, clocks that agree
ADAM, SGD = {"optimizer.name": "adam"}, {"optimizer.name": "sgd"}
NEAR = "(epochs 6.15, updates 100, train seconds 0.005)"  # what the cells compared have spent
TEN, TEN_TOO = "(epochs 10, train seconds 0.0166)", "(epochs 10, updates 160, train seconds 0.0166)"
SAME = "Sum or mean: sum at η is mean at ηB (exact where every batch is full)"
NO_WINNER = ("lower training cost", "tied", "no winner", "no verdict", "best learning rate")

SENTENCES: dict[str, tuple[list[Any], list[str]]] = {  # what varies -> cells, what the sentences begin with
    "nothing": (grid(), ["digits: a single cell, B=64 (η=0.1, mean): final training cost 0.1 [0.0925, 0.109]."]),
    "nothing, diverged": (
        grid(final=lambda *_: None),
        ["digits: a single cell, B=64 (η=0.1, mean): 10 of 10 replicas diverged."],
    ),
    "batch size": (
        grid((63, 64), final=lambda B, *_: 0.1 if B == 64 else 0.2, **ALIKE),
        [
            "digits: B=64 (η=0.1, mean) has a lower training cost than B=63 (η=0.1, mean) on every clock "
            f"{NEAR}, each at the only learning rate tried."
        ],
    ),
    "batch size, tied": (
        grid((63, 64), noise=0.002, **ALIKE),
        [
            f"digits: tied on every clock {NEAR}: B=63 (η=0.1, mean) and B=64 (η=0.1, mean) have the lowest "
            "training costs, "
        ],
    ),
    "batch size, unresolved": (
        grid((63, 64), noise=0.6, **ALIKE),
        [
            f"digits: no winner yet on any clock {NEAR}: B=63 (η=0.1, mean) is lowest so far, B=64 (η=0.1, "
            "mean) next; about "
        ],
    ),
    "clocks": (
        [cell(1, final=0.1, n_updates=640), cell(64, final=0.05, n_updates=160)],
        [
            "digits: the winner depends on the clock: B=1 (η=0.1, mean) has a lower training cost than B=64 (η=0.1, "
            "mean) at equal epochs (0.625); B=64 (η=0.1, mean) has a lower training cost than B=1 (η=0.1, mean) at "
            "equal updates (160) and train seconds (0.0166); each at the only learning rate tried."
        ],
    ),
    "learning rate": (
        grid(rates=(0.01, 0.1, 1.0), final=bowl(0.1)),
        [f"digits: B=64 (η=0.1, mean) has a lower training cost than B=64 (η=0.01, mean) on every clock {TEN}."],
    ),
    "learning rate, edge": (
        grid(rates=(0.01, 0.1, 1.0), final=bowl(1.0)),
        [
            f"digits: B=64 (η=1, mean) has a lower training cost than B=64 (η=0.1, mean) on every clock {TEN}; "
            "1 is the "
            "largest learning rate tried: add learning_rate=3."
        ],
    ),
    "reduction": (
        grid(reductions=("sum", "mean"), final=lambda B, rate, reduction: 0.1 if reduction == "sum" else 0.2),
        [
            f"digits: B=64 (η=0.1, sum) has a lower training cost than B=64 (η=0.1, mean) on every clock {TEN}, "
            "each at the ",
            f"{SAME}; at no batch size above 1 were they tried at one lr_mean; each at the only learning rate "
            "tried (B = 64, lr_mean 6.4 for sum and 0.1 for mean) sum has the lower training cost at equal epochs; "
            "for one lr_mean add learning_rate=0.0015625 to sum, and tune both.",
        ],
    ),
    "reduction, diverged": (
        grid(reductions=("sum", "mean"), final=lambda B, rate, reduction: None if reduction == "sum" else 0.2),
        ["digits: B=64 (η=0.1, mean) has a lower", f"{SAME}; at no batch size above 1"],
    ),
    "reduction, one example": (
        grid((1,), reductions=("mean", "sum"), noise=0.0),
        [
            "digits: tied on every clock (epochs 10, train seconds 0.42): B=1 (η=0.1, mean) and B=1 (η=0.1, "
            "sum) have the lowest training costs, ",
            "Sum or mean: only B = 1 has both, and one example leaves nothing to reduce, so they are one training.",
        ],
    ),
    "optimiser": (
        grid(**SGD) + grid(final=lambda *_: 0.05, **ADAM),
        ["digits: optimizer=adam, B=64 (η=0.1, mean) has a lower training cost than optimizer=sgd, B=64 (η=0.1, mean)"],
    ),
    "datasets": (
        grid(dataset="iris") + grid(dataset="wine"),
        ["iris: a single cell, B=64 (η=0.1, mean)", "wine: a single cell, B=64 (η=0.1, mean)"],
    ),
    "all diverged": (
        grid((1, 64), (0.1, 1.0), final=lambda *_: None),
        ["digits: no winner, as half of the replicas or more of every cell diverged."],
    ),
    "tuned": (
        grid((63, 64), RATES, final=bowl(0.1, lambda B, _: 1.0 if B == 63 else 2.0), **ALIKE),
        [
            "digits: B=63 (η=0.1, mean) has a lower training cost than B=64 (η=0.1, mean) on every clock "
            f"{NEAR}, each at its best learning rate."
        ],
    ),
    "edges": (
        grid((8, 64), RATES[:3], final=bowl(0.1)),
        [
            f"digits: no verdict on any clock {TEN_TOO}, as a best learning rate is on the edge of its grid: "
            "B=64 (η=0.1, mean), B=8 (η=0.1, mean) (add learning_rate=0.3 everywhere)"
        ],
    ),
    "unequal grids": (
        grid((8,), RATES, final=bowl(0.1)) + grid((64,), final=lambda *_: 0.4),
        [f"digits: no verdict on any clock {TEN_TOO}, as the two lowest were not tried at the same batch sizes "],
    ),
    "sum and mean, tuned": (
        matched((8, 64), factor=1.2),
        ["digits: ", f"{SAME}; at one lr_mean their final costs differ by up to "],
    ),
    "sum and mean, identical": (
        matched((1, 8, 64), noise=0.0),
        [
            "digits: ",
            f"{SAME}; at one lr_mean they end at the same costs, bit for bit (10 pairs of cells); each at its best "
            "learning rate (B = 8, 64) they are identical.",
        ],
    ),
    "sum and mean under adam": (
        grid(rates=RATES, reductions=("sum", "mean"), final=bowl(0.1), noise=0.0, **ADAM),
        [
            f"digits: tied on every clock {TEN}: ",
            "Sum or mean: sum at η is mean at η but for ε, where every batch is full; at one lr_mean they end "
            "at the same costs, bit for bit (5 pairs",
        ],
    ),
}


@pytest.mark.sample(8)
@pytest.mark.parametrize("varied", SENTENCES)
def test_the_first_sentences_say_what_the_cells_can_bear(varied):
    cells, expected = SENTENCES[varied]
    sentences = said(*cells)
    assert len(sentences) == len(expected)
    for sentence, beginning in zip(sentences, expected, strict=True):
        assert sentence.startswith(beginning)
        assert "nan" not in sentence


@pytest.mark.parametrize("varied", ["nothing", "nothing, diverged", "datasets"])
def test_nothing_is_compared_where_there_is_nothing_to_compare(varied):
    cells, _ = SENTENCES[varied]
    assert not any(word in sentence for sentence in said(*cells) for word in NO_WINNER)


def test_the_note_begins_with_them():
    cells, _ = SENTENCES["reduction"]
    of = evidence(*cells)
    assert note(of.data, of.answer).split("\n\n")[:2] == [f"**{sentence}**" for sentence in headlines(of.answer)]


def only(data: SweepData, n: int) -> SweepData:
    """The sweep when its first n cells have finished."""
    status = np.where(np.arange(len(data.cells)) < n, "FINISHED", "MISSING")
    kept = set(data.cells["cell"][:n])
    tables = {
        name: own[own["cell"].isin(kept)] for name, own in (("replicas", data.replicas), ("histories", data.histories))
    }
    return replace(data, cells=data.cells.assign(status=status), **tables)


def test_missing_cells_are_in_the_same_sentence():
    data = evidence(*grid((1, 8, 64, 512), RATES), answered=False).data
    (sentence,) = headlines(answer(only(data, 7)))
    assert sentence.endswith("; 13 of 20 cells are missing.")
    (sentence,) = headlines(answer(only(data, 1)))
    assert sentence.startswith("digits: a single cell, B=1 (η=0.01, mean): final training cost ")
    assert sentence.endswith("; 19 of 20 cells are missing.")
    assert headlines(answer(only(data, 0))) == []


def test_where_seconds_do_not_compare_no_clock_is_said_to_be_every_clock():
    data = replace(evidence(*grid((1, 64)), answered=False).data, timing="one reading")
    assert "every clock" not in headlines(answer(data))[0]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (
            0.2,
            "; first at the target, by medians: B=64 (η=0.1, mean) and 1 more in updates (23.1), train "
            "seconds (0.0024) and B=1 (η=0.1, mean) in epochs (0.14).",
        ),
        (1e-9, "no cell brings half of its replicas to the target."),
        (None, ""),
    ],
)
def test_with_a_target_the_first_to_reach_it_is_named(target, words):
    """B=1 is ahead after equal epochs, B=64 after equal updates, at either rate."""
    cells = [
        cell(1, final=0.1, n_updates=640, target=target),
        *(cell(64, rate, final=0.05, n_updates=160, noise=0.0, target=target) for rate in (0.1, 0.2)),
    ]
    (sentence,) = said(*cells)
    assert words in sentence
    assert ("the target" in sentence) == (target is not None)


# Sum or mean


def verdict_on_sum(cells: list[Any], **options: Any) -> Answer:
    return evidence(*cells, **options).answer


def test_one_rate_is_not_a_best_rate():
    """batch_size=64 learning_rate=0.1 reduction=sum,mean compares lr_mean 6.4 with 0.1: no best against best."""
    cells = grid(reductions=("sum", "mean"), final=lambda B, rate, reduction: 0.1 if reduction == "sum" else 0.2)
    of = evidence(*cells)
    (found,) = of.answer.sum_or_mean
    assert found.tuning is Tuning.ONE_RATE
    words = note(of.data, of.answer)
    assert "each at its best" not in words
    assert "each at the only learning rate tried" in words


@pytest.mark.parametrize(("rates", "tuning"), [(RATES[:3], Tuning.ON_EDGE), (RATES, Tuning.ALIKE)])
def test_best_against_best_needs_a_best_inside_the_grid(rates, tuning):
    cells = grid((8, 64), rates, ("sum", "mean"), bowl(0.1, lambda _, reduction: 1.0 if reduction == "sum" else 2.0))
    (found,) = evidence(*cells).answer.sum_or_mean
    assert found.tuning is tuning
    assert (found.comparison is not None) == (tuning is Tuning.ALIKE)
    words = said(*cells)[-1]
    assert ("sum has the lower training cost" in words) == (tuning is Tuning.ALIKE)
    assert ("no verdict on each at its best" in words) == (tuning is Tuning.ON_EDGE)


def test_beside_a_gap_of_the_grid_no_rate_is_the_best():
    """0.01 is lowest, and the next one thirty times as large: what lies between may be lower still."""
    wide, rates = [0.003, 0.01, 0.3, 3.0], (0.01, 0.03, 0.1, 0.3)
    cells = grid((63, 64), wide, final=lambda B, rate, _: bowl(0.01 if B == 64 else 0.3)(B, rate, _))
    (headline,) = evidence(*cells).answer.headlines
    assert {lead.tuning for lead in headline.leads} == {Tuning.BY_GAP}
    words = said(*cells)[0]
    assert "no verdict" in words
    assert "B=64 (η=0.01, mean), B=63 (η=0.3, mean) (add learning_rate=0.0548 everywhere)" in words
    for fine in (rates, [0.01, 0.1, 1.0]):  # steps of ten are no gap
        cells = grid((63, 64), fine, final=lambda B, rate, _: bowl(0.1)(B, rate, _) * (1.2 if B == 64 else 1))
        assert {lead.tuning for lead in evidence(*cells).answer.headlines[0].leads} == {Tuning.ALIKE}


@pytest.mark.sample(1)
@pytest.mark.parametrize(("decay", "tuning"), [(0.0, Tuning.ALIKE), (0.01, Tuning.ON_EDGE)])
def test_a_mean_inside_its_grid_covers_a_sum_on_the_edge_where_they_are_one_training(decay, tuning):
    final = bowl(0.1, lambda B, _: 1.0 if B == 63 else 2.0)
    cells = grid(
        (63, 64),
        RATES,
        ("sum", "mean"),
        lambda B, rate, reduction: final(B, rate * B if reduction == "sum" else rate, reduction),
        **ALIKE,
        **{"optimizer.weight_decay": decay},
    )
    (headline,) = evidence(*cells).answer.headlines
    assert {lead.tuning for lead in headline.leads} == {tuning}
    assert {edge for lead in headline.leads for edge in lead.first.edges.values()} == ({"low"} if decay else set())
    assert ("each at its best learning rate" in said(*cells)[0]) == (not decay)
    assert ("B=63 (η=0.01, sum), B=64 (η=0.01, sum) (add learning_rate=0.00333 ev" in said(*cells)[0]) == bool(decay)


def test_a_batch_size_that_is_best_on_the_edge_may_be_better_beyond():
    """SGD's best is at B=8, inside its grid; but at B=64 its costs still fall at the largest rate."""
    cells = grid((8, 64), RATES, final=lambda B, rate, _: bowl(0.1)(B, rate, _) if B == 8 else 0.3 / rate, **SGD)
    cells += grid((8, 64), RATES, final=bowl(0.1, lambda *_: 2.0), **ADAM)
    (task,) = [each for each in evidence(*cells).answer.headlines if each.along == "setting"]
    assert {lead.tuning for lead in task.leads} == {Tuning.ON_EDGE}
    assert "edge of its grid: optimizer=sgd, B=64 (η=1, mean) (add learning_rate=3 everywhere)" in said(*cells)[0]


def test_best_against_best_needs_as_many_rates():
    """Six against one, all of them noise: the six would win too often."""
    cells = grid(rates=(*RATES, 3.0)) + grid(reductions=("sum",))
    (found,) = evidence(*cells).answer.sum_or_mean
    assert found.tuning is Tuning.UNEQUAL
    assert "their numbers of learning rates differ" in said(*cells)[-1]


def test_what_breaks_the_identity_is_named():
    cells = grid(reductions=("sum", "mean"), **ADAM, **{"optimizer.weight_decay": 0.01, "optimizer.clip_norm": 1.0})
    assert said(*cells)[-1].startswith(
        "Sum or mean: sum at η is mean at η but for ε and weight decay and clipping, where"
    )


def test_micro_batches_that_are_not_put_together_by_examples_have_another_factor():
    parts = {"micro_batches": 4, "accumulate": "sum"}
    found = said(*grid(reductions=("sum", "mean"), **parts))[-1]
    assert found.startswith("Sum or mean: sum at η is mean at ηB/K (exact where all micro-batches have B/K examples)")
    found = said(*grid(reductions=("sum", "mean"), **parts | {"accumulate": "by_examples"}))[-1]
    assert found.startswith("Sum or mean: sum at η is mean at ηB (exact where every batch is full)")
    swept = evidence(*matched((8, 64), **parts))
    assert "ηB/K in place of ηB" in note(swept.data, swept.answer)


def test_a_growing_batch_breaks_the_identity_of_rules_whose_step_grows_with_the_gradient():
    grows = {"batch_size_schedule": "step"}
    assert said(*grid(reductions=("sum", "mean"), **grows))[-1].startswith(
        "Sum or mean: sum at η is mean at ηB but for a batch size that grows, where every batch is full"
    )
    cells = grid(reductions=("sum", "mean"), **ADAM, **grows)
    assert said(*cells)[-1].startswith("Sum or mean: sum at η is mean at η but for ε, where")


@pytest.mark.parametrize(
    ("needed", "words"),
    [
        (99, "about 99 "),
        (346, "about 350 "),
        (1000, "about 1000 "),
        (1001, "more than 1000 "),
        (5136, "more than 1000 "),
    ],
)
def test_many_seeds_are_not_counted_to_the_last(needed, words):
    lead = evidence(*grid((63, 64), noise=0.6, **ALIKE)).answer.headlines[0].leads[0]
    assert lead.comparison is not None
    asked = replace(lead, comparison=replace(lead.comparison, seeds_needed=needed))
    assert would_tell(asked).startswith(f"{words}seeds would tell")


@pytest.mark.parametrize(("needed", "none"), [(256, False), (257, True), (5000, True)])
def test_seeds_beyond_the_readings_of_seconds_tell_nothing(needed, none):
    leads = evidence(*grid((63, 64), noise=0.6, **ALIKE)).answer.headlines[0].leads
    for lead in leads:
        assert lead.comparison is not None
        words = would_tell(replace(lead, comparison=replace(lead.comparison, seeds_needed=needed)))
        never = "no number of seeds would tell, as seconds have at most 256 readings, unless they scatter less"
        assert (words == never) == (none and lead.clock == "train seconds")


def test_a_sentence_about_every_clock_says_that_seeds_do_not_help_seconds(monkeypatch):
    monkeypatch.setattr("harness.analysis.headlines.MOST_BLOCKS", 32)
    words = said(*grid((63, 64), noise=0.6, **ALIKE))[0]
    assert "seeds would tell; at equal train seconds no number of seeds would tell, as seconds have at most" in words


@pytest.mark.parametrize(
    ("needed", "words"),
    [
        ((6, 6), "; about 6 seeds would show a tie, each"),
        ((6, 7), "; about 7 seeds would tell, each"),
        ((20, 7), "; about 20 seeds would tell, each"),
        (
            (6, 257),
            "; about 6 seeds would show a tie; at equal train seconds no number of seeds would tell, as seconds",
        ),
        ((None, 7), "; at equal train seconds about 7 seeds would tell, each"),
        ((6, None), "; at equal epochs about 6 seeds would show a tie, each"),
        ((None, 257), "; at equal train seconds no number of seeds would tell, as seconds"),
        ((None, None), " next, each"),
    ],
)
def test_the_seeds_that_are_said_of_several_clocks_tell_on_all_of_them(needed, words):
    """Three seeds of two comparisons: at six a tie can be shown, at seven a difference."""
    of_decay = {0: (0.1, 40), 0.001: (0.102, 41)}  # final cost, µs of an update
    own = [
        cell(64, final=final, update_us=us, noise=0.004, **{"optimizer.weight_decay": decay})
        for decay, (final, us) in of_decay.items()
    ]
    found = evidence(*own, n_replicas=3).answer
    (headline,) = found.headlines
    assert {lead.clock for lead in headline.leads} == {"epochs", "train seconds"}
    for lead, seeds in zip(headline.leads, needed, strict=True):
        assert lead.comparison is not None
        lead.comparison = replace(lead.comparison, seeds_needed=seeds)
    (sentence,) = headlines(found)
    assert "no winner yet on any clock" in sentence
    assert words in sentence


@pytest.mark.parametrize(("n_replicas", "lower"), [(6, False), (7, True)])
def test_no_headline_says_lower_where_the_note_says_that_none_can_be_shown(n_replicas, lower):
    """Two engines learn the same to the bit, so that only seconds differ."""
    engines = {"vectorized": 40, "per_example": 80}  # µs of an update
    cells = [cell(8, noise=0.0, update_us=us, block_noise=0.05, engine=name) for name, us in engines.items()]
    of = evidence(*cells, n_replicas=n_replicas)
    assert ("has a lower training cost" in headlines(of.answer)[0]) == lower
    assert ("no difference can be shown, as the answer makes 2 comparisons" in note(of.data, of.answer)) != lower


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 0.12, "differ by up to 20 % (2 pairs of cells, most at B = 64, lr_mean 1)"),
        (0.001, 0.53, "differ by up to 530 times (2 pairs of cells, most at B = 64, lr_mean 1)"),
        (0.1, None, "bit for bit (1 pair of cells), but at B = 64, lr_mean 1 sum alone diverged in 10 of 10"),
    ],
)
def test_the_largest_difference_at_one_lr_mean_has_a_place_and_a_size_that_can_be_read(low, high, words):
    cells = [cell(64, rate, final=low, noise=0.0) for rate in (0.1, 1.0)]
    cells += [cell(64, rate / 64, "sum", final=f, noise=0.0) for rate, f in ((0.1, low), (1.0, high))]
    of = evidence(*cells)
    assert words in headlines(of.answer)[-1]
    text = note(of.data, of.answer)
    assert "inf" not in headlines(of.answer)[-1]
    assert ("B=64, lr_mean 1: sum alone diverged in 10 of 10 replicas." in text) == (high is None)
    assert ("up to 530 times apart." in text) == (high == 0.53)


def test_where_all_replicas_diverged_in_sum_alone_no_costs_are_the_same():
    cells = [cell(64, 1.0, final=0.1), cell(64, 1 / 64, "sum", final=None)]
    expected = "no costs can be compared: at B = 64, lr_mean 1 sum alone diverged in 10 of 10 replicas"
    assert expected in said(*cells)[-1]


def test_batch_sizes_that_disagree_get_no_common_verdict():
    cells = grid(
        (8, 64), (0.1,), ("sum", "mean"), lambda B, _, reduction: 0.1 if (reduction == "sum") == (B == 8) else 0.2
    )
    assert (
        "there is no verdict for all: so far sum is lower at B = 8, mean at B = 64 (95 % intervals)" in said(*cells)[-1]
    )


def lower_by(percent: float, **options: Any) -> list[Any]:
    """Sum is lower by so much at B = 8, and higher by so much at B = 64."""
    factor = 1 + percent / 100
    return grid(
        (8, 64),
        (0.1,),
        ("sum", "mean"),
        lambda B, _, red: 0.1 if (red == "sum") == (B == 8) else 0.1 * factor,
        **options,
    )


def test_noise_that_goes_two_ways_is_no_disagreement():
    of = evidence(*lower_by(8, noise=0.4), seed=1)
    (found,) = of.answer.sum_or_mean
    assert all(1 in ratio for ratio in found.ratios.values())
    text = note(of.data, of.answer)
    assert "it is unresolved which is lower at equal epochs, about " in headlines(of.answer)[-1]
    assert "unresolved (these batch sizes together), p = " in text
    assert "disagree" not in text
    assert "no verdict for all" not in text


def test_batch_sizes_that_differ_by_noise_may_be_tied_or_lower_together():
    tied = said(*lower_by(0, noise=0.01))[-1]
    assert "they are equal within 5% at equal epochs, by the geometric mean over these batch sizes" in tied
    lower = said(*grid((8, 64), (0.1,), ("sum", "mean"), lambda B, _, red: 0.1 if red == "sum" else 0.13, noise=0.02))
    assert "sum has the lower training cost at equal epochs, by the geometric mean over these" in lower[-1]


def test_a_reduction_that_diverged_at_one_batch_size_and_is_lower_at_another_gets_no_common_verdict():
    final = {(8, "sum"): None, (8, "mean"): 0.1, (64, "sum"): 0.1, (64, "mean"): 0.2}
    cells = grid((8, 64), (0.1,), ("sum", "mean"), lambda B, _, reduction: final[int(B), reduction])
    assert "so far sum is lower at B = 64, mean at B = 8" in said(*cells)[-1]


def test_costs_that_are_identical_have_no_p():
    cells, _ = SENTENCES["sum and mean, identical"]
    of = evidence(*cells)
    text = note(of.data, of.answer)
    assert "| identical (these batch sizes together) |" in text
    assert "identical (these batch sizes together), p" not in text
    both = evidence(*grid((64,), RATES, ("sum", "mean"), bowl(0.1), noise=0.0, **ADAM))
    assert "which are identical" in headlines(both.answer)[0]
    assert "|  | identical |" in note(both.data, both.answer)


# How many comparisons


def values_of(cells: list[Any]) -> list[dict[str, Any]]:
    knobs = ("batch_size", "learning_rate", "reduction")
    return [{"dataset.name": own["dataset"], **{key: own[key] for key in knobs}, **own["params"]} for own in cells]


@pytest.mark.sample(6)
@pytest.mark.parametrize("varied", SENTENCES)
def test_a_planned_grid_makes_at_most_the_comparisons_that_are_counted(varied):
    cells, _ = SENTENCES[varied]
    assert evidence(*cells).answer.n_comparisons <= n_comparisons(values_of(cells))


def test_all_comparisons_of_a_note_are_one_family():
    """Alone, this sweep of iris is resolved; beside nine others it has to clear Holm's correction for thirty."""
    clear = grid((63, 64), dataset="set 0", final=lambda B, *_: 0.1 if B == 64 else 0.107, noise=0.06, **ALIKE)
    null = [own for i in range(1, 10) for own in grid((63, 64), dataset=f"set {i}", noise=0.06, **ALIKE)]
    alone = evidence(*clear).answer.headlines[0].leads[0]
    beside = evidence(*clear, *null).answer.headlines[0].leads[0]
    assert alone.comparison is not None
    assert beside.comparison is not None
    assert beside.comparison.p > alone.comparison.p


@pytest.mark.parametrize("n_replicas", [1, 2, 5])
def test_a_few_replicas_resolve_nothing_and_the_note_says_how_many_would(n_replicas):
    """As clear as can be: the other arm diverges."""
    cells = grid(reductions=("sum", "mean"), final=lambda B, rate, reduction: None if reduction == "sum" else 0.1)
    of = evidence(*cells, n_replicas=n_replicas)
    assert "lower training cost" not in " ".join(headlines(of.answer))
    assert f"With seeds={n_replicas} no difference can be shown" in note(of.data, of.answer)


@pytest.mark.parametrize(("rule", "unit"), [(SGD, 64), (ADAM, 1)])
def test_the_frontier_is_given_in_canonical_units_too(rule, unit):
    cells = grid(rates=(0.1, 1.0), reductions=("sum",), final=lambda B, rate, _: 0.1 if rate < 1 else None, **rule)
    (row,) = evidence(*cells).answer.frontier.itertuples()
    assert (row.stable, row.unstable) == (0.1, 1.0)
    assert (row.stable_lr_mean, row.unstable_lr_mean) == pytest.approx((0.1 * unit, 1.0 * unit))
