"""accumulation on sweeps made by hand, and its mistakes against loops that make the same ones."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from synthetic import cell, evidence

from experiments import accumulation as study
from experiments.accumulation import Accumulated, ClippedFirst, FullCount, Tokens, Trained, Unequal
from harness.analysis.study import Finding, judged
from harness.inference import Verdict
from harness.network import MLP, SGD, Engine, Parameters
from harness.runs import studies
from harness.training import Cell
from tests.network.test_accumulation import LOSS, D, literal_gradient
from tests.training.test_cell import configured, draw_dataset, run

SUPPORTED, REFUTED, UNRESOLVED = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.UNRESOLVED
R, P = 10, 6
THETA = np.random.default_rng(0).normal(size=(R, P))
SETTINGS: dict[str, Any] = {"dtype": "float64", "micro_batches": 1, "accumulate": "by_examples"}
WHOLE = {"digits": 0.1, "wine": 0.2}  # final costs in one piece
EXACT = {"wrong": 0.03, "right": 1e-15}
MEAN_RATE = 0.1


def one(dataset: str, off: float = 0.0, rate: float = MEAN_RATE, batch_size: int = 64, **settings: Any) -> dict:
    """A cell whose final parameters are off by so much, relative."""
    files = {"weights.npz": THETA * (1 + off), "cell": (dataset, settings.get("order"))}
    options = {"n_train": 1000, "noise": 0.0, "final": WHOLE.get(dataset, 0.1)} | {
        key: settings.pop(key) for key in ("n_train", "reduction") if key in settings
    }
    return cell(batch_size, rate, dataset=dataset, files=files, **options, **SETTINGS | settings)


def sweep(off: dict[str, float], n_replicas: int = R) -> Any:
    """All cells that the claims read. off: how far the parts, or one of the WAYS, end from the whole batch."""
    parts, single = off.get("parts", 1e-15), off.get("float32", 1e-6)
    cells = []
    for dataset in WHOLE:
        clipped, dropped = {"optimizer.clip_norm": 0.2}, {"last_batch": "drop", "micro_batches": 4}
        cells += [one(dataset), one(dataset, parts, micro_batches=5), one(dataset, **clipped)]
        cells += [one(dataset, **dropped)]
        cells += [one(dataset, off.get("mean of means at η", 0.0), accumulate="mean_of_means", **dropped)]
        cells += [one(dataset, off.get("sum of means at η/K", 0.0), MEAN_RATE / 4, accumulate="sum", **dropped)]
        sums = {"accumulate": "mean_of_means", "reduction": "sum", **dropped}
        cells += [one(dataset, off.get("mean of sums at ηK/B", 0.0), MEAN_RATE / 16, **sums)]
        cells += [one(dataset, batch_size=1000, order=order) for order in ("sorted", "none")]
    cells += [one("digits", dtype="float32"), one("digits", single, dtype="float32", micro_batches=4)]
    windows = {"n_train": 640 + 32}
    cells += [one("windows", **windows), one("windows", off.get("sum", 0.03), 0.1 / 64, reduction="sum", **windows)]
    return evidence(*cells, n_replicas=n_replicas, answered=False)


@pytest.fixture
def findings(monkeypatch) -> Any:
    """mistakes: claim -> how far the wrong and the right way end; ratio: final cost of the wrong one over the whole."""

    def found(
        mistakes: dict[str, dict[str, float]] | None = None, ratio: float = 1.5, n_replicas: int = R, **off: float
    ) -> dict[str, Finding]:
        ways = {
            id(engine): (claim, i) for claim, both in study.MISTAKES.items() for i, engine in enumerate(both.values())
        }
        ways |= {id(engine): ("K3", (None, 0, 1)[i]) for i, engine in enumerate(study.BY_TOKENS)}
        swept = sweep(off, n_replicas)
        costs = {str(row.dataset): swept.final_costs[row.cell] for row in swept.cells.itertuples()}

        def train(name: tuple[str, str], engine: Any) -> Trained:
            claim, i = ways[id(engine)]
            if i is None:
                return Trained(THETA, costs[name[0]])
            far = {**EXACT, **(mistakes or {}).get(claim, {})}[("wrong", "right")[i]]
            return Trained(THETA * (1 + far), costs[name[0]] * (1.0 if i or name[1] == "none" else ratio))

        monkeypatch.setattr(study, "train_again", train)
        findings = judged(studies.definition("accumulation"), study.judge, swept)
        assert not any("nan" in finding.sentence for finding in findings)
        assert max(len(finding.sentence) for finding in findings) <= 400
        return {finding.claim: finding for finding in findings}

    return found


@pytest.fixture
def verdicts(findings) -> Any:
    """The verdicts of `findings`, by claim."""
    return lambda *given, **named: {claim: found.verdict for claim, found in findings(*given, **named).items()}


def test_what_is_planted_is_found(verdicts):
    assert set(verdicts().values()) == {SUPPORTED}


def test_sentences_have_the_extremes_and_tables_every_setting(findings):
    found = findings()
    assert "ends 0.03 from batches in one piece, relative to the parameters, at 1.5 × (random shards: 1 ×) their" in (
        found["K5"].sentence
    )
    assert found["K2"].sentence.startswith(
        "Largest relative difference to by examples at η: 0, of mean of means at η, "
    )
    head, *rows = found["K5"].rows
    assert (head[0], head[-1]) == ("data", "the cost is")
    assert {row[0]: (row[3], row[4]) for row in rows} == {
        **dict.fromkeys(WHOLE, ("1.5 [1.5, 1.5]", "higher")),
        **{dataset + study.RANDOM: ("1 [1, 1]", "within 5 %") for dataset in WHOLE},
    }
    assert found["K1"].rows[0] == ("largest relative difference, computed", *WHOLE)
    assert ("in 4 parts, float32", "1e-06", "") in found["K1"].rows
    assert len(found["K3"].rows) == 1 + 2 * len(WHOLE)


@pytest.mark.sample(1)
@pytest.mark.parametrize(("ratio", "most"), [(1.004, "0.4 %"), (0.98, "2 %"), (1.0321, "3.3 %"), (1.5, "50 %")])
def test_the_answer_says_how_much_the_cost_moves(findings, ratio, most):
    for claim in ("K3", "K4"):
        answer = findings(ratio=ratio)[claim].plain
        assert answer == f"{study.ANOTHER[claim]} The final cost moves by at most {most}."
        assert len(answer) <= 220
    assert findings({"K3": {"right": 1e-8}})["K3"].plain == ""


def test_the_answer_says_where_it_is_open_how_much_the_cost_moves(findings):
    """Three replicas can show a tie but no difference: where costs scatter, nothing is known."""
    assert findings(n_replicas=3)["K3"].plain.endswith(" How much the final cost moves is open.")
    rng, bare = np.random.default_rng(0), evidence(one("digits"), answered=False)
    found = bare.compare({"a": (np.ones(R), np.ones(R)), "b": (np.exp(rng.normal(size=R)), np.ones(R))})
    assert study._moved(found) == "In 1 of 2 settings the final cost moves by at most 0 %; in the others that is open."


def test_lost_replicas_are_said(findings):
    bare = evidence(one("digits"), answered=False)
    costs, lost = np.linspace(1, 2, R), np.where(np.arange(R) < 2, np.inf, 1.0)
    found = bare.compare({"digits": (costs * lost, costs)})
    assert study._costs(found) == "1 × their final cost where neither diverged"
    tried = [study.Tried("digits", *[Trained(THETA, costs)] * 3)]
    *_, ratio, verdict = list(study._both_ways(tried, found, "wrong", "right"))[1]
    assert (ratio, verdict) == ("1 [1, 1] (about 37 seeds would tell, 2 and 0 of 10 lost)", "unresolved")


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("off", "claim"),
    [
        ({"parts": 1e-9}, "K1"),
        ({"float32": 1e-3}, "K1"),
        ({"mean of means at η": 1e-16}, "K2"),
        ({"sum of means at η/K": 1e-15}, "K2"),
        ({"mean of sums at ηK/B": 1e-15}, "K2"),
        ({"sum": 0.031}, "K4"),
    ],
)
def test_what_is_off_refutes(verdicts, off, claim):
    off = {key: max(value, 3e-16) for key, value in off.items()}  # one unit in the last place, at least
    assert verdicts(**off) == {own: REFUTED if own == claim else SUPPORTED for own in study_claims()}


def study_claims() -> tuple[str, ...]:
    return ("K1", "K2", *study.MISTAKES)


@pytest.mark.sample(3)
@pytest.mark.parametrize("claim", ["K3", "K4", "K6"])
@pytest.mark.parametrize("far", [{"wrong": 1e-13}, {"right": 1e-8}, {"wrong": 0.0}])
def test_a_mistake_that_does_not_show_or_is_not_repaired_refutes(verdicts, claim, far):
    """The null: what is called a mistake is the same training."""
    assert verdicts({claim: far})[claim] is REFUTED


def test_random_shards_alone_tell_nothing_about_cost():
    """The repair holds, but whether the cost is higher was asked nowhere."""
    costs = np.ones(R)
    alone = [study.Tried("digits" + study.RANDOM, *[Trained(THETA, costs)] * 3)]
    found = evidence(one("digits"), answered=False).compare({("K5", alone[0].name): (costs, costs)})
    assert study._another_cost(alone, found) is UNRESOLVED


@pytest.mark.slow
def test_an_average_of_averages_at_the_same_cost_refutes(verdicts):
    assert verdicts(ratio=1.0)["K5"] is REFUTED
    assert verdicts(ratio=0.7)["K5"] is REFUTED
    assert verdicts({"K5": {"right": 1e-8}})["K5"] is REFUTED


def test_three_replicas_cannot_tell_costs_apart(verdicts):
    found = verdicts(n_replicas=3)
    assert found.pop("K5") is UNRESOLVED
    assert set(found.values()) == {SUPPORTED}


def test_noise_is_seldom_a_higher_cost():
    """The null of K5: the costs of both ways differ by chance only."""
    rng, bare, wrong = np.random.default_rng(0), evidence(one("digits"), answered=False), 0
    for _ in range(60):
        arms = {("K5", name): tuple(np.exp(0.1 * rng.normal(size=(2, R)))) for name in WHOLE}
        alike = [
            study.Tried(name, *(Trained(THETA, costs) for costs in (*own, own[0]))) for (_, name), own in arms.items()
        ]
        wrong += study._another_cost(alike, bare.compare(arms)) is SUPPORTED
    assert wrong <= 1  # both datasets at once: P < .025² each


def test_without_its_cells_a_claim_is_unresolved():
    bare = evidence(one("digits", **{"optimizer.name": "adam"}), answered=False)
    findings = judged(studies.definition("accumulation"), study.judge, bare)
    assert {finding.claim: finding.verdict for finding in findings} == dict.fromkeys(study_claims(), UNRESOLVED)


# The mistakes, against loops that make them.

N, B, RATE, CLIP = 96, 64, 0.3, 0.05
EDGES = {  # of a whole batch of 64, and of the last one, of 32
    "tokens": ([0, 2, 8, 24, 64], [0, 2, 8, 24, 32]),
    "equal": ([0, 16, 32, 48, 64], [0, 16, 32]),
}


def clipped(g: list[float]) -> list[float]:
    norm = math.sqrt(sum(v * v for v in g))
    return [v * min(1.0, CLIP / norm) for v in g]


def of_tokens(rule: str, tokens: list[int], means: list[list[float]], ends: list[int]) -> list[float]:
    """One gradient: of each part the mean over its tokens, put together by their numbers or not."""
    sizes = [sum(tokens[begin:stop]) for begin, stop in pairwise(ends)]
    parts = [
        [sum(tokens[i] * means[i][j] for i in range(begin, stop)) / size for j in range(D + 1)]
        for (begin, stop), size in zip(pairwise(ends), sizes, strict=True)
    ]
    return put_together(rule, parts, sizes)


@pytest.mark.parametrize(("micro_batches", "rule"), [(1, "by_examples"), (4, "by_examples"), (4, "mean_of_means")])
@pytest.mark.parametrize("n_stack", [1, 2])
def test_tokens_weigh_examples_as_loops_do(micro_batches, rule, n_stack):
    rng = np.random.default_rng(5)
    X, Y = rng.normal(size=(N, D)), rng.integers(2, size=(N, 1)).astype(float)
    params = Parameters.initialized((D, 1), "glorot_normal", [np.random.default_rng(r) for r in range(n_stack)])
    w, tokens = [*params.W[0][-1, :, 0].tolist(), params.b[0][-1, 0, 0].item()], np.resize(study.TOKENS, N).tolist()
    engine = Tokens(micro_batches, rule, MLP(params, "identity", LOSS), SGD(params, RATE), (X, Y), "mean")
    for start, n in ((0, 64), (64, 32)):
        each = [literal_gradient(w, X[start + i].tolist(), Y[start + i, 0]) for i in range(n)]
        ends = list(range(0, n + 1, 64 // micro_batches)) if micro_batches > 1 else [0, n]
        g = of_tokens(rule, tokens[start : start + n], each, ends)
        w = [v - RATE * slope for v, slope in zip(w, g, strict=True)]
    engine.make_updates(slice(0, N), B)
    np.testing.assert_allclose(params.flat[-1], w, rtol=1e-12)


def put_together(rule: str, means: list[list[float]], sizes: list[int]) -> list[float]:
    weights = {"by_examples": [size / sum(sizes) for size in sizes], "full_count": [1 / 4] * len(sizes)}.get(
        rule, [1 / len(sizes)] * len(sizes)
    )
    means = [clipped(g) for g in means] if rule == "clipped_first" else means
    return [sum(weight * g[j] for weight, g in zip(weights, means, strict=True)) for j in range(D + 1)]


def literal(X: np.ndarray, Y: np.ndarray, w: list[float], rule: str, edges: str) -> list[float]:
    """Two epochs of a sigmoid neuron, in Python's own numbers."""
    for _ in range(2):
        for start, own in zip((0, B), EDGES[edges], strict=True):
            means, sizes = [], [stop - begin for begin, stop in pairwise(own)]
            for begin, stop in pairwise(own):
                each = [literal_gradient(w, X[start + i].tolist(), Y[start + i, 0]) for i in range(begin, stop)]
                means.append([sum(g[j] for g in each) / len(each) for j in range(D + 1)])
            g = put_together(rule, means, sizes)
            w = [v - RATE * slope for v, slope in zip(w, g, strict=True)]
    return w


ENGINES: dict[tuple[str, str], Any] = {
    ("mean_of_means", "tokens"): lambda *parts: Unequal(study.TOKENS, "mean_of_means", *parts),
    ("by_examples", "tokens"): lambda *parts: Unequal(study.TOKENS, "by_examples", *parts),
    ("full_count", "equal"): lambda *parts: FullCount(*study.EQUAL, "mean_of_means", *parts),
    ("clipped_first", "equal"): lambda *parts: ClippedFirst(*study.EQUAL, "mean_of_means", *parts),
    ("by_examples", "equal"): lambda *parts: Accumulated(*study.EQUAL, "by_examples", *parts),
}


@pytest.mark.parametrize(("rule", "edges"), ENGINES)
def test_a_mistake_makes_the_steps_that_loops_make(rule, edges):
    rng = np.random.default_rng(5)
    X, Y = rng.normal(size=(N, D)), rng.integers(2, size=(N, 1)).astype(float)
    params = Parameters.initialized((D, 1), "glorot_normal", [rng])
    expected = literal(X, Y, [*params.W[0][0, :, 0].tolist(), params.b[0].item()], rule, edges)
    clip_norm = CLIP if rule == "clipped_first" else None
    parts = MLP(params, "identity", LOSS), SGD(params, RATE, clip_norm=clip_norm), (X, Y), "mean"
    engine: Engine = ENGINES[rule, edges](*parts)
    for _ in range(2):
        engine.make_updates(slice(0, N), B)
    np.testing.assert_allclose(params.flat[0], expected, rtol=1e-12)


@pytest.mark.parametrize("n", [7, 60, 341, 1437])
def test_shards_share_out_the_set_in_proportion(n):
    ends = Unequal.edges(engine_of_lengths(study.SHARDS), n)
    assert (ends[0], ends[-1]) == (0, n)
    assert (
        max(
            abs(stop - start - n * length / 15)
            for (start, stop), length in zip(pairwise(ends), study.SHARDS, strict=True)
        )
        < 1
    )


def engine_of_lengths(lengths: tuple[int, ...]) -> Unequal:
    params = Parameters.initialized((1, 1), "zeros", [np.random.default_rng(0)])
    network = MLP(params, "identity", LOSS)
    return Unequal(lengths, "by_examples", network, SGD(params, 0.1), (np.ones((1, 1)), np.ones((1, 1))), "mean")


@pytest.mark.parametrize("claim", study.MISTAKES)
def test_a_cell_is_trained_by_the_mistake_and_by_its_repair(claim):
    """On 54 examples: for K3 and K6 batches of 32, for K4 of 36 (a last window of two), for K5 the sorted set."""
    sizes: dict[str, Any] = {
        "K3": {"batch_size": 32},
        "K4": {"batch_size": 36},
        "K5": {"batch_size": "full", "order": "sorted"},
    }
    changes = sizes.get(claim, {"batch_size": 32, "optimizer_clip_norm": 0.05}) | {"epochs": 3, "seeds": 3}
    _, flat = run(**changes)
    wrong, right = (
        study.train_again(Cell(configured(**changes), draw_dataset()), engine)
        for engine in study.MISTAKES[claim].values()
    )
    whole = np.concatenate([array.reshape(3, -1) for array in by_layer(flat)], axis=1)
    assert study.relative(right.weights, whole).max() <= 1e-13
    assert study.relative(wrong.weights, whole).min() > 1e-4
    assert wrong.costs.shape == right.costs.shape == (3,)
    assert (wrong.costs != right.costs).all()


def test_a_cell_is_trained_with_tokens():
    """In one piece and in parts to rounding, and not as examples that all weigh as much."""
    changes: dict[str, Any] = {"batch_size": 32, "epochs": 3, "seeds": 3}
    whole, wrong, right = (
        study.train_again(Cell(configured(**changes), draw_dataset()), way) for way in study.BY_TOKENS
    )
    plain = np.concatenate([array.reshape(3, -1) for array in by_layer(run(**changes)[1])], axis=1)
    assert study.relative(right.weights, whole.weights).max() <= 1e-13
    assert study.relative(wrong.weights, whole.weights).min() > 1e-4
    assert study.relative(plain, whole.weights).min() > 1e-4


def by_layer(flat: np.ndarray) -> list[np.ndarray]:
    """W0, W1, b0, b1 of the network of `configured`: 4 inputs, 5 hidden units, 3 classes."""
    params = Parameters((4, 5, 3), flat)
    return [*params.W, *params.b]
