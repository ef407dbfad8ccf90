"""How long a command says that it will take."""

from types import SimpleNamespace

import pytest

from harness.app.composition import compose_cells
from harness.runs import forecast as module
from harness.runs.forecast import ANSWER_SECONDS, Forecast, announcement, plan, timed
from harness.runs.grid import grid
from harness.training import pass_seconds


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(module.time, "time", lambda: now.seconds)
    return now


@pytest.mark.parametrize("slower", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("workers", [1, 2])
def test_from_the_tenth_second_on_the_time_left_is_right_within_a_factor_of_two(clock, slower, workers):
    """The cells take `slower` times their estimates; half a cell is seen, as a live line does."""
    one = 10.0
    forecast = Forecast({f"cell {i}": one for i in range(20)}, workers, started=clock.seconds, told=clock.seconds)
    takes = one * slower / workers
    ends = 1000 + 20 * takes + (pass_seconds(20 * one / workers) + ANSWER_SECONDS) * slower
    for i in range(20):
        clock.seconds += takes / 2
        if clock.seconds > 1010:
            assert 0.5 <= forecast.left(0.5, f"cell {i}") / (ends - clock.seconds) <= 2
        clock.seconds += takes / 2
        forecast.ended([f"cell {i}"])


def test_before_anything_is_done_the_estimate_counts(clock):
    forecast = Forecast({"a": 10.0, "b": 30.0}, started=clock.seconds, told=clock.seconds)
    assert forecast.left() == pytest.approx(forecast.total)
    assert forecast.part() == 0
    assert announcement(forecast, 2, 5) == "training 2 of 5 cells, about 45 s"


def test_what_is_not_known_is_not_said():
    assert announcement(Forecast({}), 3, 3) == "training 3 of 3 cells"
    assert (
        announcement(Forecast({"a": 100.0}, 2, rough=True), 1, 4) == "training 1 of 4 cells, roughly 56 s on 2 workers"
    )


def test_a_plain_line_is_due_now_and_then(clock):
    forecast = Forecast({"a": 1.0}, started=clock.seconds, told=clock.seconds)
    assert not forecast.is_due()
    clock.seconds += module.LINE_SECONDS + 1
    assert forecast.is_due()
    assert not forecast.is_due()


def test_a_dry_run_times_one_cell_of_each_kind(monkeypatch):
    """Learning rate and reduction hardly change the time of a cell; what they share, they share."""
    asked = []

    def estimated(cell, patience):
        asked.append(cell.config.batch_size)
        return float(cell.config.batch_size)

    monkeypatch.setattr(module, "estimate_seconds", estimated)
    words = ["-m", "dataset=iris", "updates=9", "batch_size=1,2", "learning_rate=0.1,0.2,0.3", "reduction=sum,mean"]
    cells = grid(compose_cells(words).cells)
    lines = plan(cells, timed(cells)).splitlines()
    assert sorted(asked) == [1, 2]
    assert len(lines) == 13
    assert lines[-1] == "12 cells, 0 done, about 18 s to train"


def test_a_dry_run_of_more_kinds_than_it_has_time_for_says_roughly(monkeypatch):
    monkeypatch.setattr(module, "estimate_seconds", lambda cell, patience: float(cell.config.batch_size))
    monkeypatch.setattr(module, "PLAN_PATIENCE", -1.0)  # the first is timed all the same
    cells = grid(compose_cells(["-m", "dataset=iris", "updates=9", "batch_size=1,2,3"]).cells)
    assert plan(cells, timed(cells)).splitlines()[-1] == "3 cells, 0 done, roughly 3 s to train"
