"""Launchers: who runs the jobs of a sweep. Options are in conf/hydra/launcher; the engines are joblib, Ray, submitit.

Every job ends before a lost one is told of: a worker that dies stops no other job, except under joblib, which then ends
all its workers.
"""

import logging
import math
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from harness.config import ConfigError

T = TypeVar("T")
Tasks = Sequence[Callable[[], T]]

ALL = -1  # as many workers as there are cores
POLL_SECONDS = 0.2
ENDING_SECONDS = 10.0  # that jobs of this machine may take to end after a signal
EXTRAS = {"joblib": "joblib", "ray": "ray", "submitit_local": "submitit", "submitit_slurm": "submitit"}
LEAST_JOBS = {"joblib": 8, "ray": 8, "submitit_local": 1, "submitit_slurm": 0}  # per worker
QUIET = {  # of a Ray cluster on this machine
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",  # nobody else reaches it; or else a token is written to the home folder
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class Launcher:
    """name: of an engine. threads: cores that a cell uses. options: of conf/hydra/launcher."""

    name: str = "basic"
    threads: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def workers(self) -> int:
        """That train at the same time."""
        if self.name == "submitit_slurm":
            return int(self.options["array_parallelism"])
        if self.name == "ray":
            return _ray_cores(self) // self.threads
        return int(self.options["n_jobs"]) if "n_jobs" in self.options else 1

    @property
    def is_exclusive(self) -> bool:
        """Whether one worker trains everything, so that timings mean something."""
        return self.name != "submitit_slurm" and self.workers == 1

    def planned(self, seconds: Sequence[float], cells_per_job: int | str) -> list[list[int]]:
        """The jobs for cells of so many estimated seconds; in this process one, with the cells in their order."""
        if self.name == "basic":
            return [list(range(len(seconds)))]
        from harness.runs import packing

        longest = 30.0 * self.options.get("timeout_min", math.inf)  # half of what a job may take
        least = LEAST_JOBS[self.name] * self.workers
        return packing.plan_jobs(seconds, cells_per_job, least, longest, self.options.get("max_array_size"))

    def start(self) -> None:
        """Begin what takes time or may be refused. Raises ConfigError."""
        if self.name == "ray":
            _start_ray(self)
        if self.name == "submitit_slurm" and shutil.which("sbatch") is None:
            allowed = "submitit_local, or a machine that has sbatch (a login node of the cluster)"
            raise ConfigError("hydra/launcher", allowed, self.name)

    def run(self, tasks: Tasks[T]) -> list[T]:
        """What the tasks return. Raises the error of one that was lost when all others have ended."""
        return ENGINES[self.name](tasks, self)


def checked(launcher: Launcher, n_cells: int, cells_per_job: int | str) -> Launcher:
    """The launcher with its number of workers. Raises ConfigError."""
    name, options = launcher.name, launcher.options
    if name not in ENGINES:
        allowed = f"{' | '.join(ENGINES)}, or a file in hydra/launcher of --config-dir FOLDER with the name of one"
        raise ConfigError("hydra/launcher", allowed, name)
    if name in EXTRAS and find_spec(EXTRAS[name]) is None:
        allowed = f'a launcher that is installed: pip install -e ".[{EXTRAS[name]}]" -c constraints.txt'
        raise ConfigError("hydra/launcher", allowed, name)
    for key in {"timeout_min", "array_parallelism", "max_array_size"} & options.keys():
        if type(options[key]) is not int or options[key] < 1:
            raise ConfigError(f"hydra.launcher.{key}", "an integer >= 1", options[key])
    if isinstance(options.get("mem_gb", 1), bool | str) or (options.get("mem_gb") or 1) <= 0:
        raise ConfigError("hydra.launcher.mem_gb", "a number > 0, or null", options["mem_gb"])
    most = options.get("max_array_size", math.inf)
    if cells_per_job != "auto" and n_cells > int(cells_per_job) * most:
        allowed = f"auto, or enough for {most} jobs (hydra.launcher.max_array_size)"
        raise ConfigError("cells_per_job", allowed, cells_per_job)
    return Launcher(name, launcher.threads, options | {"n_jobs": _n_jobs(launcher)} if "n_jobs" in options else options)


def _n_jobs(launcher: Launcher) -> int:
    """Parallel workers: as many as there are cores for their BLAS threads. Raises ConfigError for more."""
    from joblib import cpu_count

    n_jobs, most = launcher.options["n_jobs"], max(1, cpu_count() // launcher.threads)
    if type(n_jobs) is not int or (n_jobs != ALL and not 1 <= n_jobs <= most):
        allowed = f"{ALL} or 1 .. {most} ({cpu_count()} cores, threads={launcher.threads})"
        raise ConfigError("hydra.launcher.n_jobs", allowed, n_jobs)
    return most if n_jobs == ALL else n_jobs


def _all(results: Iterable[Callable[[], T]]) -> list[T]:
    """Every result; the first error, but only when all have ended."""
    values, errors = [], []
    for result in results:
        try:
            values.append(result())
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return values


def _call(task: Callable[[], T]) -> T:
    return task()


def _in_turn(tasks: Tasks[T], launcher: Launcher) -> list[T]:
    return [task() for task in tasks]


def _joblib(tasks: Tasks[T], launcher: Launcher) -> list[T]:
    from joblib import Parallel, delayed

    return list(Parallel(n_jobs=launcher.workers, batch_size=1)(delayed(task)() for task in tasks))


def _start_ray(launcher: Launcher) -> None:
    options = launcher.options["ray"]["init"]
    own = options.get("address") is None
    for name, value in QUIET.items() if own else ():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return
    cores = launcher.options["n_jobs"] * launcher.threads
    more = {"num_cpus": cores, "include_dashboard": False} if own else {}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        address = "local" if own else options["address"]  # or else Ray looks for a cluster of another command
        ray.init(**{"log_to_driver": False, "logging_level": logging.ERROR, **more, **options, "address": address})
    except (ConnectionError, RuntimeError, TypeError, ValueError) as error:
        allowed = f"arguments with which ray.init begins ({' '.join(str(error).split())[:200]})"
        raise ConfigError("hydra.launcher.ray.init", allowed, options) from error
    finally:
        signal.signal(signal.SIGTERM, handler)  # Ray has put one of its own
    ray._private.worker.print_to_stdstream = lambda *told, **how: None  # else it prints on stdout that a worker died


def _ray_cores(launcher: Launcher) -> int:
    """Of the cluster, once it is there; before, what is planned, which of another cluster nobody knows."""
    import sys

    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        return int(sys.modules["ray"].cluster_resources().get("CPU", 1))
    init = launcher.options["ray"]["init"]
    return int(init.get("num_cpus") or launcher.options["n_jobs"] * launcher.threads)


def _ray(tasks: Tasks[T], launcher: Launcher) -> list[T]:
    """No task is tried again by Ray: `runs.recovery` knows which cells are missing."""
    import ray

    options = {"num_cpus": launcher.threads, "max_retries": 0, **launcher.options["ray"]["remote"]}
    jobs = [ray.remote(**options)(_call).remote(task) for task in tasks]
    try:
        return _all(partial(ray.get, job) for job in jobs)
    except SystemExit:  # of a signal
        ray.shutdown()
        raise


def _submitit(tasks: Tasks[T], launcher: Launcher) -> list[T]:
    """SLURM gets all jobs as one array and decides when they run; here a job starts when another has ended."""
    import submitit

    options = launcher.options
    place = Path(options["submitit_folder"]).absolute()
    place.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix=time.strftime("%Y-%m-%d_%H-%M-%S_"), dir=place)  # mode 0700: the store's address
    on_slurm = launcher.name == "submitit_slurm"
    executor = submitit.AutoExecutor(folder, cluster="slurm" if on_slurm else "local")
    executor.update_parameters(name="harness", timeout_min=options["timeout_min"])
    if on_slurm:
        executor.update_parameters(cpus_per_task=launcher.threads, **_slurm_parameters(options))
    jobs: list[Any] = []
    try:
        if on_slurm:
            jobs += _sent(executor, tasks)
        for task in tasks[len(jobs) :]:
            while sum(not job.done() for job in jobs) >= launcher.workers:
                time.sleep(POLL_SECONDS)
            with _without_ctrl_c():
                jobs.append(executor.submit(task))
        values: list[T] = _all(job.result for job in jobs)
    except SystemExit:  # of a signal
        (_cancel_array if on_slurm else _end_jobs)(jobs)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return values


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes that are started here never get Ctrl-C, of which theirs would be a traceback: the command ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_jobs(jobs: Sequence[Any]) -> None:
    """Of this machine. submitit lets a job go on that gets SIGTERM between two cells, so it gets several."""
    deadline = time.monotonic() + ENDING_SECONDS
    while time.monotonic() < deadline and (running := [job for job in jobs if not job.done()]):
        for job in running:
            os.kill(int(job.job_id), signal.SIGTERM)
        time.sleep(POLL_SECONDS)


def _cancel_array(jobs: Sequence[Any]) -> None:
    if jobs:
        subprocess.run(["scancel", jobs[0].job_id.partition("_")[0]], check=False)


def _sent(executor: Any, tasks: Tasks[Any]) -> list[Any]:
    """The jobs of an array. Raises ConfigError for what sbatch refuses."""
    from submitit.core.utils import FailedJobError

    try:
        return list(executor.submit_array(tasks))
    except FailedJobError as error:
        raise ConfigError("hydra.launcher", "options that sbatch takes", str(error).strip().splitlines()[-1]) from error


def _slurm_parameters(options: dict[str, Any]) -> dict[str, Any]:
    """As submitit names them."""
    plain = {"mem_gb": options["mem_gb"]} if options["mem_gb"] is not None else {}
    own = {f"slurm_{key}": options[key] for key in ("partition", "account", "qos") if options[key] is not None}
    rest = {f"slurm_{key}": options[key] for key in ("setup", "additional_parameters", "array_parallelism")}
    return plain | own | rest


ENGINES: dict[str, Callable[[Tasks[Any], Launcher], list[Any]]] = {
    "basic": _in_turn,
    "joblib": _joblib,
    "ray": _ray,
    "submitit_local": _submitit,
    "submitit_slurm": _submitit,
}
