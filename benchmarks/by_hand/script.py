"""A sweep as one writes it by hand: `python script.py -m batch_size=1,64,512`; loop=sklearn without PyTorch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import matplotlib
import mlflow
import numpy as np
from hydra.core.config_store import ConfigStore
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

matplotlib.use("agg")
HIDDEN, CLASSES = 32, 10


@dataclass
class Cell:
    batch_size: int = 64
    learning_rate: float = 0.1
    epochs: int = 30
    seed: int = 0
    loop: str = "torch"


ConfigStore.instance().store("cell", Cell)


class Torch:
    """A network in PyTorch's own layers, moved by its own SGD."""

    def __init__(self, cell: Cell, X: np.ndarray, y: np.ndarray) -> None:
        import torch

        torch.manual_seed(cell.seed)
        torch.set_num_threads(1)
        self.torch, self.X, self.y, self.batch_size = torch, torch.tensor(X), torch.tensor(y), cell.batch_size
        layers = [torch.nn.Linear(X.shape[1], HIDDEN), torch.nn.Sigmoid(), torch.nn.Linear(HIDDEN, CLASSES)]
        self.model = torch.nn.Sequential(*layers).double()
        self.loss = torch.nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=cell.learning_rate)

    def epoch(self) -> None:
        for batch in self.torch.randperm(len(self.X)).split(self.batch_size):
            self.optimizer.zero_grad()
            self.loss(self.model(self.X[batch]), self.y[batch]).backward()
            self.optimizer.step()

    def costs(self, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """Mean cost per example, and accuracy."""
        with self.torch.no_grad():
            scores, labels = self.model(self.torch.tensor(X)), self.torch.tensor(y)
            right = (scores.argmax(1) == labels).double().mean()
            return float(self.loss(scores, labels)), float(right)


class Sklearn:
    """The same with scikit-learn's network, whose partial_fit is one pass."""

    def __init__(self, cell: Cell, X: np.ndarray, y: np.ndarray) -> None:
        from sklearn.neural_network import MLPClassifier

        self.X, self.y = X, y
        self.model = MLPClassifier(
            HIDDEN, activation="logistic", solver="sgd", alpha=0.0, momentum=0.0, random_state=cell.seed,
            batch_size=min(cell.batch_size, len(X)), learning_rate_init=cell.learning_rate,
        )  # fmt: skip

    def epoch(self) -> None:
        self.model.partial_fit(self.X, self.y, classes=np.arange(CLASSES))

    def costs(self, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        p = self.model.predict_proba(X)
        return float(-np.log(p[np.arange(len(y)), y]).mean()), float((p.argmax(1) == y).mean())


LOOPS: dict[str, Any] = {"torch": Torch, "sklearn": Sklearn}


@hydra.main(version_base=None, config_name="cell")
def main(cell: Cell) -> None:
    X, y = load_digits(return_X_y=True)
    X, X_held_out, y, y_held_out = train_test_split(X / 16, y, test_size=0.2, random_state=cell.seed, stratify=y)
    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    mlflow.set_experiment("by hand")
    with mlflow.start_run(run_name=f"B={cell.batch_size}"):
        mlflow.log_params({name: cell[name] for name in ("batch_size", "learning_rate", "epochs", "seed")})  # type: ignore[index]
        network = LOOPS[cell.loop](cell, X, y)
        costs = []
        for epoch in range(1, cell.epochs + 1):
            network.epoch()
            (cost, right), (held_out, right_there) = network.costs(X, y), network.costs(X_held_out, y_held_out)
            found = {"train_cost": cost, "train_accuracy": right, "cost": held_out, "accuracy": right_there}
            mlflow.log_metrics(found, step=epoch)
            costs.append((cost, held_out))
        draw(costs)


def draw(costs: list[tuple[float, float]]) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    axes.plot(costs, label=["training", "held out"])
    axes.set(xlabel="epoch", ylabel="cost", yscale="log")
    axes.legend()
    mlflow.log_figure(figure, "cost.png")
    plt.close(figure)


if __name__ == "__main__":
    main()
