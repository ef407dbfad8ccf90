"""The plain values of a preparation make the inputs that scikit-learn's transformers make, to the bit."""

import json

import numpy as np
import pandas as pd
import pytest

from harness.data import TableOptions, in_memory, recipe
from harness.store import network_model
from tests.splits import split

SEED = np.random.SeedSequence(3)
N = 300


def table(seed: int = 0) -> pd.DataFrame:
    """A column of each kind, some with gaps."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "number": rng.normal(size=N),
            "whole": rng.integers(0, 90, N),
            "huge": rng.integers(0, 90, N) + 2**60,
            "gaps": np.where(rng.random(N) < 0.2, np.nan, rng.normal(size=N)),
            "truth": rng.random(N) < 0.3,
            "truth with gaps": rng.choice(np.array([True, False, None], object), N),
            "two": rng.choice(["a", "b"], N),
            "city": rng.choice(["Ulm", "Köln", "Bern"], N),
            "city with gaps": rng.choice(np.array(["Ulm", "Bern", "Graz", None], object), N),
            "many": rng.choice([f"level {i}" for i in range(40)], N, p=np.arange(1, 41) / 820),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**6, N), "min"),
            "time": pd.to_timedelta(rng.integers(0, 10**4, N), "s"),
            "same": 1.0,
            "nothing": np.nan,
        }
    )


@pytest.mark.parametrize("most", [2, 3, 20])
@pytest.mark.parametrize("plain", [True, False])
def test_the_inputs_are_those_of_the_transformer(most, plain):
    """Also through JSON, which is how they travel."""
    frame = table()
    frame = frame[["number", "whole", "two", "truth"]] if plain else frame
    y = np.random.default_rng(1).integers(0, 3, N)
    dataset = in_memory((frame, y), options=TableOptions(max_categories=most))
    parts = split(dataset, 0.2, 0.2, SEED, np.float64)
    made = json.loads(json.dumps(recipe(dataset, parts), allow_nan=False))
    found = network_model.inputs(made, frame.iloc[parts.rows])
    assert np.array_equal(found, parts.train.X)
    assert found.shape[1] > 10 or plain


def test_an_array_is_read_by_the_places_of_its_columns():
    X = np.random.default_rng(0).normal(size=(N, 4))
    X[:, 1], X[:, 2] = np.nan, 5.0
    dataset = in_memory((X, X[:, 0]))
    parts = split(dataset, 0.2, 0.2, SEED, np.float32)
    made = recipe(dataset, parts)
    assert not made["named"]
    assert np.array_equal(network_model.inputs(made, X[parts.rows]).astype(np.float32), parts.train.X)
    assert made["target"] == {"mean": [parts.target_scaler.mean_[0]], "scale": [parts.target_scaler.scale_[0]]}


def test_what_the_training_data_did_not_have_is_refused():
    frame = table()[["city", "number", "gaps"]]
    dataset = in_memory((frame, np.arange(N) % 2))
    made = recipe(dataset, split(dataset, 0.2, 0.2, SEED, np.float64))
    row = pd.DataFrame({"city": ["Rom"], "number": [1.0], "gaps": [1.0]})
    with pytest.raises(ValueError, match="column 'city': expected one of Bern, Köln, Ulm, got 'Rom'"):
        network_model.inputs(made, row)
    row = row.assign(city="Ulm", number=np.nan)
    with pytest.raises(ValueError, match="column 'number': expected a value in each row"):
        network_model.inputs(made, row)
    known = row.assign(number=np.inf, gaps=1.0)
    with pytest.raises(ValueError, match="column 'number'"):
        network_model.inputs(made, known)
