"""Which cells a worker trains one after the other, as one job of a launcher: long ones first, small ones together."""

import heapq
import math
from collections.abc import Sequence

JOB_SECONDS = 10.0  # that one more job costs: its process, the imports, a scheduler's attention


def plan_jobs(
    seconds: Sequence[float],
    cells_per_job: int | str,
    least: int = 1,
    longest: float = math.inf,
    most: int | None = None,
) -> list[list[int]]:
    """Jobs as lists of the numbers of cells, of which `seconds` are estimates.

    cells_per_job: at most so many, or auto. least, most: jobs that auto makes. longest: seconds that it plans for one.
    """
    if cells_per_job != "auto":
        return _fill(seconds, math.ceil(len(seconds) / int(cells_per_job)), int(cells_per_job))
    n = max(least, _n_jobs(sum(seconds)), math.ceil(sum(seconds) / longest))
    return _fill(seconds, min(n, len(seconds), most or n))


def _n_jobs(total: float) -> int:
    """The best number of jobs for so many seconds: 32 for 10,000.

    Of n equal jobs that run side by side, the last ends after total / n; all of them cost n × JOB_SECONDS. The sum of
    both is least at n = √(total / JOB_SECONDS).
    """
    return max(1, round(math.sqrt(total / JOB_SECONDS)))


def _fill(seconds: Sequence[float], n: int, cells: int | None = None) -> list[list[int]]:
    """n jobs: each cell, the longest first, goes to the job that has the least to do, so that they end together.

    cells: most of a job. Jobs that take longer come first. Graham (1969): longest processing time first.
    """
    jobs: list[list[int]] = [[] for _ in range(n)]
    least = [(0.0, number) for number in range(n)]
    for cell in sorted(range(len(seconds)), key=lambda cell: -seconds[cell]):
        spent, number = heapq.heappop(least)
        jobs[number].append(cell)
        if cells is None or len(jobs[number]) < cells:
            heapq.heappush(least, (spent + seconds[cell], number))
    return sorted(jobs, key=lambda job: -sum(seconds[cell] for cell in job))
