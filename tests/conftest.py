"""What several test files share: small random problems, networks, and scikit-learn's network led by the hand.

The fixtures are functions that draw from a seed, so a test says which problem it wants and gets the same one each time.
"""

import os
import random
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import DTypeLike, NDArray

from harness.network.mlp import MLP
from harness.network.parameters import Parameters
from harness.store.outage import OUTAGE
from harness.training.clock import pinned_blas

Array = NDArray[np.floating]

# A machine that does something else meanwhile makes examples slow, not wrong.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

N_INPUTS = 4
N_OUTPUTS = {"sigmoid_cross_entropy": 1, "softmax_cross_entropy": 3, "half_squared_error": 2}


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Of a test that is marked `sample(n)`, all cases but n are slow: the same n in every run and every worker."""
    cases = defaultdict[str, list[pytest.Item]](list)
    for item in items:  # before another plugin mixes or leaves out any
        if item.get_closest_marker("sample") and not item.get_closest_marker("slow"):
            cases[item.nodeid.partition("[")[0]].append(item)
    for name, own in cases.items():
        n = own[0].get_closest_marker("sample").args[0]
        for item in random.Random(name).sample(own, max(len(own) - n, 0)):
            item.add_marker(pytest.mark.slow)
    yield


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread() -> Iterator[None]:
    """As in training, and on arrays this small it is also faster."""
    with pinned_blas(1):
        yield


@pytest.fixture(scope="session", autouse=True)
def short_timing_pass() -> Iterator[None]:
    """What most tests train takes less time than the pass would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.training.timing.BLOCK_SECONDS", 1e-3)
        yield


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """What a test leaves there, as a store that is opened in its process does, is no business of the next one."""
    before = dict(os.environ)
    OUTAGE.ends()
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def _draw_examples(
    loss: str, n_examples: int, replicas: Sequence[int] | None = None, dtype: DTypeLike = np.float64, seed: int = 0
) -> tuple[Array, Array]:
    """X (N, 4) and Y (N, K) that suit `loss`; with `replicas` given, (R, N, ...), a set for each of them."""
    if replicas is not None:
        pairs = [_draw_examples(loss, n_examples, dtype=dtype, seed=1 + r) for r in replicas]
        return np.stack([X for X, _ in pairs]), np.stack([Y for _, Y in pairs])
    rng = np.random.default_rng([seed, n_examples])
    X = rng.normal(size=(n_examples, N_INPUTS))
    score = X @ rng.normal(size=(N_INPUTS, N_OUTPUTS[loss])) + 0.5 * rng.normal(size=(n_examples, N_OUTPUTS[loss]))
    Y = {
        "sigmoid_cross_entropy": lambda: score > 0,
        "softmax_cross_entropy": lambda: score == score.max(axis=1, keepdims=True),
        "half_squared_error": lambda: score,
    }[loss]()
    return X.astype(dtype), Y.astype(dtype)


def _draw_network(
    loss: str,
    hidden: Sequence[int] = (5,),
    activation: str = "tanh",
    replicas: Sequence[int] = (0,),
    dtype: DTypeLike = np.float64,
) -> MLP:
    """A stack of the networks `replicas`, each drawn from its own number; biases too, so that none is zero."""
    rngs = [np.random.default_rng([17, r]) for r in replicas]
    sizes = (N_INPUTS, *hidden, N_OUTPUTS[loss])
    params = Parameters.initialized(sizes, "glorot_normal", rngs, dtype)
    for b in params.b:
        for r, rng in enumerate(rngs):
            b[r] = rng.normal(size=b[r].shape) / 2
    return MLP(params, activation, loss)


def _fit_scikit_learn(
    network: MLP, X: Array, y: Array, batch_size: int, permutations: Sequence[NDArray[np.intp]], **settings: Any
) -> Any:
    """scikit-learn's MLP, fitted from the weights of `network`, one epoch for each of `permutations`.

    It has no argument for either, so its initialiser is overridden and its `shuffle` replaced while it fits.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor, _multilayer_perceptron

    base = MLPRegressor if network.loss_name == "half_squared_error" else MLPClassifier
    weights = iter([(W[0].copy(), b[0, 0].copy()) for W, b in zip(network.params.W, network.params.b, strict=True)])
    orders = iter(permutations)

    class Led(base):  # type: ignore[misc, valid-type]
        def _init_coef(self, fan_in: int, fan_out: int, dtype: DTypeLike) -> tuple[Array, Array]:
            return next(weights)

    led = Led(
        hidden_layer_sizes=network.params.sizes[1:-1],
        activation={"sigmoid": "logistic"}.get(network.activation_name, network.activation_name),
        batch_size=batch_size,
        max_iter=len(permutations),
        n_iter_no_change=len(permutations) + 1,  # never stop early
        **settings,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_multilayer_perceptron, "shuffle", lambda indices, random_state: next(orders))
        with pytest.warns(ConvergenceWarning):  # the number of epochs is ours, so it never "converges"
            return led.fit(X, y)


@pytest.fixture(scope="session")
def draw_examples() -> Any:
    return _draw_examples


@pytest.fixture(scope="session")
def draw_network() -> Any:
    return _draw_network


@pytest.fixture(scope="session")
def fit_scikit_learn() -> Any:
    return _fit_scikit_learn


class Project:
    """A project folder with a store of its own: runs commands in this process, and reads what they left.

    A process for each command would be as a user has it, and spend five seconds on imports; test_command has some.
    """

    empty: Path | None = None  # a store without runs, to be copied, as making one takes seconds

    def __init__(self, path: Path, experiment: str, capsys: pytest.CaptureFixture[str]) -> None:
        from mlflow.tracking import MlflowClient

        self.path, self.experiment, self.capsys = path, experiment, capsys
        self.uri = f"sqlite:///{path / 'mlflow.db'}"
        if self.empty and not (path / "mlflow.db").exists():
            shutil.copy(self.empty, path / "mlflow.db")
        self.client = MlflowClient(self.uri)

    def run(self, *words: str) -> tuple[int, str]:
        """(exit code, what it said) of `python -m harness WORDS`."""
        from harness.app import main

        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.path)
            patch.setenv("MLFLOW_TRACKING_URI", self.uri)
            patch.setenv("MLFLOW_EXPERIMENT_NAME", self.experiment)
            patch.setattr(sys, "argv", ["harness", *words])
            self.capsys.readouterr()  # what was said before is not the command's
            code = main()
        said = self.capsys.readouterr()
        return code, said.out + said.err

    def runs(self, kind: str) -> list[Any]:
        """'cell' or 'sweep', in the order in which they were started."""
        own = self.client.get_experiment_by_name(self.experiment).experiment_id
        found = self.client.search_runs([own], f"tags.kind = '{kind}'", order_by=["attributes.start_time ASC"])
        return list(found)

    def artifact(self, run: Any, path: str) -> Path:
        return Path(self.client.download_artifacts(run.info.run_id, path))

    def files(self, run: Any, path: str = "") -> set[str]:
        listed = self.client.list_artifacts(run.info.run_id, path)
        return {f for item in listed for f in (self.files(run, item.path) if item.is_dir else {item.path})}

    def table(self, run: Any, name: str) -> Any:
        import pandas as pd

        return pd.read_csv(self.artifact(run, name), keep_default_na=False, na_values=["", "nan"])


@pytest.fixture(scope="session")
def _project_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mlflow.tracking import MlflowClient

    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    Project.empty = shutil.copy(folder / "mlflow.db", tmp_path_factory.mktemp("empty"))
    return folder


@pytest.fixture
def project(
    _project_folder: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """One store for all tests, as making one takes seconds; an experiment of its own for each.

    Without figures unless the test is marked `drawn`: they take most of the time of a small sweep.
    """
    if "drawn" not in request.keywords:
        monkeypatch.setattr("harness.runs.recording.draw_cell", lambda folder, *about: None)
        monkeypatch.setattr("harness.runs.parent.figures", lambda *about: {})
    return Project(_project_folder, request.node.name, capsys)
