"""From the words of a command line to the configuration of every cell, all of them before the first is trained.

Hydra, which takes 0.05 s for it, composes cells of the same groups once; plain values are set here, as Hydra does.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from functools import cache, partial
from itertools import islice, product
from math import prod
from typing import Any, NamedTuple

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from harness.app.experiments import (
    check_choice,
    check_claims,
    check_form,
    check_no_study,
    check_swept,
    grids_of,
    is_a_study,
)
from harness.app.hints import meant, unknown_option
from harness.app.launchers import Launcher, checked
from harness.app.nodes import check_nodes
from harness.app.refusals import refusing, unknown
from harness.app.session import GRIDS, PARTS, Session, check_names, check_part, check_single, launcher_names
from harness.config import Config, ConfigError, check, check_together

MOST_CELLS = 100_000  # of a sweep: to compose them takes a minute, and a table of them is still read
PLAIN = (str, int, float, bool, type(None))
UNREAD, MISSING = object(), "???"
CHECKED_BY_RAY = "hydra.launcher.ray.init"  # which has more arguments than the file
KINDS: dict[type, tuple[type, str]] = {dict: (dict, "{NAME: VALUE, ...}"), list: (list, "[TEXT, ...]")}  # of options


class Composed(NamedTuple):
    """What a command line asks for, and how to launch it."""

    session: Session
    cells: list[tuple[Config, list[str]]]  # each with the overrides that make it
    multirun: bool
    launcher: Launcher


def compose_cells(words: Sequence[str]) -> Composed:
    """The configuration of every cell that the command line asks for. Raises ConfigError."""
    session = Session(words)
    base = session.base
    multirun = session.multirun or base.hydra.mode == RunMode.MULTIRUN
    check_nodes(base, multirun)
    if not multirun:
        check_swept(base)
        check_single(session)
        config = to_config(copy.deepcopy(base))
        _check_threads([config])
        return Composed(session, [(config, [])], False, Launcher())
    launcher = _launcher(base)
    compose = _composer(session, base)
    cells = [(compose(overrides), overrides) for overrides in _grid(session, base)]
    if launcher.is_here:
        _check_threads([config for config, _ in cells])
    return Composed(session, cells, True, replace(launcher, threads=max(config.threads for config, _ in cells)))


def _check_threads(configs: Sequence[Config]) -> None:
    """Raises ConfigError for more threads than cores: they would wait for each other, and timings mean nothing."""
    if (most := max(config.threads for config in configs)) > 1:
        from joblib import cpu_count

        if most > (cores := cpu_count()):
            raise ConfigError("threads", f"at most {cores}, the cores of this machine", most)


def checked_cells(words: Sequence[str]) -> Composed:
    """The same, with the values of every cell, the study and the launcher checked. Raises ConfigError."""
    composed = compose_cells(words)
    check_names(composed.session)
    for config, _ in composed.cells:
        _check(config)
    check_form(composed.session, [config for config, _ in composed.cells])
    check_together([config for config, _ in composed.cells], composed.multirun)
    study = composed.cells[0][0].study
    if "claims" in study:
        check_claims(composed.session, study)
    else:
        check_no_study(study)
    launcher = checked(composed.launcher, len(composed.cells), composed.cells[0][0].cells_per_job)
    return composed._replace(launcher=launcher)


def _check(config: Config) -> None:
    """`check`, which says what to type where several values were meant."""
    try:
        check(config)
    except ConfigError as refused:
        if hint := meant(refused.key, str(refused.received)):
            raise ConfigError(refused.key, refused.allowed + hint, refused.received) from None
        raise


def _launcher(base: DictConfig) -> Launcher:
    """The launcher that is chosen, with the options that its file has. Raises ConfigError."""
    options = refusing(OmegaConf.to_container, base.hydra.launcher, resolve=True)
    name = str(options.get("name", base.hydra.runtime.choices["hydra/launcher"]))
    if name in launcher_names():
        _check_shape(OmegaConf.to_container(ConfigStore.instance().load(f"hydra/launcher/{name}.yaml").node), options)
    return Launcher(name, options=options)


def _check_shape(default: dict[str, Any], options: dict[str, Any], prefix: str = "hydra.launcher") -> None:
    """Raises ConfigError for an option that was removed, is not known, or is of another kind than in the file."""
    for key, own in default.items():
        kind, allowed = KINDS.get(type(own), (object, "a value"))
        if key not in options or not isinstance(options[key], kind):
            raise ConfigError(f"{prefix}.{key}", allowed, options.get(key))
        if kind is dict:
            _check_shape(own, options[key], f"{prefix}.{key}")
    if default and prefix != CHECKED_BY_RAY and (added := options.keys() - default.keys()):
        raise unknown_option(f"{prefix}.{min(added)}", [f"{prefix}.{key}" for key in default])


def to_config(composed: DictConfig) -> Config:
    """One cell; takes Hydra's part out of `composed`. Raises ConfigError for a missing value and for an added key."""
    config: Config = refusing(OmegaConf.to_object, _without_hydra(composed))
    for prefix, part in {"": config, **{f"{name}.": getattr(config, name) for name in PARTS}}.items():
        if added := vars(part).keys() - {field.name for field in fields(part)}:
            raise unknown(prefix + min(added))
    return config


def _without_hydra(composed: DictConfig) -> DictConfig:
    """The same object, without the largest part of it, which no cell needs."""
    with open_dict(composed):
        composed.pop("hydra", None)
    return composed


def _grid(session: Session, base: DictConfig) -> Iterator[list[str]]:
    """The overrides of every cell, in the order of Hydra's basic sweeper; the grids of a study follow each other."""
    parser = OverridesParser.create(config_loader=session.loader)
    is_study = cache(partial(is_a_study, session, base))
    for words in grids_of(base):
        parsed = refusing(parser.parse_overrides, words)
        check_choice(base, parsed, is_study)
        own = [override for override in parsed if override.key_or_group != GRIDS]  # which `words` has already
        choices = {override.get_key_element(): _choices(override) for override in own}  # a key's last word counts
        if (n_cells := prod(map(len, choices.values()))) > MOST_CELLS:
            raise ConfigError("command line", f"a grid of at most {MOST_CELLS} cells", f"{n_cells} or more")
        yield from map(list, product(*choices.values()))


def _choices(override: Override) -> list[str]:
    """The words that a key's cells choose from; of too many, the first."""
    key = override.get_key_element()
    check_part(override)
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if override.is_interval_sweep():
        allowed = "values to train, as 0.1,0.3,1 or range(START,STOP,STEP): an interval does not name them"
        raise ConfigError(key, allowed, override.input_line)
    values = refusing(lambda: list(islice(override.sweep_string_iterator(), MOST_CELLS + 1)))
    if not values:
        raise ConfigError(key, "a pattern that something matches, or a range with values", override.input_line)
    return [f"{key}={value}" for value in values]


def _composer(session: Session, base: DictConfig) -> Callable[[list[str]], Config]:
    """The function from a cell's overrides to its configuration."""
    shared = cache(lambda *groups: _without_hydra(session.load_cell(base, list(groups))))
    plain = cache(lambda *groups: _Plain.of(shared(*groups)))
    is_group = cache(lambda key: bool(session.loader.get_group_options(key)))

    def compose(words: list[str]) -> Config:
        groups = [word for word in words if is_group(_parsed(word).key_or_group)]
        own = [word for word in words if word not in groups]
        if (parts := plain(*groups)) and (config := parts.with_words(own)):
            return config
        composed = copy.deepcopy(shared(*groups))
        if all(_inplace_set(composed, _parsed(word)) for word in own):
            return to_config(composed)
        return to_config(session.load_cell(base, words))

    return compose


class _Plain:
    """A configuration in which no value depends on another, so that each word can be read once for all cells.

    To copy and convert a whole configuration takes some milliseconds for each cell.
    """

    def __init__(self, composed: DictConfig, config: Config) -> None:
        self._composed, self._config = composed, config
        self._values: dict[str, Any] = {}  # of words, as OmegaConf converts them; UNREAD for one that is to be composed

    @classmethod
    def of(cls, composed: DictConfig) -> "_Plain | None":
        """None if a value names another one, or one is missing."""
        text = OmegaConf.to_yaml(composed)
        if "${" in text or MISSING in text:
            return None
        with suppress(ConfigError):
            return cls(composed, to_config(copy.deepcopy(composed)))
        return None

    def with_words(self, words: Sequence[str]) -> Config | None:
        """The configuration with these values; None for words that are more than a plain value for a key."""
        config = self._config
        for word in words:
            if word not in self._values:
                self._values[word] = self._read(_parsed(word))
            if self._values[word] is UNREAD:
                return None
            config = _replaced(config, str(_parsed(word).key_or_group).split("."), self._values[word])
        return config

    def _read(self, override: Override) -> Any:
        """The value as a configuration has it, which is put back afterwards."""
        key, value = override.key_or_group, override.value()
        if override.type is not OverrideType.CHANGE or "${" in str(value) or not isinstance(value, PLAIN):
            return UNREAD
        with suppress(OmegaConfBaseException):
            before = OmegaConf.select(self._composed, key)
            if isinstance(before, PLAIN) and _inplace_set(self._composed, override):
                found = OmegaConf.select(self._composed, key)
                OmegaConf.update(self._composed, key, before)
                return found
        return UNREAD


def _replaced(part: Any, path: Sequence[str], value: Any) -> Any:
    """A copy of a configuration, or of a part of it, with another value at the end of the path."""
    first, *rest = path
    if isinstance(part, dict):
        return {**part, first: _replaced(part[first], rest, value) if rest else value}
    return replace(part, **{first: _replaced(getattr(part, first), rest, value) if rest else value})


def _inplace_set(config: DictConfig, override: Override) -> bool:
    """Set a value, or add a new one, as Hydra does; False for every other override and for one that Hydra refuses."""
    key, added = override.key_or_group, override.type is OverrideType.ADD
    plain = override.package is None and (added or override.type is OverrideType.CHANGE)
    with suppress(OmegaConfBaseException):
        if plain and not (added and OmegaConf.select(config, key) is not None):
            OmegaConf.update(config, key, override.value(), force_add=added)
            return True
    return False


@cache
def _parsed(word: str) -> Override:
    return refusing(OverridesParser.create().parse_override, word)
