"""Refuses what a command line says about Hydra's own nodes, and names that no file can have, in Hydra's place."""

import inspect
import os
import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.app.hints import unknown_option
from harness.config import RULES, Config, ConfigError

NAME_BYTES = 250  # of a file's name without its ending, on the file systems in use
PATH_BYTES = 4000
GROUPS = ("dataset", "model", "optimizer", "experiment")
NEEDED = re.compile(
    rf"({'|'.join(field.name for field in fields(Config))}|(dataset|model|optimizer|hydra)[./@].*|hydra)"
)
ENTRIES = ("dataset.load.", "hydra.callbacks.", "hydra.job.env_set.")  # of dictionaries, which may lack them
SWEEPER, LAUNCHER = ".BasicSweeper", ".BasicLauncher"  # the ends of their classes; the second has no options
A_NODE = "a dictionary with the entry _target_, as `--cfg hydra` shows it"
A_CALLBACK = "{_target_: MODULE.CLASS, ARGUMENT: VALUE, ...} of a class that can be made (hydra.experimental.Callback)"
A_GRID = 'a dictionary in a file (on the command line: -m KEY=VALUES, or study.grids=[{KEY: "VALUES"}, ...])'
A_VALUE = "a value as `--cfg hydra` shows it"
KEPT = "a value: {}=... (~experiment leaves a study out, ~dataset.load.NAME an argument)"


def check_override(override: Override) -> None:
    """Raises ConfigError for a key that is left out but needed, for too long a name, and for a number as a truth."""
    key, value = str(override.key_or_group), str(override.input_line).partition("=")[2]
    if override.type is OverrideType.DEL and NEEDED.fullmatch(key) and not key.startswith(ENTRIES):
        raise ConfigError(key, KEPT.format(key), None)
    if _is_long(key):
        raise ConfigError("command line", f"keys of at most {NAME_BYTES} letters (--help lists them)", key)
    values = value.split(",")
    if (key in GROUPS or "/" in key) and (found := next(filter(_is_long, values), "")):
        raise ConfigError(key, f"a name of at most {NAME_BYTES} letters", found)
    truth = key in RULES and RULES[key].allowed == "true | false"  # OmegaConf makes such a value of every integer
    if truth and (found := next(filter(re.compile(r"\s*[-+]?\d[\d_]*\s*").fullmatch, values), "")):
        raise ConfigError(key, RULES[key].allowed, found)


def _is_long(name: str) -> bool:
    return len(name.encode(errors="replace")) > NAME_BYTES


def culprit(words: Sequence[str], load: Callable[[str], Any]) -> ConfigError | None:
    """The refusal of the first word about Hydra that `load` fails for by itself."""
    for word in words:
        key, _, value = word.lstrip("+~").partition("=")
        if re.match(r"hydra[./]", key):
            try:
                load(word)
            except Exception:
                return ConfigError(key, A_GRID if key.startswith("hydra.sweeper.params") else A_VALUE, value)
    return None


def check_nodes(config: DictConfig, multirun: bool) -> None:
    """Raises ConfigError for a node of Hydra's with a wrong form, before anything is trained."""
    for name in ("sweeper", "launcher"):
        if not isinstance(node := config.hydra[name], DictConfig):
            raise ConfigError(f"hydra.{name}", f"{A_NODE} (hydra/{name}=basic)", node)
    if not isinstance(params := config.hydra.sweeper.get("params"), DictConfig | None):
        raise ConfigError("hydra.sweeper.params", A_GRID, params)
    if not str(config.hydra.sweeper.get("_target_")).endswith(SWEEPER):  # the grid is known before anything is trained
        raise ConfigError("hydra/sweeper", "basic, the one that trains a grid", config.hydra.sweeper.get("_target_"))
    for name in config.hydra.callbacks:
        _check_class(f"hydra.callbacks.{name}", config.hydra.callbacks[name], A_CALLBACK)
    if "_target_" in (launcher := config.hydra.launcher):
        more = launcher.keys() - {"_target_"}
        if more and str(launcher["_target_"]).endswith(LAUNCHER):
            raise unknown_option(f"hydra.launcher.{min(more)}")
        _check_class("hydra.launcher", launcher, f"{A_NODE} (hydra/launcher=basic)")
    for key, folder in _folders(config, multirun):
        if len(str(folder).encode(errors="replace")) > PATH_BYTES or any(map(_is_long, folder.parts)):
            raise ConfigError(key, f"a folder whose name has at most {NAME_BYTES} letters", str(folder))
        _check_place(key, folder)


def _check_place(key: str, folder: Path) -> None:
    """Raises ConfigError where a folder is not there and cannot be made; it tries."""
    try:
        missing = [part for part in (folder, *folder.parents) if not os.path.isdir(part)]
        if missing and (missing[-1].parent != Path() or os.path.lexists(missing[-1])):  # later: the current one
            missing[-1].mkdir()
            missing[-1].rmdir()
    except (OSError, ValueError) as error:
        raise ConfigError(
            key, f"a folder that can be made ({getattr(error, 'strerror', error)})", str(folder)
        ) from error


def _check_class(key: str, node: Any, allowed: str) -> None:
    """Raises ConfigError where Hydra could not make an object of this class with these arguments."""
    plain = OmegaConf.to_container(node, resolve=False) if isinstance(node, DictConfig) else {}
    try:
        found: Any = pkgutil.resolve_name(str(plain["_target_"]))
        made: Any = found if isinstance(found, type) else None
        inspect.signature(made).bind(**{k: 0 for k in plain if k[:1] != "_"})
    except (LookupError, TypeError, ValueError, ImportError, AttributeError) as error:
        raise ConfigError(key, allowed, plain or node) from error


def _folders(config: DictConfig, multirun: bool) -> Iterator[tuple[str, Path]]:
    """Those that Hydra makes for its jobs, each inside the one before."""
    folder = Path()
    for key in ("sweep.dir", "sweep.subdir", "output_subdir") if multirun else ("run.dir", "output_subdir"):
        with suppress(OmegaConfBaseException):  # an interpolation that has a value in a job only
            folder /= str(OmegaConf.select(config, f"hydra.{key}") or ".")
            yield f"hydra.{key}", folder
