"""The engines that run the jobs of a sweep: this process, joblib, Ray, submitit.

Every job ends before a lost one is told of: a worker that dies stops no other job, except under joblib, which then ends
all its workers.
"""

import gc
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hydra.core.utils import env_override

from harness.config import ConfigError

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

    from harness.app.launchers import Launcher

T = TypeVar("T")
Tasks = Sequence[Callable[[], T]]

POLL_SECONDS = 0.2
IDLE_SECONDS = 300.0  # after which a worker of joblib ends
ENDING_SECONDS = 10.0  # that jobs of this machine may take to end after a signal
BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Of the fork server, as what has threads should not fork; BLAS and Arrow's allocator begin theirs when imported.
WITHOUT_THREADS = {**dict.fromkeys(BLAS_THREADS, "1"), "JE_ARROW_MALLOC_CONF": "background_thread:false"}


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes that are started here never get Ctrl-C, of which theirs would be a traceback: the command ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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


def _in_turn(tasks: Tasks[T], launcher: "Launcher") -> list[T]:
    return [task() for task in tasks]


@cache
def _fork_server() -> "BaseContext | None":
    """What makes joblib's workers: a process that has imported all that cells need, once for all of them, and forks.

    It starts here, and imports while this process goes on. None where that is not to be had: each worker imports then.
    Elsewhere than on Linux libraries do not bear a fork; and workers run the main module of a program again, which only
    that of the command is made for.
    """
    main = getattr(sys.modules["__main__"].__spec__, "name", None)
    if sys.platform != "linux" or "harness.__main__" not in (main, *sys.modules):
        return None
    from multiprocessing import forkserver, get_context

    # As this process finds modules: a file of the current folder may have the name of one.
    paths = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    forkserver.set_forkserver_preload(["harness.app.preloaded"])
    try:
        with env_override({**WITHOUT_THREADS, **paths}):
            forkserver.ensure_running()
    except OSError:  # as where the folder for temporary files has a long name
        return None
    return get_context("forkserver")


def _executor(launcher: "Launcher") -> Any:
    """joblib's workers, started once; a BLAS that is not limited otherwise has no more threads than a cell."""
    from joblib.externals.loky import get_reusable_executor

    server, threads = _fork_server(), dict.fromkeys(BLAS_THREADS, str(launcher.threads))
    own = {"context": server} if server else {"env": threads}
    return get_reusable_executor(launcher.workers, timeout=IDLE_SECONDS, **own)


def begin_imports(launcher: "Launcher") -> None:
    """What joblib's workers need is imported, and their first cells do not wait for it."""
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # which, when it begins, lets Ctrl-C through
    with _without_ctrl_c():
        executor = _executor(launcher)
        if not _fork_server():
            for _ in range(launcher.workers):
                executor.submit(import_all)


def import_all() -> None:
    """What a worker needs for its cells."""
    from harness.app.command import GC_THRESHOLD_IMPORTING, libraries_are_imported

    gc.set_threshold(GC_THRESHOLD_IMPORTING)
    from harness.store import connection

    connection.import_libraries()
    importlib.import_module("harness.app.train")
    libraries_are_imported()


def end_workers(launcher: "Launcher") -> None:
    """joblib's."""
    _executor(launcher).shutdown(kill_workers=True)


def _joblib(tasks: Tasks[T], launcher: "Launcher") -> list[T]:
    with _without_ctrl_c():
        futures = [_executor(launcher).submit(task) for task in tasks]
    try:
        return _all(future.result for future in futures)
    except SystemExit:  # of a signal
        end_workers(launcher)
        raise


def _ray(tasks: Tasks[T], launcher: "Launcher") -> list[T]:
    """No task is tried again by Ray: `runs.recovery` knows which cells are missing."""
    import ray

    options = {"num_cpus": launcher.threads, "max_retries": 0, **launcher.options["ray"]["remote"]}
    jobs = [ray.remote(**options)(_call).remote(task) for task in tasks]
    try:
        return _all(partial(ray.get, job) for job in jobs)
    except SystemExit:  # of a signal
        ray.shutdown()
        raise


def _submitit(tasks: Tasks[T], launcher: "Launcher") -> list[T]:
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
    except ConfigError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return values


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


ENGINES: dict[str, Callable[[Tasks[Any], "Launcher"], list[Any]]] = {
    "basic": _in_turn,
    "joblib": _joblib,
    "ray": _ray,
    "submitit_local": _submitit,
    "submitit_slurm": _submitit,
}
