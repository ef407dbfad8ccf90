"""What `import harness` gives: names that are there, found by tab, and imported when they are used."""

import subprocess
import sys
from importlib import import_module
from inspect import signature
from pathlib import Path

import numpy as np
import pytest

import harness


def test_every_name_is_there_and_documented():
    for name in harness.__all__:
        assert (getattr(harness, name).__doc__ or "").strip(), name
    assert dir(harness) == sorted([*harness.__all__, "__version__"])
    with pytest.raises(AttributeError, match="module 'harness' has no attribute 'trian'"):
        harness.trian  # noqa: B018


@pytest.mark.parametrize("room", ["network", "data", "analysis", "runs", "api"])
def test_a_name_stays_what_it_is_whatever_is_imported(room):
    import_module(f"harness.{room}")
    assert callable(harness.train)


def test_the_signature_shows_every_keyword():
    shown = signature(harness.train).parameters
    assert next(iter(shown)) == "dataset"
    assert shown["batch_size"].default == 64
    assert shown["reduction"].default == "mean"


def test_the_kernel_loads_nothing_but_numpy():
    code = (
        "import sys, harness; harness.MLP; harness.SGD;"
        "print([m for m in ('pandas', 'sklearn', 'hydra', 'mlflow', 'matplotlib', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_training_loads_neither_mlflow_nor_matplotlib():
    code = (
        "import sys, harness; harness.train('iris', epochs=1, seeds=1);"
        "print([m for m in ('mlflow', 'matplotlib', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_type_checker_knows_the_keywords(tmp_path):
    """An editor underlines a wrong keyword or value."""
    pytest.importorskip("mypy")
    root = Path(harness.__file__).parents[1]
    assert (root / "harness" / "py.typed").exists()
    program = tmp_path / "program.py"
    program.write_text(
        "import harness\n"
        "harness.train(epoch=3)\n"
        "harness.train(reduction='average')\n"
        "harness.trian('iris')\n"
        "harness.SDG\n"
        "harness.train('iris', 64)\n"
        "harness.MLP(hidden=[32])\n"
        "from typing import Any\n"
        "names = [harness.load, harness.sweep, harness.SGD, harness.ConfigError, harness.Sweep, harness.__version__]\n"
        "result: harness.Result = harness.train('iris', batch_size='full', hidden=[8])\n"
        "settings: dict[str, Any] = {'dataset.load.n_samples': 500, 'batch_size': 4}\n"
        "harness.train('blobs', **settings)\n"
        "harness.sweep({'learning_rate': [0.1]}, 'blobs', **settings)\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml"), str(program)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    said = [line for line in done.stdout.splitlines() if "error" in line]
    assert 'program.py:2: error: Unexpected keyword argument "epoch" for "train"' in said[0]
    assert 'program.py:3: error: Argument "reduction" to "train" has incompatible type' in said[1]
    assert 'program.py:4: error: Module has no attribute "trian"' in said[2]
    assert 'program.py:5: error: Module has no attribute "SDG"' in said[3]
    assert [line.split(":")[1] for line in said[4:-1]] == ["6", "7"]
    assert said[-1] == "Found 6 errors in 1 file (checked 1 source file)"


def test_the_kernel_says_what_to_pass():
    with pytest.raises(TypeError, match=r"MLP takes Parameters, got list: write MLP\(Parameters.initialized\(\[64, 32"):
        harness.MLP([64, 32, 10])
    for arguments in ({}, {"hidden": [32]}):
        with pytest.raises(TypeError, match=r"write MLP\(Parameters.initialized\(\[64, 32, 10\]"):
            harness.MLP(**arguments)
    network = harness.MLP(harness.Parameters.initialized((4, 3), "glorot_uniform", [np.random.default_rng(0)]))
    labels = np.array([0, 1, 2, 0, 1])
    for method in (network.costs, network.gradient):
        with pytest.raises(ValueError, match=r"of class labels y: np.eye\(3\)\[y\]"):
            method(np.ones((5, 4)), labels)
    assert network.costs(np.ones((5, 4)), np.eye(3)[labels]).shape == (1, 5)
