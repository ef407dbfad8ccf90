"""Trainings by the law of McCandlish et al., whose batch size may change on the way: for sweeps made by hand."""

import numpy as np
import pandas as pd
from synthetic import cell

N, BASE, STEP, SPEED = 1024, 4, 1 / 64, 0.8


def history(noise, n_epochs, batch_size, slower):
    """One replica: log cost falls by SPEED / (1 + B/B_noise) / slower an epoch. batch_size, slower: of the epoch."""
    epoch = np.arange(0, n_epochs + STEP / 2, STEP)
    size = batch_size(epoch)
    fall = STEP * SPEED / (1 + size / noise(epoch)) / slower(epoch)
    fall = np.concatenate([[0], np.cumsum(fall)[:-1]])
    update = np.concatenate([[0], np.cumsum(STEP * N / size)[:-1]])
    cost = np.exp(-fall)

    def made(factor):
        about = {"train_seconds": update, "validation_cost": cost, "validation_accuracy": 0.9, "outcome": ""}
        return pd.DataFrame(
            {"update": update, "epoch": epoch, "examples": N * epoch, "train_cost": factor * cost, **about}
        )

    return made


def sized(steps, factor):
    return lambda epoch: BASE * float(factor) ** np.searchsorted(steps, epoch, side="right")


def branch(noise, steps, factor, n_epochs, batch_size=BASE, rate=0.1, slower=1.0, **schedules):
    """slower: how many times, after the first step."""
    params = {
        "milestones": str(list(steps)) if steps else None,
        "milestone_factor": factor,
        "epochs": n_epochs,
        "diagnostics": "cheap",
    }
    params |= {"batch_size_schedule": "step" if steps else "constant", **schedules}
    grows = params["batch_size_schedule"] == "step"
    sizes = sized(steps, factor) if grows else lambda epoch: np.full_like(epoch, float(batch_size))
    made = history(noise, n_epochs, sizes, lambda epoch: np.where(epoch >= (*steps, 0)[0], slower, 1.0))
    return cell(batch_size, rate, n_train=N, noise=1e-3, history=made, **params)
