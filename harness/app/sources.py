"""What Hydra finds besides conf/: the studies, and the user's own datasets and optimisers, as options of groups."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from harness.config import ConfigError, study_file, study_names
from harness.data import DATASETS, EXTENSION
from harness.network import OPTIMIZERS, ExtensionError, Table

TABLES: dict[str, Table[Any]] = {"dataset": DATASETS, "optimizer": OPTIMIZERS}


class _Source(ConfigSource):  # type: ignore[misc]
    """Options of groups under an address of their own."""

    NAME: ClassVar[str]
    GROUPS: ClassVar[Sequence[str]]

    @classmethod
    def scheme(cls) -> str:
        return cls.NAME

    def names(self, group: str) -> list[str]:
        raise NotImplementedError

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", *self.GROUPS)

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return group in self.GROUPS and name in self.names(group)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        kind = ObjectType.CONFIG if config_path else ObjectType.GROUP
        names = self.names(config_path) if config_path in self.GROUPS else [] if config_path else [*self.GROUPS]
        return names if results_filter in (None, kind) else []


class Studies(_Source):
    """The group `experiment`: every study under its name, in its small form if the address is studies://small."""

    NAME, GROUPS = "studies", ("experiment",)

    def names(self, group: str) -> list[str]:
        return study_names()

    def load_config(self, config_path: str) -> ConfigResult:
        name = config_path.removeprefix("experiment/").removesuffix(".yaml")
        try:
            study = OmegaConf.load(study_file(name))
        except YAMLError as error:
            raise ConfigError(f"experiments/{name}.yaml", "YAML", " ".join(str(error).split())) from error
        if not isinstance(study, DictConfig):
            raise ConfigError(f"experiments/{name}.yaml", "`key: value` in each line", OmegaConf.to_container(study))
        small = study.pop("small", {})
        config = OmegaConf.merge(study, small) if self.path == "small" else study
        return ConfigResult(self.provider, self.full_path(), config, header={"package": "_global_"})


class Extensions(_Source):
    """GROUP/NAME for each of the extensions; what conf/ has is found before."""

    NAME, GROUPS = "extensions", tuple(TABLES)

    def names(self, group: str) -> list[str]:
        return _names(TABLES[group])

    def load_config(self, config_path: str) -> ConfigResult:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        try:
            own = OPTIONS[group](name, TABLES[group][name])
        except ExtensionError as error:
            raise ConfigError(group, "an extension that can be used", str(error)) from error
        config = OmegaConf.create({"defaults": [f"/every_{group}@_here_", "_self_"], "name": name, **own})
        return ConfigResult(self.provider, self.full_path(), config, header={"package": None})


def _names(table: Table[Any]) -> list[str]:
    return [name for name in table.names() if name not in table]


def _dataset(name: str, function: Any) -> dict[str, Any]:
    """The arguments of the function with their defaults; one without a default must be given."""
    defaults = {
        p.name: "???" if p.default is p.empty else p.default for p in inspect.signature(function).parameters.values()
    }
    return {"task": None, "load": {"_target_": f"{EXTENSION}{name}", **defaults}}


def _optimizer(_: str, rule: Any) -> dict[str, Any]:
    return {key: getattr(rule, key) for key in rule.hyperparameters}


OPTIONS = {"dataset": _dataset, "optimizer": _optimizer}
