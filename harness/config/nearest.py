"""The known name that somebody meant: another spelling, or the word of another library."""

import difflib
from collections.abc import Iterable

ALIKE = 0.7  # of the letters of two words
OTHERS = {  # words of other libraries, and the last part of the key here
    "lr": "learning_rate", "eta": "learning_rate", "step_size": "learning_rate", "batch": "batch_size",
    "bs": "batch_size", "b": "batch_size", "optim": "optimizer", "solver": "optimizer", "data": "dataset",
    "max_iter": "epochs", "steps": "updates", "iterations": "updates", "random_state": "seed", "replicas": "seeds",
    "runs": "seeds", "layers": "hidden", "units": "hidden", "hidden_layer_sizes": "hidden", "l2": "weight_decay",
    "test_size": "test_fraction", "test": "test_fraction", "precision": "dtype", "shuffle": "order",
    "lr_schedule": "learning_rate_schedule", "lr_scheduler": "learning_rate_schedule", "gamma": "milestone_factor",
    "scheduler": "learning_rate_schedule", "schedule": "learning_rate_schedule", "warmup": "warm_up_epochs",
    "warmup_epochs": "warm_up_epochs", "launcher": "hydra/launcher", "n_jobs": "hydra/launcher",
    "jobs": "hydra/launcher", "workers": "hydra/launcher",
}  # fmt: skip


def nearest(name: str, known: Iterable[str]) -> str:
    """One of the known names, or "". Capital letters, dashes and the part in front (model.) may differ."""
    names = {_plain(key): key for key in known}
    by_ending = {key.rpartition(".")[2]: names[key] for key in names} | names
    meant = OTHERS.get(_plain(name).rpartition(".")[2], _plain(name))
    found = difflib.get_close_matches(meant, by_ending, n=1, cutoff=ALIKE)
    return by_ending[found[0]] if found else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The question for a refusal, with a blank at its end; or ""."""
    found = nearest(name, known)
    return f"did you mean {found}? " if found else ""
