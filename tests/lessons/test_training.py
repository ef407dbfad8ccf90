"""The loop of the lessons against the same training written from the formulas, one network after the other."""

import ast
import base64
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from examples import exports, training
from examples.__main__ import main


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def by_hand(X, Y, sizes, batch_size, learning_rate, reduction, epochs, seed):
    """Final weights [(W, b), ...] of one network: tanh layers, a sigmoid at the end, delta = prediction - target."""
    rng = np.random.default_rng(seed)
    layers = [
        (rng.uniform(-1, 1, (n_in, n_out)) * np.sqrt(6 / (n_in + n_out)), np.zeros(n_out))
        for n_in, n_out in pairwise(sizes)
    ]
    for _ in range(epochs):
        order = rng.permutation(len(X))
        for start in range(0, len(X), batch_size):
            rows = order[start : start + batch_size]
            A = [X[rows]]
            for W, b in layers[:-1]:
                A.append(np.tanh(A[-1] @ W + b))
            delta = sigmoid(A[-1] @ layers[-1][0] + layers[-1][1]) - Y[rows]
            steps = []
            for layer in reversed(range(len(layers))):
                steps.insert(0, (A[layer].T @ delta, delta.sum(axis=0)))
                if layer:
                    delta = (delta @ layers[layer][0].T) * (1 - A[layer] ** 2)
            factor = learning_rate / (len(rows) if reduction == "mean" else 1)
            layers = [(W - factor * dW, b - factor * db) for (W, b), (dW, db) in zip(layers, steps, strict=True)]
    return np.concatenate([part.ravel() for layer in layers for part in layer])


@pytest.mark.parametrize("sizes", [[2, 1], [2, 5, 1]])
@pytest.mark.parametrize("batch_size", [1, 6, 20])  # 6 leaves a short last batch
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_stack_ends_where_each_network_ends_by_hand(sizes, batch_size, reduction):
    X, Y = training.moons(20, np.random.default_rng(0))
    rates = [0.05, 0.2, 0.05]
    course = training.train(
        X, Y, sizes, batch_size=batch_size, learning_rate=rates, reduction=reduction, epochs=3, seeds=[4, 5, 6]
    )
    for r, (rate, seed) in enumerate(zip(rates, [4, 5, 6], strict=True)):
        expected = by_hand(X, Y, sizes, batch_size, rate, reduction, 3, seed)
        np.testing.assert_allclose(course.flat[-1, r], expected, rtol=1e-10, atol=1e-12)
    assert course.updates[-1] == 3 * -(-20 // batch_size)
    assert course.costs.shape == (len(course.updates), 3)


def test_the_costs_are_those_of_the_weights():
    X, Y = training.rings(30, np.random.default_rng(1))
    course = training.train(X, Y, [2, 1], batch_size=5, learning_rate=0.1, reduction="mean", epochs=2, seeds=[0, 1])
    W, b = course.flat[..., :2], course.flat[..., 2]
    predicted = sigmoid(np.einsum("nd,trd->trn", X, W) + b[..., None])
    costs = -(Y[:, 0] * np.log(predicted) + (1 - Y[:, 0]) * np.log(1 - predicted)).mean(axis=-1)
    np.testing.assert_allclose(course.costs, costs, rtol=1e-12)


@pytest.mark.parametrize("last", [1, 2, 60, 1280])
def test_checkpoints_begin_with_the_first_update_and_end_with_the_last(last):
    kept = training.checkpoints(last)
    assert (kept[0], kept[-1]) == (1, last)
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= 60


@pytest.mark.parametrize("name", list(training.DATA))
def test_data_has_both_classes_and_differs_between_seeds(name):
    X, Y = training.DATA[name](40, np.random.default_rng(0))
    assert (X.shape, Y.shape) == ((40, 2), (40, 1))
    assert Y.sum() == 20
    assert not np.allclose(X, training.DATA[name](40, np.random.default_rng(1))[0])


def test_the_archive_for_the_browser_needs_numpy_and_nothing_else(tmp_path):
    """What Pyodide gets is imported alone: no other room of harness, no other package."""
    (tmp_path / "kernel.zip").write_bytes(exports.kernel())
    code = (
        "import sys; sys.path[:0] = ['kernel.zip']; import numpy, numpy.random; before = set(sys.modules);"
        "import training; training.bands('line', 64, 0.1, 'mean'); print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = ast.literal_eval(done.stdout)
    outside = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert outside <= {"harness", "training", "numpy"}
    assert {name.split(".")[1] for name in loaded if name.startswith("harness.")} == {"network"}


def test_the_page_for_the_browser_holds_the_archive_and_the_grid_of_the_lesson(tmp_path):
    text = exports.browser(tmp_path, offline=False).read_text(encoding="utf8")
    (packed,) = re.findall(r'atob\("([^"]+)"\)', text)
    assert base64.b64decode(packed)[:2] == b"PK"
    assert "{{" not in text
    assert f"const SIZES = {list(training.SIZES)}" in text
    assert exports.PYODIDE_CDN in text


def test_there_are_five_lessons():
    assert [path.stem[:8] for path in exports.LESSONS] == [f"lesson_{n}" for n in range(1, 6)]
    assert all(Path(path).read_text(encoding="utf8").startswith("import marimo") for path in exports.LESSONS)


def test_the_commands_of_the_page_exist_and_the_one_for_the_browser_writes_its_file(tmp_path, monkeypatch, capsys):
    page = (exports.HERE.parent / "docs" / "lessons.md").read_text(encoding="utf8")
    monkeypatch.setattr(sys, "argv", ["examples", "browser", str(tmp_path / "pages")])
    main()
    assert capsys.readouterr().out == f"{tmp_path / 'pages' / 'lesson_4_in_the_browser.html'}\n"
    monkeypatch.setattr(sys, "argv", ["examples", "--help"])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().out
    verbs = set(re.findall(r"python -m examples (\w+)", page))
    assert verbs == {"html", "ipynb", "browser", "handout"} == set(re.findall(r"^ {4}(\w+) ", said, re.MULTILINE))
    assert set(re.findall(r"examples/(lesson\w+)\.py", page)) <= {path.stem for path in exports.LESSONS}
