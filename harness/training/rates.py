"""The learning rate at each update: that of the cell times a schedule, a warm-up, and a rule for a batch that grows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.config import LEARNING_RATE_RULES, Config, ConfigError
from harness.network import SCHEDULES, Array, Indices, Moments
from harness.training.order import Passes


@dataclass(frozen=True)
class Rates:
    """Factors of the learning rate, which is that of the first batch size.

    n_updates: of the budget, None where only seconds end training. lr_mean: see `Plan`. multiplied: whether the step of
    a sum grows with B, see `canonical_rate`.
    """

    config: Config
    passes: Passes
    n_updates: int | None
    lr_mean: float
    multiplied: bool

    @property
    def are_constant(self) -> bool:
        config = self.config
        grows = len(self.passes.phases) > 1 and LEARNING_RATE_RULES[config.learning_rate_rule] != 0
        return config.learning_rate_schedule == "constant" and not config.warm_up_epochs and not grows

    def factors(self, update: int, n: int) -> Array:
        """Of n updates of one epoch, after so many, (n,). Raises ConfigError for a schedule that gives none."""
        config, phase = self.config, self.passes.phase_at(update)
        updates = np.arange(update, update + n)
        n_epochs = np.inf if self.n_updates is None else float(self.passes.epoch(self.n_updates))
        at = Moments(
            updates, np.asarray(self.passes.epoch(updates)), n_epochs, self.passes.n_examples,
            config.warm_up_epochs, tuple(config.milestones), config.milestone_factor,
        )  # fmt: skip
        power = LEARNING_RATE_RULES[config.learning_rate_rule]
        growth = phase.batch_size / self.passes.phases[0].batch_size
        return growth**power * self._scheduled(at) * self._warm_up(updates)

    def lr_mean_at(self, update: int) -> float:
        """The rate with which a mean makes the update after so many."""
        growth = self.passes.phase_at(update).batch_size / self.passes.phases[0].batch_size
        return float(self.lr_mean * self.factors(update, 1)[0] * (growth if self.multiplied else 1))

    def _scheduled(self, at: Moments) -> Array:
        name = self.config.learning_rate_schedule
        given = SCHEDULES[name](at)
        found = _numbers(given)
        if found.shape != at.epoch.shape or not (np.isfinite(found) & (found >= 0)).all():
            allowed = f"{name} to return a finite factor >= 0 for each of {len(at.epoch)} updates"
            raise ConfigError("learning_rate_schedule", allowed, " ".join(str(given).split())[:100])
        return found

    def _warm_up(self, updates: Indices) -> Array | float:
        """Rises linearly, by each update, to 1 at the last update of the warm-up."""
        if not self.config.warm_up_epochs:
            return 1.0
        return np.minimum(1, np.asarray(self.passes.epoch(updates + 1)) / self.config.warm_up_epochs)


def _numbers(given: Any) -> Array:
    """As real numbers; NaN for what is none."""
    try:
        return np.asarray(given, dtype=float) if np.isrealobj(given) else np.array(np.nan)
    except (TypeError, ValueError):
        return np.array(np.nan)
