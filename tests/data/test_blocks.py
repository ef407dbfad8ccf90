"""Data in correlated blocks: the correlation is the one asked for, of whatever is computed from an example."""

import numpy as np
import pytest

from harness.data.blocks import make_blocks


def test_examples_of_a_block_are_the_same_with_the_given_probability():
    X, y = make_blocks(n_samples=40_000, block=4, correlation=0.3, random_state=1)
    blocks = X.reshape(-1, 4, X.shape[1])
    same = [(blocks[:, i] == blocks[:, j]).all(axis=1).mean() for i in range(4) for j in range(i)]
    np.testing.assert_allclose(same, 0.3, atol=0.03)
    assert not (blocks[1:, 0] == blocks[:-1, 3]).all(axis=1).any()
    assert X.shape == (40_000, 10)
    assert set(y) == {0, 1, 2, 3}


def test_the_variance_of_a_batch_mean_is_that_of_equally_correlated_examples():
    """B = 4 of a block of 8, ρ = ½, of a function that is not linear: (1 + 3 ρ) times that of independent ones."""
    X, _ = make_blocks(n_samples=80_000, block=8, correlation=0.5)
    values = np.tanh(X[:, 0] * X[:, 1])
    means = values.reshape(-1, 8)[:, :4].mean(axis=1)
    assert means.var() / (values.var() / 4) == pytest.approx(1 + 3 * 0.5, rel=0.05)


def test_without_correlation_nothing_is_copied():
    X, _ = make_blocks(n_samples=300, block=10, correlation=0.0)
    assert len(np.unique(X, axis=0)) == 300


@pytest.mark.parametrize("arguments", [{"block": 0}, {"correlation": 1.5}, {"n_classes": 1}])
def test_arguments_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ValueError, match="block >= 1"):
        make_blocks(**arguments)
