"""The command line, and with `composition` the only module that knows Hydra.

Every cell is composed and checked before anything is trained or written; those that the store holds already are left
out; then the sweep's parent run is opened, Hydra launches the others, and the parent is closed with its comparison
whatever happened. What a user got wrong is one line on stderr and exit code 2.
"""

import gc
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import __version__
from harness.config import Config, ConfigError, check, judge_file, shipped, study_file, study_names
from harness.store import INTERRUPTS, Interrupted, UnreachableError, print_traceback

if TYPE_CHECKING:
    from mlflow.entities import Run
    from omegaconf import DictConfig

    from harness.app.composition import Composed
    from harness.runs import GridCell
    from harness.store import Store

CONTEXT_VARIABLE = "HARNESS_CONTEXT"  # what a job knows of its sweep, handed to it through hydra.job.env_set
CELL_VARIABLE = "HARNESS_CELL"  # likewise: which cell it is to train
ALL = -1  # joblib's word for as many workers as possible
SMALL = "size=small"
LAUNCHER = ("hydra/launcher", "hydra.launcher")  # how overrides of it begin
YOUNG = 50_000  # objects between two looks of the garbage collector, in place of 700
ONLY_ASKS = ("help", "hydra_help", "cfg", "info", "shell_completion")


def main() -> int:
    """Run the command line in sys.argv; returns the exit code."""
    gc.set_threshold(YOUNG)  # libraries make a million objects that stay; looking through them takes a second
    words = sys.argv[1:]
    try:
        with INTERRUPTS:
            if "--version" in words:
                print(f"harness {__version__}")
                return 0
            if words and not any(mark in words[0] for mark in "=-+~"):
                return _verb(words[0])(words[1:])
            _register(words)
            if _only_asks(words):
                _hydra_main()
                return 0
            return _train(words)
    except ConfigError as refused:
        _say(f"harness: {refused}")
        return 2
    except UnreachableError as away:
        _say(f"harness: the store does not answer: {away}")
        return 1


def _verb(word: str) -> Callable[[Sequence[str]], int]:
    """A first argument that is a bare word: what to do with runs that exist."""
    verbs = {"deliver": _deliver, "report": _report, "studies": _studies, "verify": _verify}
    if word not in verbs:
        raise ConfigError("command line", f"key=value, a flag, or a verb ({', '.join(verbs)})", word)
    return verbs[word]


def _report(words: Sequence[str]) -> int:
    """`report SWEEP [SWEEP ...]`: write the first sweep's answer again, from its cells and the other sweeps'."""
    if not words:
        raise ConfigError("report", "the run id of a sweep, or of several to be taken together", None)
    from harness.runs import write_answer
    from harness.store import Store

    store = Store.open()
    for word in words:
        if store.kind(word) != "sweep":
            raise ConfigError("report", f"the run id of a sweep in {store.uri}", word)
    write_answer(store, *words)
    _say(f"Written: report.html and figures below {store.ui.run_link(words[0])}")
    return 0


def _verify(words: Sequence[str]) -> int:
    """`verify RUN`: train a cell, or every cell of a sweep, again from what the store holds; 1 if a bit differs."""
    from harness.runs import verify
    from harness.store import Store

    if len(words) != 1:
        raise ConfigError("verify", "the run id of one cell or sweep", " ".join(words) or None)
    store = Store.open()
    if store.kind(words[0]) is None:
        raise ConfigError("verify", f"the run id of a cell or a sweep in {store.uri}", words[0])
    return 0 if verify(store, words[0], _say) else 1


def _deliver(words: Sequence[str]) -> int:
    """`deliver`: tell the store what waits below mlruns/undelivered, close dead runs and answer their sweeps."""
    from harness.runs import recover
    from harness.store import Store

    if words:
        raise ConfigError("deliver", "no further words", words[0])
    store = Store.open()
    if not recover(store, _say):
        return 1
    _say(f"Nothing waits to be told to {store.uri}")
    return 0


def _studies(words: Sequence[str]) -> int:
    """`studies` lists claims and verdicts; `studies --all` or `studies NAME ...` runs, and --all writes the page.

    key=value goes to every study: size=small, hydra/launcher=joblib - but the launcher not to one about seconds.
    """
    from harness.runs import studies
    from harness.store import Store

    overrides = [word for word in words if "=" in word]
    chosen = [word for word in words if "=" not in word and word != "--all"]
    for word in chosen:
        if word not in studies.names():
            raise ConfigError("studies", " | ".join(("--all", *studies.names())), word)
    everything = "--all" in words
    size = "small" if SMALL in overrides else "full"
    names = studies.names() if everything or not chosen else chosen
    if not (everything or chosen):
        _show(studies.listing(Store.open(), size, names))
        return 0
    failed = []
    for i, name in enumerate(names):
        _say(f"\nStudy {i + 1} of {len(names)}: {name}")
        if _study(name, overrides):
            failed.append(name)
    _show(studies.listing(Store.open(), size, names))
    if failed:
        _say(f"Without an answer: {', '.join(failed)}. The same command again trains what is missing.")
    elif everything and size == "full":
        _say(f"Written: {studies.write_page(Store.open(), size, Path.cwd())}")
    return int(bool(failed))


def _study(name: str, overrides: list[str]) -> int:
    """One study of several: what is wrong with it is said, and the next one goes on."""
    from harness.runs import studies

    if studies.definition(name).alone and any(word.startswith(LAUNCHER) for word in overrides):
        _say("Its seconds are compared: one cell after the other, in this process.")
        overrides = [word for word in overrides if not word.startswith(LAUNCHER)]
    words = ["-m", f"experiment={name}", *overrides]
    try:
        _register(words)
        return _train(words)
    except ConfigError as refused:
        _say(f"harness: {refused}")
        return 2


def _only_asks(words: Sequence[str]) -> bool:
    """Whether the command line wants to be told something (--help, --cfg job, completion) instead of training."""
    from hydra._internal.utils import get_args_parser

    arguments = get_args_parser().parse_args(list(words))
    return any(getattr(arguments, flag) for flag in ONLY_ASKS)


def _register(words: Sequence[str] = ()) -> None:
    """Make the schema and the studies of experiments/ known to Hydra; with size=small in their small form.

    Hydra copies all that is registered many times over, so of the studies that nobody asks for it gets the names only.
    """
    from hydra.core.config_store import ConfigStore
    from omegaconf import DictConfig, OmegaConf

    from harness.app.composition import SharedStore

    store = ConfigStore.instance()
    store.__class__ = SharedStore
    store.store(name="schema", node=Config)
    asked = {name for word in words if "experiment" in word for name in re.findall(r"\w+", word)}
    for name in study_names():
        if name not in asked:
            store.store(group="experiment", name=name, node={})
            continue
        study = OmegaConf.load(study_file(name))
        assert isinstance(study, DictConfig)
        small = study.pop("small", {})
        store.store(
            group="experiment",
            name=name,
            node=OmegaConf.merge(study, small) if SMALL in words else study,
            package="_global_",
        )


def _hydra_main() -> None:
    import hydra

    hydra.main(version_base="1.3", config_path=str(shipped("conf")), config_name="config")(_job)()


def _train(words: list[str]) -> int:
    """Find out what is to be trained and train it. Returns 1 if a cell is missing or failed."""
    composed = _checked(words)
    from harness.runs import grid, recovery
    from harness.store import Store

    cells = grid.grid(composed.cells)
    store = Store.open()
    recovery.recover(store, _say)
    cells = grid.look_up(cells, store)
    if any(cell.config.dry_run for cell in cells):
        _show(grid.plan(cells))
        return 0
    if composed.multirun:
        return _run_sweep(composed, words, cells, store)
    return _run_single(words, cells[0], store)


def configurations(words: list[str]) -> list[Config]:
    """The configuration of every cell that these words ask for; nothing is checked but that they exist."""
    from harness.app.composition import compose_cells

    _register(words)
    return [config for config, _ in compose_cells(words, shipped("conf")).cells]


def _checked(words: list[str]) -> "Composed":
    """Compose every cell as Hydra will, check its values, its data and the workers. Raises ConfigError."""
    from harness.app.composition import compose_cells

    composed = compose_cells(words, shipped("conf"))
    for config, _ in composed.cells:
        check(config)
    if "claims" in composed.cells[0][0].study:
        from harness.analysis import study_from

        judge_file(study_from(composed.cells[0][0].study).name)
    if composed.n_jobs is not None:
        _workers(composed)
    from harness.runs import load_dataset

    for config, _ in composed.cells:
        load_dataset(config.dataset)
    return composed


def _workers(composed: "Composed") -> int:
    """Parallel workers: as many as there are cores for their BLAS threads. Raises ConfigError for more."""
    from joblib import cpu_count

    threads = max(config.threads for config, _ in composed.cells)
    most = max(1, cpu_count() // threads)
    if composed.n_jobs == ALL:
        return most
    if composed.n_jobs is None or not 1 <= composed.n_jobs <= most:
        allowed = f"{ALL} or 1 .. {most} ({cpu_count()} cores, threads={threads})"
        raise ConfigError("hydra.launcher.n_jobs", allowed, composed.n_jobs)
    return composed.n_jobs


def _run_single(words: list[str], cell: "GridCell", store: "Store") -> int:
    """One cell, without a parent run."""
    from harness.app.composition import launch
    from harness.runs import recovery
    from harness.training import Outcome

    if cell.run_id:
        _say(f"Trained already (rerun=all trains it again): {store.ui.run_link(cell.run_id)}")
        return 0
    outcomes: list[str] = []
    try:
        outcomes += launch(words, shipped("conf"), None, _job)
    finally:
        recovery.drain(store, _say)
        _say(f"Browse: {store.ui.hint}\n  {store.ui.table_link()}")
    return int(Outcome.FAILED in outcomes)


def _run_sweep(composed: "Composed", words: list[str], cells: "list[GridCell]", store: "Store") -> int:
    """Open the parent, launch the cells that are missing, close the parent on every path."""
    from harness.runs import close_sweep, missing, open_sweep, recovery

    started, killed, code = time.perf_counter(), False, 1
    context = open_sweep(store, cells, command=shlex.join(["python", "-m", "harness", *words]))
    words = [*words, f"+hydra.job.env_set.{CONTEXT_VARIABLE}={context.to_word()}"]
    if composed.n_jobs is not None:
        words.append(f"hydra.launcher.n_jobs={_workers(composed)}")
    try:
        recovery.train_all(missing(cells), store, context.run_id, lambda some: _launch(words, some))
    except Interrupted:
        killed = True
        raise
    except Exception as error:  # the launcher could not begin
        print_traceback(error)
    finally:
        with INTERRUPTS.deferred_unless_repeated():
            if recovery.drain(store, _say, context.run_id, killed):
                if sys.stderr.isatty():
                    _say("writing the answer")
                runs, answered = close_sweep(store, context.run_id, killed)
                code = _tell_end(cells, runs, time.perf_counter() - started) or int(not answered)
                recovery.drain(store, _say)
                _say(f"Browse: {store.ui.hint}")
                _say(f"  {store.ui.run_link(context.run_id)}  the comparison")
                _say(f"  {store.ui.table_link(context.run_id)}  the cells")
    return code


def _launch(words: list[str], cells: "Sequence[GridCell]") -> None:
    from harness.app.composition import launch
    from harness.runs import Assignment

    words_of = {cell.signature: Assignment.of(cell.identity, cell.label).to_word() for cell in cells}
    jobs = [[*c.overrides, f"+hydra.job.env_set.{CELL_VARIABLE}={words_of[c.signature]}"] for c in cells]
    launch(words, shipped("conf"), jobs, _job)


def _tell_end(cells: "list[GridCell]", runs: "Sequence[Run]", seconds: float) -> int:
    """One paragraph on how the sweep ended; returns 1 if a cell is missing or failed."""
    status = {run.data.tags["signature"]: run for run in runs if run.info.status != "FINISHED"}
    status |= {run.data.tags["signature"]: run for run in runs if run.info.status == "FINISHED"}
    found = sum(cell.run_id is not None for cell in cells)
    finished = sum(cell.signature in status and status[cell.signature].info.status == "FINISHED" for cell in cells)
    was_there = f" ({found} found finished in the store)" if found else ""
    _say(f"{finished} of {len(cells)} cells trained{was_there} in {seconds:.1f} s")
    failed = [run for run in status.values() if run.info.status == "FAILED"]
    if failed:
        names = "; ".join(f"{run.info.run_name}: {run.data.tags.get('error', '')}" for run in failed)
        _say(f"{len(failed)} failed, each with its traceback.txt in MLflow: {names}")
    killed = [run.info.run_name for run in status.values() if run.info.status == "KILLED"]
    if killed:
        _say(f"{len(killed)} killed: {'; '.join(killed)}")
    never_started = [cell.label for cell in cells if cell.signature not in status]
    if never_started:
        _say(f"{len(never_started)} never started: {'; '.join(never_started)}")
    if finished < len(cells):
        _say("The same command again trains what is missing.")
    return int(finished < len(cells))


def _job(composed: "DictConfig") -> str:
    """What Hydra calls for every cell, here or in a worker; returns the cell's outcome.

    An exception, or a sys.exit in somebody's code, is told once and ends this cell as failed; the other cells go on.
    """
    from hydra.core.hydra_config import HydraConfig

    from harness.app.composition import to_config
    from harness.runs import Assignment, Job, SweepContext, record_cell
    from harness.store import Store
    from harness.training import Outcome

    hydra = HydraConfig.get()
    word = os.environ.get(CONTEXT_VARIABLE)  # set by Hydra for the jobs of a sweep only
    launcher = str(hydra.launcher._target_).split(".")[-1] if word else "BasicLauncher"
    alone = launcher == "BasicLauncher" or hydra.launcher.get("n_jobs") == 1
    assignment = Assignment.from_word(os.environ[CELL_VARIABLE]) if word else None
    job = Job(int(hydra.job.num) if word else 0, alone, launcher, list(hydra.overrides.task), assignment)
    try:
        with INTERRUPTS:
            config = to_config(composed)
            check(config)
            sweep = SweepContext.from_word(word) if word else None
            return record_cell(config, Store.open(sweep.experiment_id if sweep else None), sweep, job)
    except Interrupted:
        if launcher == "BasicLauncher":
            raise
        return Outcome.KILLED  # a signal to one worker is the end of one cell
    except ConfigError as refused:
        _say(f"harness: {refused}")
        return Outcome.FAILED
    except (Exception, SystemExit) as error:
        print_traceback(error)
        return Outcome.FAILED


def _show(answer: str) -> None:
    """An answer on stdout; whoever reads it may have enough before its end, like `head`."""
    try:
        print(answer, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left for the exit to flush


def _say(message: str) -> None:
    print(message, file=sys.stderr)
