"""Launchers: who runs the jobs of a sweep, and what may be asked of it. Options are in conf/hydra/launchers."""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, TypeVar

from harness.app import engines, ray_cluster
from harness.config import ConfigError, Rule

T = TypeVar("T")

ALL = -1  # as many workers as there are cores
EXTRAS = {"joblib": "joblib", "ray": "ray", "submitit_local": "submitit", "submitit_slurm": "submitit"}
LEAST_JOBS = {"joblib": 8, "ray": 8, "submitit_local": 1, "submitit_slurm": 0}  # per worker


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def _is_memory(value: Any) -> bool:
    """Of less than a megabyte submitit makes 0, which for sbatch is all that a node has."""
    return value is None or (_is_number(value) and value * 1024 >= 1)


def _is_name(value: object) -> bool:
    """An account may be a number."""
    return value is None or COUNT.holds(value) or _is_text(value)


def _are_options(value: dict[Any, Any]) -> bool:
    return all(_is_text(k) and (isinstance(v, bool | str) or _is_number(v)) for k, v in value.items())


COUNT = Rule(lambda v: type(v) is int and v >= 1, "an integer >= 1")
NAME = Rule(_is_name, "a name, or null")
OPTIONS: dict[str, Rule] = {  # what each may be; that `setup` is a list and so on, the composition has seen
    **dict.fromkeys(("timeout_min", "array_parallelism", "max_array_size"), COUNT),
    **dict.fromkeys(("partition", "account", "qos"), NAME),
    "mem_gb": Rule(_is_memory, "a number > 0 (at least 0.001), or null"),
    "setup": Rule(lambda v: all(isinstance(line, str) for line in v), '[TEXT, ...], as ["module load python"]'),
    "additional_parameters": Rule(_are_options, "{NAME: VALUE, ...} with texts, numbers, true or false as values"),
    "submitit_folder": Rule(_is_text, "a folder, as mlruns/submitit"),
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
            return max(1, ray_cluster.cores(self) // self.threads)  # a cluster that was joined may grow
        return int(self.options["n_jobs"]) if "n_jobs" in self.options else 1

    @property
    def is_here(self) -> bool:
        """Whether the workers have the cores of this machine; a cluster of Ray's or SLURM's has its own."""
        of_ray = self.options.get("ray", {}).get("init", {}).get("address")
        return self.name != "submitit_slurm" and of_ray is None

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

    def too_long(self, jobs: Sequence[float]) -> str:
        """A sentence if one of the jobs, by its estimated seconds, takes longer than it may; else empty."""
        minutes = self.options.get("timeout_min", math.inf)
        late = [seconds for seconds in jobs if seconds > 60 * minutes]
        if not late:
            return ""
        return (
            f"{len(late)} of {len(jobs)} jobs take longer, by the estimate, than hydra.launcher.timeout_min={minutes} "
            f"allows: up to {math.ceil(max(late) / 60)} minutes. Raise it, or give the same command again for the rest"
        )

    @contextmanager
    def importing(self, dry_run: bool) -> Iterator[None]:
        """What joblib's workers need is imported while this process does the same; they end with the context."""
        if self.name != "joblib" or dry_run:
            yield
            return
        engines.begin_imports(self)
        try:
            yield
        finally:
            engines.end_workers(self)

    def start(self) -> None:
        """Begin what takes time or may be refused. Raises ConfigError."""
        if self.name == "ray":
            ray_cluster.start(self)
        if self.name == "submitit_slurm" and shutil.which("sbatch") is None:
            allowed = "submitit_local, or a machine that has sbatch (a login node of the cluster)"
            raise ConfigError("hydra/launcher", allowed, self.name)

    def run(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        """What the tasks return. Raises the error of one that was lost when all others have ended."""
        return engines.ENGINES[self.name](tasks, self)


def checked(launcher: Launcher, n_cells: int, cells_per_job: int | str) -> Launcher:
    """The launcher with its number of workers. Raises ConfigError."""
    name, options = launcher.name, launcher.options
    if name not in engines.ENGINES:
        allowed = (
            f"{' | '.join(engines.ENGINES)}, or a file in hydra/launcher of --config-dir FOLDER with the name of one"
        )
        raise ConfigError("hydra/launcher", allowed, name)
    if name in EXTRAS and find_spec(EXTRAS[name]) is None:
        allowed = f'a launcher that is installed: pip install -e ".[{EXTRAS[name]}]" -c constraints.txt'
        raise ConfigError("hydra/launcher", allowed, name)
    for key, rule in OPTIONS.items():
        if key in options and not rule.holds(options[key]):
            raise ConfigError(f"hydra.launcher.{key}", rule.allowed, options[key])
    if name == "ray":
        _check_ray(launcher)
    most = options.get("max_array_size", math.inf)
    if cells_per_job != "auto" and n_cells > int(cells_per_job) * most:
        allowed = f"auto, or enough for {most} jobs (hydra.launcher.max_array_size)"
        raise ConfigError("cells_per_job", allowed, cells_per_job)
    return Launcher(name, launcher.threads, options | {"n_jobs": _n_jobs(launcher)} if "n_jobs" in options else options)


def _check_ray(launcher: Launcher) -> None:
    """Raises ConfigError for cores that are not there, and for what Ray would say no to when all is prepared."""
    from joblib import cpu_count

    init, key = launcher.options["ray"]["init"], "hydra.launcher.ray.init"
    address = init["address"]
    if address is not None and (not _is_text(address) or address == "local"):
        allowed = "null (a cluster on this machine), auto, HOST:PORT or ray://HOST:PORT"
        raise ConfigError(f"{key}.address", allowed, address)
    if "num_cpus" in init:
        least, most, n_cpus = launcher.threads, cpu_count(), init["num_cpus"]
        if address is not None:
            allowed = f"nothing beside {key}.address, whose cluster has its own cores: ~{key}.num_cpus"
            raise ConfigError(f"{key}.num_cpus", allowed, n_cpus)
        if type(n_cpus) is not int or not least <= n_cpus <= most:
            allowed = f"an integer from {least} (threads) to {most} (cores of this machine), or hydra.launcher.n_jobs"
            raise ConfigError(f"{key}.num_cpus", allowed, n_cpus)
    ray_cluster.check_remote(launcher)


def _n_jobs(launcher: Launcher) -> int:
    """Parallel workers: as many as there are cores for their BLAS threads. Raises ConfigError for more."""
    from joblib import cpu_count

    n_jobs, most = launcher.options["n_jobs"], max(1, cpu_count() // launcher.threads)
    if type(n_jobs) is not int or (n_jobs != ALL and not 1 <= n_jobs <= most):
        allowed = f"{ALL} or 1 .. {most} ({cpu_count()} cores, threads={launcher.threads})"
        raise ConfigError("hydra.launcher.n_jobs", allowed, n_jobs)
    return most if n_jobs == ALL else n_jobs
