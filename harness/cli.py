"""The command line, and the only module that knows Hydra.

Every cell is composed and checked before anything is trained or written; then the sweep's parent run is opened, Hydra
launches the jobs, and the parent is closed with its comparison whatever happened. What a user got wrong is one line on
stderr and exit code 2.
"""

import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config import Config, ConfigError, check
from harness.interrupts import INTERRUPTS, KILLED

if TYPE_CHECKING:
    from omegaconf import DictConfig

ROOT = Path(__file__).resolve().parent.parent
SWEEP_VARIABLE = "HARNESS_SWEEP"  # run id of the parent, handed to every job through hydra.job.env_set
ONLY_ASKS = ("help", "hydra_help", "cfg", "info", "shell_completion")


@dataclass
class Plan:
    """What a command line asks for: the configuration of each cell, whether they form a sweep, and how they launch."""

    configs: list[Config]
    multirun: bool


def main() -> int:
    """Run the command line in sys.argv; returns the exit code."""
    words = sys.argv[1:]
    try:
        if words and not any(mark in words[0] for mark in "=-+~"):
            return _verb(words[0])(words[1:])
        _register()
        if _only_asks(words):
            _hydra_main()
            return 0
        plan = _plan(words)
    except ConfigError as refused:
        print(f"harness: {refused}", file=sys.stderr)
        return 2
    with INTERRUPTS:
        return _run_sweep(plan) if plan.multirun else _run_single()


def _verb(word: str) -> Callable[[Sequence[str]], int]:
    """A first argument that is a bare word: what to do with runs that exist."""
    verbs = {"report": _report}
    if word not in verbs:
        raise ConfigError("command line", f"key=value, a flag, or a verb ({', '.join(verbs)})", word)
    return verbs[word]


def _report(words: Sequence[str]) -> int:
    """`report SWEEP [SWEEP ...]`: write the first sweep's answer again, from its cells and the other sweeps'."""
    if not words:
        raise ConfigError("report", "the run id of a sweep, or of several to be taken together", None)
    from harness.sweep import write_answer
    from harness.tracking import Store

    store = Store.open()
    for word in words:
        if not store.is_sweep(word):
            raise ConfigError("report", f"the run id of a sweep in {store.uri}", word)
    write_answer(store, *words)
    _say(f"Written: report.html and figures below {store.run_link(words[0])}")
    return 0


def _only_asks(words: Sequence[str]) -> bool:
    """Whether the command line wants to be told something (--help, --cfg job, completion) instead of training."""
    from hydra._internal.utils import get_args_parser

    arguments = get_args_parser().parse_args(list(words))
    return any(getattr(arguments, flag) for flag in ONLY_ASKS)


def _register() -> None:
    """Make the schema and the studies of experiments/ known to Hydra."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    for path in sorted((ROOT / "experiments").glob("*.yaml")):
        store.store(group="experiment", name=path.stem, node=OmegaConf.load(path), package="_global_")


def _hydra_main() -> None:
    import hydra

    hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")(_job)()


def _plan(words: Sequence[str]) -> Plan:
    """Compose every cell as Hydra will, check its values and its data. Raises ConfigError."""
    from harness.composition import compose_cells
    from harness.recording import load_dataset

    configs, multirun = compose_cells(words, ROOT / "conf")
    for config in configs:
        check(config)
    for config in configs:
        load_dataset(config.dataset)
    return Plan(configs, multirun)


def _job(composed: "DictConfig") -> str:
    """What Hydra calls for every cell, here or in a worker; returns the cell's outcome.

    An exception is told once and ends this cell as failed; the other cells go on.
    """
    from hydra.core.hydra_config import HydraConfig

    from harness.composition import to_config
    from harness.recording import record_cell
    from harness.tracking import Store
    from harness.train import Outcome

    hydra = HydraConfig.get()
    is_sweep = hydra.mode.name == "MULTIRUN"
    exclusive = str(hydra.launcher._target_).endswith("BasicLauncher")
    try:
        config = to_config(composed)
        check(config)
        sweep = os.environ.get(SWEEP_VARIABLE) if is_sweep else None
        return record_cell(config, Store.open(), sweep, int(hydra.job.num) if is_sweep else 0, exclusive)
    except Exception:
        traceback.print_exc()
        if not is_sweep:
            sys.exit(1)
        return Outcome.FAILED


def _run_single() -> int:
    """One cell, without a parent run."""
    from harness.tracking import Store

    code = _launch()
    _say(f"Browse: run `mlflow ui` here, then open\n  {Store.open().table_link()}")
    return code


def _run_sweep(plan: Plan) -> int:
    """Open the parent, launch the cells, close the parent on every path. Returns 1 if a cell is missing or failed."""
    from harness.sweep import close_sweep, open_sweep
    from harness.tracking import Store

    started = time.perf_counter()
    store = Store.open()
    sweep = open_sweep(store, plan.configs, command=shlex.join(["python", "-m", "harness", *sys.argv[1:]]))
    sys.argv.append(f"+hydra.job.env_set.{SWEEP_VARIABLE}={sweep}")
    code = 1
    try:
        code = _launch()
    finally:
        if sys.stderr.isatty():
            _say("writing the answer")
        cells = close_sweep(store, sweep, killed=code in KILLED)
    finished = sum(cell.info.status == "FINISHED" for cell in cells)
    seconds = time.perf_counter() - started
    _say(f"{finished} of {len(plan.configs)} cells trained in {seconds:.1f} s")
    failed = [cell for cell in cells if cell.info.status == "FAILED"]
    if failed:
        names = "; ".join(f"{cell.info.run_name}: {cell.data.tags.get('error', '')}" for cell in failed)
        _say(f"{len(failed)} failed, each with its traceback.txt in MLflow: {names}")
    _say("Browse: run `mlflow ui` here, then open")
    _say(f"  {store.run_link(sweep)}  the comparison\n  {store.table_link(sweep)}  the cells")
    return code or int(finished < len(plan.configs))


def _launch() -> int:
    """Let Hydra run the jobs; how that ended is an exit code, not a traceback."""
    try:
        _hydra_main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def _say(message: str) -> None:
    print(message, file=sys.stderr)
