"""The training command: which cells are missing, their training, and how it ended."""

import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from harness.app.command import libraries_are_imported, say
from harness.app.composition import Composed, to_config
from harness.app.ending import Result, tell_sentences
from harness.app.launchers import Launcher
from harness.app.machine import check_memory
from harness.app.terminal import lenient_streams
from harness.config import Config, ConfigError
from harness.runs import (
    Assignment,
    Forecast,
    GridCell,
    Job,
    Pack,
    Rounds,
    SweepContext,
    Watch,
    add_models,
    announcement,
    answered,
    forecast_of,
    grid,
    in_store,
    load_dataset,
    packing,
    parent,
    plan,
    record_cell,
    recovery,
    sharing,
    timed,
    timing,
)
from harness.store import INTERRUPTS, Interrupted, Store, TakenError, UnreachableError, print_failure, when_continued
from harness.training import Clock, Outcome


def train(words: Sequence[str], composed: Composed, result: Result) -> int:
    """Train the cells that are missing. Returns 1 if a cell is missing afterwards. Raises ConfigError for the data.

    result: what it came to.
    """
    cells = grid.grid(composed.cells)
    rounds = Rounds(cells, workers=composed.launcher.workers) if cells[0].config.seeds == "auto" else None
    looks = rounds.looks if rounds else ()
    check_memory(rounds.first() if rounds else cells)
    store = Store.open()
    libraries_are_imported()
    store.check_library()
    recovery.recover(store, say)
    if rounds:
        rounds.refuse_other_looks(store)
    for note in grid.data_notes(cells):
        say(f"data: {note}")
    may_tell = composed.multirun and not (rounds or result.as_json or any(cell.config.dry_run for cell in cells))
    answers = answered.earlier(cells, store) if may_tell else iter(())
    newest = next(answers, None)
    if newest and store.finds_again(newest.cells, newest.sweep):
        return _tell_again(store, newest, result)
    cells = grid.look_up(rounds.first() if rounds else cells, store)
    if warning := grid.unresolvable(cells, looks):
        say(warning)
    if any(cell.config.dry_run for cell in cells):
        forecast = timed(cells if looks else grid.missing(cells))
        planned = plan(cells, forecast, looks)
        result.values["plan"] = planned.splitlines()
        if not result.as_json:
            print(planned)
        if composed.multirun and (todo := grid.missing(cells)):
            _tell_too_long(composed.launcher, todo, forecast, _planned(todo, forecast, composed.launcher))
        return 0
    if composed.multirun:
        if grid.missing(cells):
            composed.launcher.start()
        elif newest and (same := next((one for one in chain([newest], answers) if one.is_of(cells)), None)):
            return _tell_again(store, same, result)
        return _run_sweep(composed, words, cells, rounds, store, result)
    return _run_single(composed, cells[0], store, result)


def _tell_again(store: Store, known: answered.Answered, result: Result) -> int:
    n, sweep = len(known.cells), known.sweep.info.run_id
    say(f"{n} of {n} cells trained ({n} found finished in the store)")
    say(f"Answered before, by sweep {sweep[:8]} (`python -m harness report {sweep[:8]}` answers again)")
    result.tell_again(store, sweep, known)
    return 0


def _run_single(composed: Composed, cell: GridCell, store: Store, result: Result) -> int:
    """Train one cell, without a parent run."""
    if cell.run_id:
        say("Trained already (rerun=all trains it again)")
        add_models([cell], [store.get(cell.run_id)], store, load_dataset, say)
        _tell_cell(store, store.get(cell.run_id), result)
        return 0
    outcomes = []

    def run(cells: Sequence[GridCell]) -> list[GridCell]:
        forecast = forecast_of(cells)
        say(announcement(forecast, 1, 1))
        outcomes.append(composed.session.run(partial(_train_alone, forecast=forecast)))
        return [] if outcomes[-1] else list(cells)

    def found(run_id: str) -> None:
        outcomes.append(Outcome.COMPLETED)
        say("Trained meanwhile by another command")
        add_models([cell], [store.get(run_id)], store, load_dataset, say)

    try:
        sharing.train_shared([cell], store, run, found, say)
    finally:
        refused = recovery.drain(store, say)
        if refused is not None and (own := store.last(kind="cell", signature=cell.signature)):
            _tell_cell(store, own, result)
    stored = refused == frozenset() and store.finished_cell(cell.signature) is not None
    return int(outcomes[-1] in (None, Outcome.FAILED) or not stored)


def _tell_cell(store: Store, run: Any, result: Result) -> None:
    """The cell's row, if it finished, and its page."""
    result.tell(store, run.info.run_id, parent.tell_cell(store, run) if run.info.status == "FINISHED" else None)


def _run_sweep(
    composed: Composed, words: Sequence[str], cells: list[GridCell], rounds: Rounds | None, store: Store, result: Result
) -> int:
    """Open the parent, launch the cells that are missing, close the parent on every path.

    rounds: of seeds=auto, of which the cells are the first. A heartbeat shows other hosts that the sweep goes on.
    """
    command = shlex.join(["python", "-m", "harness", *words])
    with ExitStack() as quiet:
        context = parent.open_sweep(store, cells, command, rounds.looks if rounds else (), quiet)
        try:
            with store.heartbeat(context.run_id):
                return _run_open_sweep(composed, cells, rounds, store, context, quiet, result)
        except Interrupted:
            parent.see_to_its_end(store, context.run_id)
            raise


def _run_open_sweep(
    composed: Composed,
    cells: list[GridCell],
    rounds: Rounds | None,
    store: Store,
    context: SweepContext,
    quiet: ExitStack,
    result: Result,
) -> int:
    started, disturbed, killed, code = time.perf_counter(), "", False, 1

    def launch(some: Sequence[GridCell]) -> list[GridCell]:
        forecast = forecast_of(some, composed.launcher.workers)
        planned = _planned(some, forecast, composed.launcher)
        packs = _packs(some, planned, replace(context, n_cells=len(some)), forecast, composed.launcher)
        forecast.workers = min(forecast.workers, len(packs))
        _tell_too_long(composed.launcher, some, forecast, planned)
        say(announcement(forecast, len(some), len(cells)))
        with Watch(forecast, lambda: _ended(store, context.run_id)) if forecast.workers > 1 else nullcontext():
            ended = composed.session.launch([partial(_train_pack, pack=one) for one in packs], composed.launcher.run)
        done = {
            job.assignment.signature
            for one, outcomes in zip(packs, ended, strict=True)
            for (_, job), outcome in zip(one.cells, outcomes, strict=False)
            if outcome is not None and job.assignment
        }
        return [cell for cell in some if cell.signature not in done]

    def train_some(some: Sequence[GridCell]) -> list[GridCell]:
        return recovery.train_all(some, store, context.run_id, launch)

    def found(run_id: str) -> None:
        store.add_to_sweep(run_id, context.run_id)

    try:
        quiet.close()  # from here on a signal finds who closes the sweep
        following = in_store(rounds, store, context.run_id, say) if rounds else ()
        for some in chain([list(cells)], following):
            cells += some if some[0] not in cells else []
            sharing.train_shared(grid.missing(some), store, train_some, found, say)
            disturbed = timing.measure(store, context.run_id, {c.signature: (c.config, c.identity.plan) for c in cells})
        if any(cell.config.log_model for cell in cells):
            with suppress(UnreachableError):  # the same command again does it
                add_models(cells, store.cells(context.run_id), store, load_dataset, say)
    except Interrupted:
        killed = True
        raise
    except OSError as error:  # the launcher could not begin, as when its folder cannot be made
        say(f"harness: nothing was launched: {error}")
    except Exception as error:
        print_failure("the sweep was not finished", error)
    finally:
        with INTERRUPTS.deferred(unless_repeated=True):
            refused = recovery.drain(store, say, context.run_id, killed)
            if refused is not None:
                if sys.stderr.isatty():
                    say("writing the answer")
                if not killed:
                    sharing.adopt(cells, store, context.run_id, say)
                runs, told = parent.close_sweep(store, context.run_id, killed, context.run_id in refused)
                code = _tell_end(cells, runs, context.run_id, time.perf_counter() - started)
                code = int(code or told is None or (told.data.cells["status"] != "FINISHED").any())  # unreadable ones
                tell_sentences([disturbed] if disturbed else [])
                refused = recovery.drain(store, say, told=refused)
                code = int(code or refused is None or context.run_id in refused)
                result.tell(store, context.run_id, told)
    return code


def _tell_end(cells: list[GridCell], runs: Sequence[Any], sweep: str, seconds: float) -> int:
    """One paragraph on how the sweep ended; returns 1 if a cell is missing or failed."""
    runs = sorted(runs, key=lambda run: run.info.status == "FINISHED")  # of a cell's runs a finished one counts
    last = {run.data.tags["signature"]: run for run in runs}
    found = len(cells) - len(grid.missing(cells))
    finished = sum(cell.signature in last and last[cell.signature].info.status == "FINISHED" for cell in cells)
    meanwhile = sum(run.data.tags.get("sweep") != sweep for run in last.values()) - found
    sources = {f"{found} found finished in the store": found, f"{meanwhile} by other commands meanwhile": meanwhile > 0}
    was_there = f" ({', '.join(text for text, is_so in sources.items() if is_so)})" if any(sources.values()) else ""
    what = "parts of cells" if any(cell.config.first_replica for cell in cells) else "cells"
    say(f"{finished} of {len(cells)} {what} trained{was_there} in {seconds:.1f} s")
    failed, killed = ([run for run in last.values() if run.info.status == end] for end in ("FAILED", "KILLED"))
    errors = [f"{run.info.run_name}: {run.data.tags.get('error', '')}" for run in failed]
    missed = {
        "failed, each with its traceback.txt in MLflow": errors,
        "killed": [run.info.run_name for run in killed],
        "never started": [cell.label for cell in cells if cell.signature not in last],
    }
    for ended, names in missed.items():
        if names:
            say(f"{len(names)} {ended}: {'; '.join(names)}")
    if finished < len(cells):
        say("The same command again trains what is missing.")
    return int(finished < len(cells))


def _ended(store: Store, sweep: str) -> set[str]:
    """Signatures of the cells whose runs are not open."""
    return {run.data.tags["signature"] for run in store.cells(sweep) if run.info.status != "RUNNING"}


def _packs(
    cells: Sequence[GridCell],
    planned: Sequence[Sequence[int]],
    sweep: SweepContext,
    forecast: Forecast,
    launcher: Launcher,
) -> list[Pack]:
    """The jobs of the launcher. planned: numbers of the cells of each."""
    alone = launcher.is_exclusive
    jobs = [
        Job(
            i,
            alone,
            launcher.name,
            cell.overrides,
            Assignment.of(cell.identity, cell.label),
            forecast if alone else None,
        )
        for i, cell in enumerate(cells)
    ]
    return [Pack(sweep, [(cells[i].asked or cells[i].config, jobs[i]) for i in numbers]) for numbers in planned]


def _planned(cells: Sequence[GridCell], forecast: Forecast, launcher: Launcher) -> list[list[int]]:
    """Numbers of the cells of each job: in this process all in their order, else the longest first, small ones packed.

    Cells whose seconds are unknown are taken for long: for each a job of its own.
    """
    seconds = [forecast.seconds.get(cell.signature, packing.JOB_SECONDS * len(cells)) for cell in cells]
    return launcher.planned(seconds, cells[0].config.cells_per_job)


def _tell_too_long(
    launcher: Launcher, cells: Sequence[GridCell], forecast: Forecast, planned: Sequence[Sequence[int]]
) -> None:
    """That jobs may be ended before their cells are trained, where their seconds are known."""
    if forecast.seconds:
        seconds = [sum(forecast.seconds[cells[i].signature] for i in job) for job in planned]
        if sentence := launcher.too_long(seconds):
            say(f"warning: {sentence}")


def _train_pack(_: DictConfig, pack: Pack) -> list[Outcome | None]:
    """What Hydra calls for every job, here or in a worker: train its cells; their outcomes.

    After a signal to a worker those of the rest are left out, and the command launches it again.
    """
    os.environ["MLFLOW_TRACKING_URI"] = pack.sweep.tracking_uri
    outcomes: list[Outcome | None] = []
    open_store = cache(partial(Store.open, pack.sweep.experiment_id))  # which takes milliseconds: once for all cells
    try:
        with INTERRUPTS:
            for config, job in pack.cells:
                outcomes.append(_train_cell(config, open_store, pack.sweep, job))
                if outcomes[-1] is Outcome.KILLED:
                    break
    except Interrupted:  # between two cells
        if pack.cells[0][1].launcher == "basic":
            raise
    return outcomes


def _train_alone(composed: DictConfig, forecast: Forecast) -> Outcome | None:
    """What Hydra calls for a cell without a sweep."""
    overrides = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return _train_cell(to_config(composed), Store.open, None, Job(0, True, "basic", overrides, forecast=forecast))


def _train_cell(
    config: Config, open_store: Callable[[], Store], sweep: SweepContext | None, job: Job
) -> Outcome | None:
    """The outcome of a cell; an exception or a sys.exit fails it alone.

    None: another process trains the cell, or has finished it meanwhile.
    """
    try:
        with lenient_streams(), INTERRUPTS, when_continued(Clock.count_stop):
            return record_cell(config, open_store(), sweep, job)
    except Interrupted:
        if job.launcher == "basic":
            raise
        return Outcome.KILLED  # a signal to one worker ends one cell
    except TakenError:
        return None
    except ConfigError as refused:
        say(f"harness: {refused}")
        return Outcome.FAILED
    except (Exception, SystemExit) as error:
        print_failure("a cell failed", error)
        return Outcome.FAILED
