"""A sweep's answer as a folder of LaTeX and PDF files, and where its numbers come from: code, machine, commands."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.analysis import WALL, SweepData
from harness.config import ConfigError
from harness.report import Origin, duration, paper
from harness.runs.parent import Told
from harness.store import ARITHMETIC, COMMIT_TAG, Store, read_run, stored_json

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Run

KEY = "report --paper"
MADE = "made-by-harness.json"  # in the folder: name of a file -> SHA-256 of what this command wrote
OURS = re.compile(r"((main|numbers|answer|reproducibility|table-[\w-]+)\.tex|figure-[\w-]+\.pdf)", re.ASCII)
SHARE = "time/tracking_share"  # of a cell's seconds that were spent on recording


def check_folder(folder: Path) -> None:
    """Raises ConfigError for a folder that cannot be made, or with a file that would be replaced and is not ours."""
    try:
        if not folder.is_dir():
            if os.path.lexists(folder) or not folder.absolute().parent.is_dir():
                raise ConfigError(KEY, "a folder, or a new one in a folder that exists", str(folder))
            return
        ours = _ours(folder)
        for path in sorted(folder.iterdir()):
            if OURS.fullmatch(path.name) and not _is_ours(path, ours):
                allowed = f"a folder in which {path.name} is as this command wrote it (move the file away)"
                raise ConfigError(KEY, allowed, str(path))
    except (OSError, ValueError) as error:  # a name that is too long, or has a null byte; a folder that is locked
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(KEY, f"a folder that can be read ({error})", str(folder)) from error


def write_paper(store: Store, runs: "Sequence[Run]", told: Told, folder: Path) -> None:
    """Write the files; those of an earlier call, and no others, are replaced or removed. Raises ConfigError."""
    files = paper(told.data, told.found, told.sentences, _origin(store, runs, told.data), told.judged)
    check_folder(folder)
    try:
        folder.mkdir(exist_ok=True)
        _replace(folder, files)
    except OSError as error:
        raise ConfigError(KEY, f"a folder that can be written to ({error.strerror})", str(folder)) from error


def _replace(folder: Path, files: Mapping[str, bytes]) -> None:
    """At every moment the list names what lies there, so that an interrupted call can be repeated."""
    before, now = _ours(folder), {name: [_digest(content)] for name, content in files.items()}
    _put(folder / MADE, json.dumps(before | {name: before.get(name, []) + own for name, own in now.items()}, indent=1))
    for name, content in files.items():
        _put(folder / name, content)
    for name in before.keys() - now.keys():
        if OURS.fullmatch(name) and _is_ours(folder / name, before):
            (folder / name).unlink()
    _put(folder / MADE, json.dumps(now, indent=1))


def _put(path: Path, content: bytes | str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content if isinstance(content, bytes) else content.encode())
    partial.replace(path)


def _ours(folder: Path) -> dict[str, list[str]]:
    """Empty without a list that can be read."""
    with suppress(OSError, ValueError):
        found = stored_json(folder / MADE)
        if isinstance(found, dict):
            return {name: [*map(str, own)] for name, own in found.items() if isinstance(own, list)}
    return {}


def _is_ours(path: Path, ours: Mapping[str, Sequence[str]]) -> bool:
    return path.is_file() and not path.is_symlink() and _digest(path.read_bytes()) in ours.get(path.name, ())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _origin(store: Store, runs: "Sequence[Run]", data: SweepData) -> Origin:
    """runs: of the sweeps, or of the cell, that were asked for."""
    wanted = set(data.finished["run_id"]) if len(data.finished) else set()
    sweeps = [run for run in runs if run.data.tags["kind"] == "sweep"]
    trained = [cell for run in sweeps for cell in store.cells(run.info.run_id)] or list(runs)
    cells = {cell.info.run_id: cell for cell in trained if cell.info.run_id in wanted}
    facts = {
        "Commands": [tags["command"] for run in runs if "command" in (tags := run.data.tags)],
        "Runs": [run.info.run_id for run in runs],
        "Code": _different(_code(cell.data.tags) for cell in cells.values()),
        "Data": _different(
            f"{cell.data.params.get('dataset')}, SHA-256 {cell.data.tags.get('data_digest')}" for cell in cells.values()
        ),
        "Seeds": _seeds(data.finished),
        **_surroundings(store, cells.values()),
        "Times": _times(cells.values(), data),
    }
    return Origin([run.info.run_id for run in runs], {what: own for what, own in facts.items() if own}, _seconds(data))


def _different(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _code(tags: Mapping[str, str]) -> str:
    commit = f", commit {tags[COMMIT_TAG]}" if COMMIT_TAG in tags else ""
    changed = " with uncommitted changes" if tags.get("dirty") == "true" else ""
    return f"harness {tags.get('version', '')}, digest {tags.get('code')}{commit}{changed}"


def _seeds(cells: "pd.DataFrame") -> list[str]:
    """Root seeds, and the numbers of the replicas."""
    if not len(cells):
        return []
    most = int(cells["n_replicas"].max())
    return [f"root seed {seed}" for seed in cells["seed"].unique()] + [f"replicas 0 to {most - 1}"]


def _surroundings(store: Store, cells: "Iterable[Run]") -> dict[str, list[str]]:
    """Software and machine of one cell of each kind of arithmetic and code."""
    kinds = {(cell.data.tags.get("code"), cell.data.tags.get(ARITHMETIC)): cell for cell in cells}
    software, machines = [], []
    for cell in kinds.values():
        try:
            found = read_run(store, cell).environment
        except ConfigError:
            software.append(f"not recorded by run {cell.info.run_id}")
            continue
        packages = found.get("packages")
        versions = (
            [f"{name} {number}" for name, number in packages.items() if number] if isinstance(packages, dict) else []
        )
        software.append(", ".join([f"Python {found.get('python')}", *versions]))
        machines.append(_machine(found))
    return {"Software": _different(software), "Machine": _different(machines)}


def _machine(found: Mapping[str, Any]) -> str:
    arithmetic = found.get(ARITHMETIC)
    blas = f", BLAS {arithmetic.get('blas')}" if isinstance(arithmetic, dict) else ""
    return f"{found.get('cpu')}, {found.get('cores')} cores, {found.get('platform')}{blas}"


def _times(cells: "Iterable[Run]", data: SweepData) -> list[str]:
    """When the first cell began, and what training and recording them one after the other took."""
    began = [cell.info.start_time for cell in cells]
    spent = data.finished.get(WALL)
    if not began or spent is None:
        return []
    first = datetime.fromtimestamp(min(began) / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return [f"first cell begun {first}", f"training and recording took {duration(float(spent.sum()))} in all"]


def _seconds(data: SweepData) -> float:
    """That training all cells took, one after the other, without recording."""
    if WALL not in data.finished:
        return np.nan
    recording = data.finished[SHARE].fillna(0) if SHARE in data.finished else 0
    return float((data.finished[WALL] * (1 - recording)).sum())
