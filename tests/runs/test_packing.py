"""Jobs of a launcher: every cell once, long ones first, few jobs for many small cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.app.launchers import Launcher
from harness.runs.packing import JOB_SECONDS, plan_jobs

SECONDS = st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=60)
SLURM = Launcher("submitit_slurm", 1, {"array_parallelism": 256, "max_array_size": 1000, "timeout_min": 60})


def sums(jobs, seconds):
    return [sum(seconds[cell] for cell in job) for job in jobs]


@given(SECONDS, st.one_of(st.just("auto"), st.integers(1, 70)), st.integers(0, 20))
def test_every_cell_is_in_one_job_and_the_longest_come_first(seconds, cells_per_job, least):
    jobs = plan_jobs(seconds, cells_per_job, least)
    assert sorted(cell for job in jobs for cell in job) == list(range(len(seconds)))
    assert all(jobs)
    for job in jobs:
        assert [seconds[cell] for cell in job] == sorted((seconds[cell] for cell in job), reverse=True)
    assert sums(jobs, seconds) == sorted(sums(jobs, seconds), reverse=True)
    if cells_per_job == "auto":
        assert len(jobs) >= min(least, len(seconds))
    else:
        assert max(map(len, jobs)) <= cells_per_job
        assert len(jobs) == -(-len(seconds) // cells_per_job)


@given(SECONDS, st.integers(1, 8))
def test_jobs_end_at_nearly_the_same_time(seconds, n):
    """Graham's bound: the fullest of n jobs has at most 4/3 - 1/(3n) of what the best plan's fullest has."""
    jobs = plan_jobs([value * 1e-9 for value in seconds], "auto", n)  # short: no more jobs than workers
    best = max(sum(seconds) / n, max(seconds), sum(sorted(seconds)[-n - 1 :][:2]) if len(seconds) > n else 0.0)
    # `best` is a lower bound of the best plan, so the ratio may exceed Graham's; by the list rule it is below 2.
    assert max(sums(jobs, seconds)) <= (2 - 1 / n) * best * (1 + 1e-9)


def test_the_plan_of_a_known_case_is_the_best():
    jobs = plan_jobs([7, 6, 5, 4, 3, 2, 1], "auto", 2)
    assert sums(jobs, [7, 6, 5, 4, 3, 2, 1]) == [14, 14]
    assert jobs == [[0, 3, 4], [1, 2, 5, 6]]


@pytest.mark.parametrize("seconds", [1.0, 1.6])
def test_ten_thousand_cells_of_a_second_are_at_most_forty_jobs(seconds):
    jobs = SLURM.planned([seconds] * 10_000, "auto")
    assert 20 <= len(jobs) <= 40
    assert max(map(len, jobs)) - min(map(len, jobs)) <= 1


def test_the_number_of_jobs_costs_least():
    """Against every other number: the last job's end and the price of all of them."""
    for total in (50.0, 1e3, 1e5):
        n = len(plan_jobs([total / 2000] * 2000, "auto"))
        prices = total / np.arange(1, 2001) + np.arange(1, 2001) * JOB_SECONDS
        assert total / n + n * JOB_SECONDS <= prices.min() * 1.05


def test_an_array_has_as_many_jobs_as_the_cluster_allows():
    assert len(SLURM.planned([7200.0] * 5000, "auto")) == 1000
    assert len(SLURM.planned([1.0] * 1000, 1)) == 1000


def test_a_job_is_planned_for_half_of_the_time_that_it_may_take():
    jobs = SLURM.planned([60.0] * 1000, "auto")
    assert max(sums(jobs, [60.0] * 1000)) <= 1800


def test_cells_that_nobody_could_time_get_a_job_each():
    assert len(plan_jobs([JOB_SECONDS * 30] * 30, "auto")) == 30


def test_in_this_process_cells_keep_their_order():
    assert Launcher().planned([1.0, 3.0, 2.0], "auto") == [[0, 1, 2]]


def test_workers_of_this_machine_have_several_jobs_each():
    """So that one that gets slow cells does not keep the others waiting."""
    assert len(Launcher("joblib", 1, {"n_jobs": 2}).planned([1.0] * 40, "auto")) == 16
