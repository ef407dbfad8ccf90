"""Keys whose values are names of a table, which the user's extensions add to; where an extension cannot be used."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.config.errors import ConfigError
from harness.network import (
    ACTIVATIONS,
    FOLDER,
    LOSSES,
    OPTIMIZERS,
    SCHEDULES,
    ExtensionError,
    Table,
    in_a_line,
    raised_by,
)

LEARNING_RATE_RULES: Table[float] = Table(  # exponent of B / reference_batch_size
    "learning_rate_rules",
    {"constant": 0.0, "linear": 1.0, "sqrt": 0.5},
    lambda thing: isinstance(thing, int | float) and not isinstance(thing, bool) and abs(thing) < 100,
    "a number between -100 and 100, the exponent of B / reference_batch_size",
)
TABLES: dict[str, Table[Any]] = {
    "model.activation": ACTIVATIONS,
    "model.loss": LOSSES,
    "optimizer.name": OPTIMIZERS,
    "learning_rate_rule": LEARNING_RATE_RULES,
    "learning_rate_schedule": SCHEDULES,
}
ENGINES = ("model.activation", "model.loss", "optimizer.name")  # whose code runs inside an engine
IN_CODE = (*ENGINES, "learning_rate_schedule")  # whose code computes numbers; a rule is a number
IN_MODELS = ("model.activation", "model.loss")  # whose equations a logged model and engine=per_example have again


class Known(NamedTuple):
    """The rule of a key whose value is a name of a table."""

    table: Table[Any]
    may_be_null: bool = False

    def holds(self, value: object) -> bool:
        return self.table.knows(value) or (self.may_be_null and value is None)

    @property
    def allowed(self) -> str:
        return " | ".join(self.table.names()) + ", or null" * self.may_be_null


def check_extensions(values: Mapping[str, Any]) -> None:
    """Load what the flat configuration names. Raises ConfigError for what cannot be used, or not with another value."""
    if os.path.isdir(FOLDER):
        for key, table in TABLES.items():
            _check(key, table, values[key])
    own = {key: values[key] for key in IN_CODE if (name := values[key]) is not None and name not in TABLES[key]}
    for key, name in own.items():
        _check(key, TABLES[key], name)
        if (values["engine"] == "compiled" and key in ENGINES) or (
            values["engine"] == "per_example" and key in IN_MODELS
        ):
            allowed = f"vectorized, because the other engines have no code for {key}={name}, an extension"
            raise ConfigError("engine", allowed, values["engine"])
        if values["log_model"] and key in IN_MODELS:
            raise ConfigError("log_model", f"false, because a logged model has no code for {key}={name}", True)


def fault_of_extension(error: BaseException) -> str:
    """Key, file, line and error, in one line; empty if no extension's code raised it."""
    if (found := raised_by(error)) is None:
        return ""
    kind, place = found
    key = next((key for key, table in TABLES.items() if table.kind == kind), kind)
    return f"{key}: {place}: {in_a_line(error)}"


def _check(key: str, table: Table[Any], name: str | None) -> None:
    try:
        if name is not None:
            table.check_name(name)
            table[name]
    except ExtensionError as error:
        raise ConfigError(key, "an extension that can be used", str(error)) from error


def digests(values: Mapping[str, Any]) -> list[str]:
    """The digests of the extensions whose code computes numbers, of the flat configuration."""
    grows = values.get("batch_size_schedule", "constant") != "constant"  # then a rule is applied during training
    keys = (*IN_CODE, *(["learning_rate_rule"] if grows else []))
    found = {key: TABLES[key].digest(name) for key in keys if (name := values.get(key)) is not None}
    return [f"{key} {digest}" for key, digest in found.items() if digest]
