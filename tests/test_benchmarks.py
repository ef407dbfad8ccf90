"""The pure parts of the benchmarks: laws recover what was planted, time adds up, tables read well."""

import csv
import math
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the benchmarks are no part of the package

from benchmarks import __main__ as all_benchmarks  # noqa: E402
from benchmarks import before, markdown_table, number, spread  # noqa: E402
from benchmarks.by_hand import __main__ as by_hand  # noqa: E402
from benchmarks.command import checks as command_checks  # noqa: E402
from benchmarks.command.probe import Ledger, _replace, _training  # noqa: E402
from benchmarks.command.report import _holds, goals, grouped, write_csv  # noqa: E402
from benchmarks.command.runs import HELP, OLD, OUTSIDE, REFUSED, UNKNOWN, UNWATCHED, Run, account, grid  # noqa: E402
from benchmarks.kernel.withheld import without_avx512  # noqa: E402
from benchmarks.scaling import checks as scaling_checks  # noqa: E402
from benchmarks.scaling.laws import (  # noqa: E402
    _columns,
    checkpoint_terms,
    fit,
    fit_laws,
    linear,
    n_checkpoints,
    predict,
    update_terms,
)
from benchmarks.scaling.measurement import slope  # noqa: E402
from benchmarks.scaling.memory import Memory, copies_of_parameters, floats_per_example, trace  # noqa: E402
from benchmarks.scaling.points import FULL, Point, configured, synthetic  # noqa: E402
from benchmarks.scaling.report import _verdict  # noqa: E402
from benchmarks.scaling.times import Cell, Timing, _rounds, train_timed  # noqa: E402

# Laws.


def test_a_law_recovers_planted_coefficients():
    x = np.geomspace(1, 8192, 14)
    law = linear(x, 40 + 0.7 * x)
    assert law.coefficients == pytest.approx({"1": 40, "x": 0.7})
    assert law.worst < 1e-9
    assert law({"1": 1, "x": 100}) == pytest.approx(110)


def test_a_law_of_many_terms_recovers_them_over_decades():
    planted = {"1": 2e-5, "L": 8e-6, "B·P": 3e-10, "B·U": 4e-9, "P": 1e-9}
    points = [point for points in FULL.timed.values() for point in points]
    terms = [update_terms(point) for point in points]
    law = fit(_columns(terms), [sum(planted[k] * row[k] for k in planted) for row in terms])
    assert law.coefficients == pytest.approx(planted, rel=1e-6)


def test_no_cost_is_negative():
    law = linear([1, 2, 4], [4.0, 2.0, 1.0])
    assert min(law.coefficients.values()) >= 0


def test_relative_errors_let_small_values_count():
    x = np.array([1.0, 10, 100, 1000])
    law = linear(x, (5 + x) * [1, 1, 1, 1.1])
    assert law.coefficients["1"] == pytest.approx(5, rel=0.2)
    assert law.typical <= law.worst < 0.1


def planted_times() -> dict[Point, list[Timing]]:
    """What training would take if it followed the laws exactly."""
    points = [point for points in FULL.timed.values() for point in points]
    looks = {p: 1e-4 + 2e-8 * checkpoint_terms(p)["N·U"] for p in points}
    return {p: [Timing(5e-5 + 1e-6 * p.batch_size, looks[p], 0.1 + 0.05 * p.replicas)] * 3 for p in points}


def test_the_laws_of_time_come_from_their_own_axes():
    laws = fit_laws(planted_times())
    assert laws.replicas.coefficients == pytest.approx({"1": 0.1, "x": 0.05})
    assert laws.batch.coefficients == pytest.approx({"1": 5e-5, "x": 1e-6})
    assert laws.checkpoint.coefficients["N·U"] == pytest.approx(2e-8)


def test_a_prediction_grows_with_replicas_and_epochs():
    """A stack takes once what does not grow with the work, so three replicas take less than three times as long."""
    laws = fit_laws(planted_times())
    one, two, three = (predict(Point("", 1000, replicas=R), laws, epochs=1) for R in (1, 2, 3))
    assert two == pytest.approx(2 * one)
    assert 2 * one < three < 3 * one
    assert predict(Point("", 1000), laws, epochs=10) > one


def test_checkpoints_are_counted_as_training_makes_them():
    cell = Cell(configured(Point("", 500, 16), epochs=7), synthetic(500))
    assert n_checkpoints(7 * 25, 25) == sum(1 for _ in cell.train())


def test_a_slope_of_memory_is_the_planted_one():
    by_size = {Point("examples", n): Memory(400.0 * n, 0, 5e5 + 8 * n, 0) for n in (1000, 10_000, 100_000)}
    assert slope(by_size, "data", lambda p: p.n_examples) == pytest.approx(400)
    assert slope(by_size, "training", lambda p: p.n_examples) == pytest.approx(8)


def test_what_grows_with_the_examples_is_said():
    assert _verdict(8.0).startswith("Nothing but the order")
    assert "as if there were 3" in _verdict(24.0)


def test_a_point_knows_its_sizes():
    point = Point("width", 2000, hidden=(64, 32))
    assert point.n_train == 1600
    assert point.n_params == 21 * 64 + 65 * 32 + 33 * 10
    assert floats_per_example(point.sizes) == 20 + 10 + (64 + 32 + 10) + (64 + 32) + 1
    assert copies_of_parameters("adam") == copies_of_parameters("sgd") + 2


def test_rounds_go_on_until_the_seconds_are_spent():
    found = _rounds(["a", "b"], lambda point: point, {"a": [], "b": []}, seconds=0.0, least=2)
    assert found == {"a": ["a", "a"], "b": ["b", "b"]}


def test_a_cell_is_timed_on_its_own_clock():
    timing, n_updates = train_timed(Cell(configured(Point("", 200)), synthetic(200)))
    assert n_updates == 3  # 160 of the examples, 64 at a time
    assert 0 < timing.update * n_updates < timing.wall


@pytest.mark.slow
def test_memory_of_training_is_counted():
    point = Point("", 1000, hidden=(256,), replicas=2)
    trace(point)  # whatever is imported on the way is no memory of training
    memory = trace(point)
    assert memory.data >= 2 * 0.8 * 1000 * 20 * 8
    assert memory.training >= 2 * 4 * point.n_params * 8


# The account of a command.


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hands():
    return Hands()


@pytest.fixture
def ledger(hands):
    return Ledger(hands, lambda: hands.now / 2)


def test_time_is_charged_to_the_innermost_phase(ledger, hands):
    hands.now = 1
    with ledger.phase("tracking"):
        hands.now = 3
        with ledger.phase("figures of cells"):
            hands.now = 7
        hands.now = 8
    ledger.close()
    assert ledger.phases == {"everything else": [1, 0.5], "tracking": [3, 1.5], "figures of cells": [4, 2]}


def test_a_phase_ends_with_an_exception(ledger, hands):
    with pytest.raises(KeyError), ledger.phase("tracking"):
        {}["nothing"]
    assert ledger.innermost == "everything else"


def test_an_account_adds_up():
    found = {
        "phases": {"data": [1.0, 0.9], "tracking": [2.0, 1.0]}, "calls": {"log_batch": [3, 0.2]}, "missing": [],
        "first": {"data": [101.0, 0.5], "training, other replicas": [103.0, 2.0]},
    }  # fmt: skip
    one = account(found, wall=5.0, cpu=4.0, begun=100.0)
    assert one.training_begins == (3.0, 2.0)
    assert one.phases[OUTSIDE] == (2.0, pytest.approx(2.1))
    for i in (0, 1):
        assert sum(seconds[i] for seconds in one.phases.values()) == pytest.approx((one.wall, one.cpu)[i])
        assert sum(grouped(one.phases, i).values()) == pytest.approx((one.wall, one.cpu)[i])


def test_training_is_split_by_the_train_clock(ledger, hands):
    class Record:
        def __init__(self, seconds: float) -> None:
            self.train_seconds = seconds

    def train(self):
        for seconds in (0.0, 1.0, 3.0):
            hands.now += 4
            yield Record(seconds)

    records = [record.train_seconds for record in _training(train, ledger)(None)]
    assert records == [0.0, 1.0, 3.0]
    wall = {name: seconds[0] for name, seconds in ledger.phases.items()}
    assert wall["training, replica 0 (the train clock)"] == pytest.approx(3)
    assert wall["training, other replicas"] == pytest.approx(9)


def test_a_function_that_is_gone_is_named(ledger):
    _replace("benchmarks.command.probe", "Ledger.nowhere", ledger, lambda function: function)
    _replace("benchmarks.command.probe", "Nobody.nowhere", ledger, lambda function: function)
    assert ledger.missing == ["benchmarks.command.probe.Ledger.nowhere", "benchmarks.command.probe.Nobody.nowhere"]


def a_run(wall: float, **phases: float) -> Run:
    named = {name: (seconds, seconds / 2) for name, seconds in phases.items()}
    return Run(wall, wall / 2, named, {}, [], (3.0, 2.0))


def test_goals_are_held_against_cpu_and_wall_time():
    answers = {name: [a_run(1.5)] * 3 for name in (HELP, REFUSED, UNKNOWN)}
    largest = {"report of 200 cells": [a_run(50.0)]}
    found = {
        **answers,
        OLD: [a_run(20.0, tracking=1.0, report=1.0, training=10.0)],
        UNWATCHED: [a_run(20.0)],
        **largest,
    }
    verdicts = [_holds(goal) for goal in goals(found, "report of 200 cells")]
    assert verdicts == ["by CPU time only"] * 5 + ["yes"] * 4 + ["no"]


def test_a_grid_has_the_cells_it_says():
    words = grid(5, 20, 2)
    counts = [len(word.split("=")[1].split(",")) for word in words if "," in word]
    assert counts == [5, 20, 2]


# What they write.


def test_a_table_sets_numbers_to_the_right():
    table = markdown_table(["cells", "seconds"], [["ten", 1234.5], ["fifty", 0.01234]])
    assert table.splitlines() == ["| cells | seconds |", "| --- | ---: |", "| ten | 1,230 |", "| fifty | 0.0123 |"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1_000_000, "1,000,000"), (0.000123, "0.000123"), (float("nan"), "-"), (45.678, "45.7")],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_a_spread_is_median_and_quartiles():
    assert spread([1, 2, 3, 4, 5]) == (3, 2, 4, 5)


def test_phases_are_written_to_csv(tmp_path):
    write_csv(tmp_path / "command.csv", {"--help": [a_run(2.0, training=1.0)]})
    with (tmp_path / "command.csv").open(encoding="utf8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["phase"], row["wall_seconds"]) for row in rows] == [("all", "2.0000"), ("training", "1.0000")]


# What short benchmarks hold against.


class Measured(NamedTuple):
    """As much of what was found as the checks look at."""

    times: dict[Point, list[Timing]]
    memory: dict[str, dict[Point, Memory]]
    expected: dict[Point, float]


def measured(update: float = 1e-4, per_example: float = 1e-6, replica: float = 0.05, training: float = 5e6) -> Measured:
    """update: seconds where there are most examples; 1e-4 elsewhere."""
    times = {p: t for p, t in planted_times().items() if p.axis not in ("examples", "batch size", "replicas")}
    for n, seconds in ((1000, 1e-4), (10_000, update)):
        times[Point("examples", n)] = [Timing(seconds, 0.0, 0.1)]
    for B in (1, 1000):
        times[Point("batch size", batch_size=B)] = [Timing(5e-5 + per_example * B, 0.0, 0.1)]
    for R in (1, 8):
        times[Point("replicas", replicas=R)] = [Timing(1e-4, 0.0, replica * R)]
    point = Point("examples", 100_000)
    return Measured(times, {"examples": {point: Memory(4e7, 0, training, 0)}}, {point: 5e6})


def test_what_holds_is_not_broken():
    assert not list(scaling_checks.broken(measured()))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"training": 7e6}, "the formula says"),
        ({"update": 1e-3}, "ten times the examples"),
        ({"per_example": 1e-4}, "hardly cheaper"),
    ],
    ids=str,
)
def test_what_is_broken_is_said(change, says):
    (line,) = scaling_checks.broken(measured(**change))
    assert says in line


def test_an_answer_that_takes_as_long_as_a_sweep_is_said():
    answers = {name: [a_run(1.0)] for name in (HELP, REFUSED, UNKNOWN)}
    assert not list(command_checks.broken({**answers, OLD: [a_run(5.0)]}))
    assert len(list(command_checks.broken({**answers, OLD: [a_run(1.1)]}))) == 3


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other processors have no AVX-512")
def test_neither_numpy_nor_the_compiled_engine_uses_what_is_withheld():
    code = (
        "from harness.store import environment; from harness.compiled.vectors import BYTES\n"
        "own = environment('compiled')['arithmetic']; print(own['blas'], own['instructions'], BYTES)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=os.environ | without_avx512(), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "Haswell" in done.stdout
    assert not re.search("AVX512|X86_V4", done.stdout)
    assert done.stdout.split()[-1] == "32"


def test_before_and_after_are_told_in_ratios_of_turns():
    text = before.report("abc", "2026-11-22", [{"a": 2.0}, {"a": 4.0}], [{"a": 1.0}, {"a": 1.0}])
    assert text.splitlines()[-1] == "| a | 3 | 1 | 0.375 [0.312, 0.438] |"


def test_a_cell_more_is_the_difference_of_two_sweeps(monkeypatch):
    def run(sources, folder, words, fails=False):
        assert fails == (words == ["batch_size=0"])
        return 10.0 + 0.1 * math.prod(word.count(",") + 1 for word in words)

    monkeypatch.setattr(before, "run", run)
    monkeypatch.setattr(before, "last_sweep", lambda folder: "0123")
    assert before.turn(Path(), Path())["a cell more"] == pytest.approx(0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["", ".before", ".kernel", ".kernel_profile", ".diagnostics_cost", ".scaling", ".command"]
)
def test_help_is_printed_and_nothing_else_happens(name):
    words = [sys.executable, "-m", f"benchmarks{name}", "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m benchmarks{name} [-h]")


def test_all_benchmarks_run_and_one_that_fails_is_named(monkeypatch, capsys):
    asked = []

    def run(command, cwd):
        asked.append(command[1:])
        return SimpleNamespace(returncode=int(command[2] == "benchmarks.scaling"))

    monkeypatch.setattr(all_benchmarks.subprocess, "run", run)
    assert all_benchmarks.main(["--short"]) == 1
    assert asked == [
        ["-m", f"benchmarks.{name}", "--short"]
        for name in ("kernel", "scaling", "command", "by_hand", "many_cells", "calibration")
    ]
    assert capsys.readouterr().err.endswith("Failed: scaling\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scaling", "command"])
def test_a_short_benchmark_runs(name, tmp_path):
    """In a process of its own, as it is meant to be run."""
    words = [sys.executable, "-m", f"benchmarks.{name}", "--short", "--to", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.csv", f"{name}.md", f"{name}.png"}
    assert " nan " not in (tmp_path / f"{name}.md").read_text(encoding="utf8")


def test_the_table_beside_a_script_has_ratios_within_turns():
    """Medians of ratios, not ratios of medians: 2/4, 3/4 and 8/10."""
    page = by_hand.report({"by hand, torch": [4.0, 4.0, 10.0], "harness, NumPy": [2.0, 3.0, 8.0]})
    assert "| by hand, torch | 1 | 4 | 1 |" in page
    assert "| harness, NumPy | 10 | 3 | 0.75 [0.625, 0.775] |" in page


def test_without_numba_the_compiled_command_is_left_out():
    both, one = (by_hand.commands("sklearn", "1,64", 2, compiled) for compiled in (True, False))
    assert both.keys() - one.keys() == {"harness, compiled"}
    assert all(words[-1] == "rerun=all" for name, words in one.items() if name.startswith("harness"))
