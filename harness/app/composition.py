"""From the words of a command line to checked configurations, with Hydra's own parser and composer.

Hydra composes a job only when that job starts, and tells a mistake in several lines. Here every cell of a sweep is
composed before the first one starts, and whatever Hydra refuses becomes one line that names the key. Only `cli` and
this module know Hydra.
"""

import copy
import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from hydra.version import setbase
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from harness.config import RULES, Config, ConfigError


class SharedStore(ConfigStore):  # type: ignore[misc]
    """Hydra's store of schemas and studies. It copies what it hands out, and need not be copied itself.

    Hydra does that with everything it may ask, whenever it asks: seventy times for --help.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> "SharedStore":
        return self


class CellLoader(ConfigLoaderImpl):  # type: ignore[misc]
    """Hydra's loader of configurations, which takes a tenth of a second for each cell, made quick for a sweep.

    Cells that choose the same groups differ in values only, so they are composed once and the values set by Hydra's
    own rule.
    """

    def __init__(self, search_path: Any) -> None:
        super().__init__(search_path)
        self._chosen: dict[tuple[str, ...], tuple[DictConfig, DictConfig]] = {}  # groups -> cell, hydra

    def load_cell(self, base: DictConfig, words: list[str]) -> DictConfig:
        """The configuration of the cell that these overrides make, without what Hydra needs to run its job."""
        return self._cell(base, OverridesParser.create().parse_overrides(words))[0]

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The same with it: what Hydra's launchers ask for."""
        every = OverridesParser.create().parse_overrides(sweep_overrides)
        parsed = [override for override in every if not override.key_or_group.startswith("hydra.")]
        own, hydra = self._cell(master_config, parsed)
        with open_dict(own):
            own.hydra = hydra  # a copy
        self._apply_overrides_to_config([override for override in every if override not in parsed], own)
        own.hydra.overrides.task = [override.input_line for override in parsed]
        own.hydra.job.override_dirname = get_overrides_dirname(parsed, **_dirname_words(hydra))
        OmegaConf.copy_cache(from_config=master_config, to_config=own)
        return own

    def _cell(self, base: DictConfig, parsed: list[Override]) -> tuple[DictConfig, DictConfig]:
        groups = tuple(o.input_line for o in parsed if self.repository.group_exists(o.key_or_group))
        if groups not in self._chosen:
            composed = super().load_sweep_config(base, list(groups))
            hydra = composed.hydra
            self._chosen[groups] = _without_hydra(composed), hydra
        cell, hydra = self._chosen[groups]
        own = copy.deepcopy(cell)
        self._apply_overrides_to_config([o for o in parsed if o.input_line not in groups], own)
        return own, hydra


def _dirname_words(hydra: DictConfig) -> dict[str, Any]:
    settings = hydra.job.config.override_dirname
    return {key: settings[key] for key in ("kv_sep", "item_sep", "exclude_keys")}


@dataclass(frozen=True)
class Composed:
    """What a command line asks for: each cell's configuration with the overrides that make it, and how to launch."""

    cells: list[tuple[Config, list[str]]]
    multirun: bool
    launcher: str  # the class that Hydra's launcher is
    n_jobs: int | None  # parallel workers, for a launcher that has the setting


def compose_cells(words: Sequence[str], conf: Path) -> Composed:
    """The configuration of every cell that the command line asks for. Raises ConfigError."""
    hydra, overrides, asked_multirun = _open(words, conf)
    try:
        base = _compose(hydra, overrides, RunMode.MULTIRUN)
        settings = base.hydra.launcher
        launcher = str(settings._target_).split(".")[-1]
        if not (asked_multirun or base.hydra.mode == RunMode.MULTIRUN):
            return Composed([(to_config(_compose(hydra, overrides, RunMode.RUN)), [])], False, launcher, None)
        _check_sweeper(base)
        grid = _grid(base, hydra.config_loader)
        cells = [(to_config(_refusing(hydra.config_loader.load_cell, base, words)), words) for words in grid]
        return Composed(cells, True, launcher, settings.get("n_jobs"))
    finally:
        GlobalHydra.instance().clear()


def launch(words: Sequence[str], conf: Path, cells: Sequence[list[str]] | None, task: Callable[..., Any]) -> list[Any]:
    """Let Hydra run `task`: with its launcher on each of these cells of the sweep, or (None) on the one configuration.

    It is what Hydra's own sweeper does with the whole grid; here the cells that are done already are not among them.
    Returns what the task returned; what it or a launcher raises goes to the caller.
    """
    hydra, overrides, _ = _open(words, conf)
    try:
        if cells is None:
            return [hydra.run("config", task, overrides, with_log_configuration=False).return_value]
        base = _compose(hydra, overrides, RunMode.MULTIRUN)
        callbacks = Callbacks(base)
        context = HydraContext(config_loader=hydra.config_loader, callbacks=callbacks)
        launcher = Plugins.instance().instantiate_launcher(config=base, hydra_context=context, task_function=task)
        callbacks.on_multirun_start(config=base, config_name="config")
        jobs = launcher.launch([list(cell) for cell in cells], initial_job_idx=0)
        callbacks.on_multirun_end(config=base, config_name="config")
        return [job.return_value for job in jobs]
    finally:
        GlobalHydra.instance().clear()


def _open(words: Sequence[str], conf: Path) -> tuple[Hydra, list[str], bool]:
    arguments = get_args_parser().parse_args(list(words))
    setbase("1.3")
    search_path = create_config_search_path(str(conf))
    if arguments.config_dir:
        search_path.prepend("command-line", f"file://{Path(arguments.config_dir).resolve()}")
    hydra = Hydra("harness", CellLoader(search_path))
    GlobalHydra.instance().initialize(hydra)
    return hydra, arguments.overrides, arguments.multirun


def _compose(hydra: Hydra, overrides: list[str], mode: Any) -> DictConfig:
    composed: DictConfig = _refusing(
        hydra.compose_config,
        config_name="config",
        overrides=overrides,
        run_mode=mode,
        with_log_configuration=False,
        validate_sweep_overrides=mode.name == "RUN",
    )
    return composed


def _check_sweeper(base: DictConfig) -> None:
    """The whole grid is known before anything is trained; a sweeper that makes it up as it goes has no place here."""
    if not str(base.hydra.sweeper._target_).endswith("BasicSweeper"):
        raise ConfigError("hydra/sweeper", "basic, the one that trains a grid", base.hydra.sweeper._target_)


def _grid(base: DictConfig, loader: Any) -> list[list[str]]:
    """The overrides of every cell, as Hydra's basic sweeper forms them: a study's own grid, then the command line's.

    A study may list several grids, which is more than Hydra's basic sweeper knows: their cells follow each other.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create(config_loader=loader)
    params = dict(base.hydra.sweeper.get("params") or {})
    cells: list[list[str]] = []
    for grid in base.study.get("grids") or [{}]:
        words = [f"{key}={value}" for key, value in {**params, **grid}.items()] + list(base.hydra.overrides.task)
        parsed = _refusing(parser.parse_overrides, words)
        cells += BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]
    return cells


def _without_hydra(composed: DictConfig) -> DictConfig:
    with open_dict(composed):
        composed.pop("hydra", None)
    return composed


def to_config(composed: DictConfig) -> Config:
    """The plain objects of one cell. Raises ConfigError for a value that is missing and for a key that was added."""
    composed = _without_hydra(composed)
    added = [str(key) for key in composed if key not in {field.name for field in fields(Config)}]
    if added:
        raise _unknown(added[0])
    return _refusing(OmegaConf.to_object, composed)


def _refusing(call: Any, *arguments: Any, **options: Any) -> Any:
    """Call Hydra or OmegaConf, and say what they refuse in one line."""
    try:
        return call(*arguments, **options)
    except (HydraException, OmegaConfBaseException) as refused:
        raise _one_line(" ".join(f"{refused} {refused.__cause__ or ''}".split())) from refused


def _one_line(text: str) -> ConfigError:
    """A message of Hydra's or OmegaConf's, read for the key, what is allowed and what came."""
    for pattern, rewrite in MESSAGES:
        if found := re.search(pattern, text):
            return rewrite(found)
    return ConfigError("command line", "key=value as Hydra reads it", text)


def _wrong_type(found: re.Match[str]) -> ConfigError:
    key = found["key"].split("[")[0]
    allowed = RULES[key].allowed if key in RULES else "a value of another type"
    return ConfigError(key, allowed, found["value"])


def _unknown_option(found: re.Match[str]) -> ConfigError:
    options = [option for option in found["options"].split() if not option.startswith("_")]
    return ConfigError(found["group"], " | ".join(options), found["option"])


def _unknown(key: str) -> ConfigError:
    known = [*RULES, *(field.name for field in fields(Config)), "dataset.name", "dataset.load", "dataset.resample"]
    if key.startswith("dataset.load."):
        return ConfigError(key, f"an argument that --cfg job lists (+{key} adds one)", key)
    closest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"did you mean {closest[0]}? " if closest else ""
    return ConfigError(key, f"a known key ({hint}--help lists them)", key)


def _not_a_list(found: re.Match[str]) -> ConfigError:
    return ConfigError(found["key"], "one value (a list to sweep over needs -m in front)", found["value"])


def _missing(found: re.Match[str]) -> ConfigError:
    return ConfigError(found["key"], "a value", None)


def _unknown_plugin(found: re.Match[str]) -> ConfigError:
    extra = found["option"].split("_")[0]  # submitit_slurm -> submitit
    if found["group"] == "hydra/launcher" and extra in LAUNCHERS:
        allowed = f'a launcher that is installed: pip install -e ".[{extra}]"'
        return ConfigError(found["group"], allowed, found["option"])
    return _unknown_option(found)


LAUNCHERS = ("joblib", "ray", "submitit")  # by Hydra's own plugins, each an extra of the same name
OPTIONS = (
    r"Could not find '(?P<group>[\w/]+)/(?P<option>[^'/]+)' Available options in '[\w/]+': "
    r"(?P<options>.*?) Config search"
)
MESSAGES: list[tuple[str, Callable[[re.Match[str]], ConfigError]]] = [
    (OPTIONS, _unknown_plugin),
    (r"Ambiguous value for argument '(?P<key>[^=]+)=(?P<value>[^']*)'", _not_a_list),
    (r"Error merging override .*?=(?P<value>.*?) (Value|Invalid|Cannot|field) .*full_key: (?P<key>\S+)", _wrong_type),
    (r"Could not (override|delete from config\.) '(?P<key>[^']+)'", lambda found: _unknown(found["key"])),
    (r"Missing mandatory value: \w+ full_key: (?P<key>\S+)", _missing),
    (r"missing \d+ required positional arguments?: '(?P<key>\w+)'", _missing),
]
