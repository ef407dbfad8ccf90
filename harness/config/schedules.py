"""The learning rate and the batch size while training goes on: what their keys must have, and which sizes they make."""

from typing import TYPE_CHECKING

from harness.config.errors import ConfigError
from harness.network import ENDING

if TYPE_CHECKING:
    from harness.config.schema import Config


def check_schedules(config: "Config") -> None:
    """Raises ConfigError for keys of schedules that do not fit together, or the budget."""
    steps = [key for key in ("learning_rate_schedule", "batch_size_schedule") if getattr(config, key) == "step"]
    if steps and not config.milestones:
        raise ConfigError("milestones", f"at least one epoch, because {steps[0]}=step needs it", config.milestones)
    if config.batch_size_schedule == "step" and not (config.milestone_factor >= 1 and config.milestone_factor % 1 == 0):
        allowed = "an integer >= 1, because batch_size_schedule=step multiplies the batch size by it"
        raise ConfigError("milestone_factor", allowed, config.milestone_factor)
    if config.learning_rate_schedule in ENDING and config.epochs is None and config.updates is None:
        allowed = f"a number of epochs or updates, because learning_rate_schedule={config.learning_rate_schedule} falls"
        raise ConfigError("epochs", f"{allowed} until the end of training", None)
    if config.epochs is not None:
        check_within(config, config.epochs, f"epochs={config.epochs}")


def check_within(config: "Config", n_epochs: float, budget: str) -> None:
    """Raises ConfigError for a step or a full rate that training, of so many epochs by this budget, never reaches."""
    if late := [epoch for epoch in config.milestones if epoch >= n_epochs]:
        raise ConfigError("milestones", f"epochs below {budget}, at which training ends", late[0])
    if config.warm_up_epochs > n_epochs:
        raise ConfigError("warm_up_epochs", f"at most {budget}", config.warm_up_epochs)


def batch_sizes(config: "Config", first: int, n_train: int) -> list[tuple[int, int]]:
    """(epoch, batch size from its beginning on) at epoch 0, with `first` examples, and wherever the size changes.

    batch_size_schedule=step multiplies it by milestone_factor at each milestone; nothing is larger than N.
    """
    found = [(0, first)]
    for k, epoch in enumerate(config.milestones if config.batch_size_schedule == "step" else [], 1):
        size = min(first * int(config.milestone_factor) ** k, n_train)
        found += [(epoch, size)] if size != found[-1][1] else []
    return found


def clipping(config: "Config", n_train: int) -> str:
    """That a batch size is asked for that is larger than N, and so becomes N; empty if none is."""
    if config.batch_size == "full" or int(config.batch_size) > n_train:
        return "" if config.batch_size == "full" else f"batch_size={config.batch_size}{_larger(n_train)}"
    steps = len(config.milestones) if config.batch_size_schedule == "step" else 0
    if int(config.batch_size) * int(config.milestone_factor) ** steps <= n_train:
        return ""
    last = f"{config.batch_size} × {config.milestone_factor:g}" + (f"^{steps}" if steps > 1 else "")
    return f"batch_size_schedule=step: {last}{_larger(n_train)}"


def _larger(n_train: int) -> str:
    return f" is larger than N={n_train}: clipped to N"
