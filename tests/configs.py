"""A configuration made by hand, for tests that need no Hydra."""

from dataclasses import replace
from typing import Any

from harness.config.schema import Config, DatasetConfig, ModelConfig, OptimizerConfig, check


def configured(**changes: Any) -> Config:
    """A small cell; keys of a part are written with its name: dataset_resample, optimizer_name."""
    config = Config(
        dataset=DatasetConfig("three", "classification", {}, 0.2, 0.2, resample=False),
        model=ModelConfig([5], "tanh", "glorot_uniform"),
        optimizer=OptimizerConfig("sgd", 0.0, None),
        batch_size=8,
        learning_rate=0.1,
        reduction="mean",
        learning_rate_rule="constant",
        reference_batch_size=64,
        learning_rate_schedule="constant",
        warm_up_epochs=0,
        batch_size_schedule="constant",
        milestones=[],
        milestone_factor=5,
        epochs=3,
        updates=None,
        train_seconds=None,
        target=None,
        target_on="train",
        order="reshuffle",
        last_batch="keep",
        seeds=4,
        first_replica=0,
        seed=0,
        dtype="float64",
        engine="vectorized",
        threads=1,
        diagnostics="off",
    )
    for key, value in changes.items():
        part, _, name = key.partition("_")
        if part in ("dataset", "model", "optimizer"):
            changed = replace(getattr(config, part), **{name: value})
            config = replace(config, **{part: changed})
        else:
            config = replace(config, **{key: value})
    check(config)
    return config
