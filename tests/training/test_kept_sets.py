"""Splits that are kept from one cell to the next are those that the next would have drawn."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.config.schema import DatasetConfig
from harness.runs.kept import load_dataset
from harness.training import draw_sets, keeping_last, sets
from tests.configs import configured

IRIS = DatasetConfig("iris", None, {"_target_": "sklearn.datasets.load_iris"}, 0.2, 0.2, resample=True)
CONFIG = replace(configured(seeds=2), dataset=IRIS)
KEYS = {
    "seed": [0, 1], "seeds": [2, 3], "dtype": ["float64", "float32"], "order": ["reshuffle", "sorted", "source"],
    "batch_size": [8, 16], "first_replica": [0, 1],
}  # fmt: skip
OF_DATA = {"validation_fraction": [0.1, 0.2], "test_fraction": [0.1, 0.2], "resample": [True, False]}


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_they_are_drawn_anew_where_they_differ(data):
    draw, config = keeping_last(1 << 20), CONFIG
    for _ in range(4):
        changes, of_data = ({k: data.draw(st.sampled_from(v)) for k, v in keys.items()} for keys in (KEYS, OF_DATA))
        config = replace(config, **changes, dataset=replace(config.dataset, **of_data))
        dataset = load_dataset(config.dataset)
        (splits, own), (fresh, wanted) = draw(config, dataset), draw_sets(config, dataset)
        for ours, theirs in zip(splits, fresh, strict=True):
            assert same(ours, theirs)
        for part in sets.PARTS:
            for ours, theirs in zip(own[part], wanted[part], strict=True):
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(ours, theirs)


def same(ours, theirs):
    """Whether two splits have the same rows in the same order, and scale by the same numbers."""
    fields = (getattr(ours.transformer, name, None) for name in ("mean_", "scale_"))
    known = (getattr(theirs.transformer, name, None) for name in ("mean_", "scale_"))
    pairs = [(ours.rows, theirs.rows), (ours.sort_key, theirs.sort_key), *zip(fields, known, strict=True)]
    return all(np.array_equal(a, b) for a, b in pairs)


def test_only_the_last_ones_are_kept_and_no_large_ones():
    dataset = load_dataset(CONFIG.dataset)
    draw, none = keeping_last(1 << 20), keeping_last(100)
    first = draw(CONFIG, dataset)
    assert draw(replace(CONFIG, batch_size=64), dataset) is first
    assert draw(replace(CONFIG, seed=1), dataset) is not first
    assert draw(CONFIG, dataset) is not first
    assert none(CONFIG, dataset) is not none(CONFIG, dataset)
