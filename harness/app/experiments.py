"""Refuses what a choice of studies cannot mean: one sweep has one grid, one form and the claims of one study."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from harness.app.refusals import ONE_STUDY, unknown
from harness.app.session import GRIDS, SMALL, Session
from harness.config import Config, ConfigError, judge_file

SWEPT = "-m in front of a grid (or `hydra: {mode: MULTIRUN}` in the file of the study)"
OUTSIDE = re.compile(r"[+~]*(hydra|study|dry_run|rerun|size)\b")
OF_CELLS = (
    "keys of cells, such as batch_size (hydra/launcher=joblib, dry_run=true and the like stand outside the grids)"
)


def grids_of(base: DictConfig) -> Iterator[list[str]]:
    """The overrides of each grid: those of a study and its file, then the command line's. Raises ConfigError."""
    plain: Any = OmegaConf.to_container(base, resolve=False)  # an interpolation has another value in each cell
    for grid in _own_grids(plain):
        yield [f"{key}={value}" for key, value in grid.items()] + plain["hydra"]["overrides"]["task"]


def _own_grids(plain: dict[str, Any]) -> list[dict[str, Any]]:
    params, grids = plain["hydra"]["sweeper"].get("params") or {}, plain["study"].get("grids") or [{}]
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids):
        raise ConfigError(GRIDS, "a list of grids, each of them `key: values`", grids)
    if outside := [key for grid in grids for key in map(str, {**params, **grid}) if OUTSIDE.match(key)]:
        raise ConfigError(GRIDS, OF_CELLS, outside[0])
    return [{**params, **grid} for grid in grids]


def check_swept(base: DictConfig) -> None:
    """Raises ConfigError for a grid where one cell is to be trained: Hydra would pass it over."""
    grid, *_ = _own_grids(OmegaConf.to_container(base, resolve=False))
    if grid:
        raise ConfigError("experiment", SWEPT, f"one cell, and the grid {grid}")


def check_choice(base: DictConfig, overrides: Sequence[Override], is_study: Callable[[str], bool]) -> None:
    """Raises ConfigError where the cells of a grid would belong to different studies or lists of grids.

    is_study: `is_a_study`, which may remember its answers.
    """
    for override in overrides:
        if override.key_or_group == GRIDS and override.is_sweep_override():
            raise ConfigError(GRIDS, "one list with all grids", override.input_line.partition("=")[2])
        if override.get_key_element() == "experiment":
            swept = override.is_sweep_override()
            words = list(override.sweep_string_iterator()) if swept else [override.value()]
            names = [name for word in words for name in (word if isinstance(word, list) else [word])]
            studies = [name for name in names if isinstance(name, str) and is_study(name)]
            for_all = override.input_line in base.hydra.overrides.task and not swept
            if len(studies) > int(for_all):
                raise ConfigError("experiment", ONE_STUDY, override.input_line.partition("=")[2])


def is_a_study(session: Session, base: DictConfig, name: str) -> bool:
    """Whether a file has claims or a grid of its own; others set values only."""
    cell = session.load_cell(base, [f"experiment={name}"])
    return bool(cell.study or cell.hydra.sweeper.get("params"))


def check_form(session: Session, configs: Sequence[Config]) -> None:
    """Raises ConfigError for a small form that the loader of studies has not seen: it reads the words only."""
    small = SMALL in session.overrides
    if other := {config.size for config in configs} - {"small" if small else "full"}:
        raise ConfigError("size", "size=small or size=full once on the command line, for all cells", other.pop())


def check_no_study(study: dict[str, Any]) -> None:
    """Raises ConfigError for what only a study has."""
    if more := study.keys() - {"grids"}:
        raise unknown(f"study.{min(map(str, more))}")


def check_claims(session: Session, study: dict[str, Any]) -> None:
    """Raises ConfigError for claims that the study's name does not stand for, as where a file inherits two studies."""
    from harness.analysis import study_from

    name, claims = study_from(study).name, study["claims"]
    judge_file(name)
    if session.load(RunMode.MULTIRUN, [f"experiment={name}"]).study.get("claims", {}).keys() != claims.keys():
        raise ConfigError("study.claims", f"those of experiments/{name}.yaml (or another study.name)", list(claims))
