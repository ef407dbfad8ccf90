"""Generated data in blocks of correlated examples, as in recordings: the case in which training has to shuffle them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def make_blocks(
    n_samples: int = 8000,
    block: int = 64,
    correlation: float = 0.5,
    n_features: int = 10,
    n_classes: int = 4,
    noise: float = 1.5,
    random_state: int = 0,
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """X (n, D) and labels y (n,): Gaussian clouds, one for each class, in blocks of `block` consecutive examples.

    Each example is with probability √ρ a copy of its block's prototype, else drawn by itself. Two of one block are then
    the same example with probability ρ and independent otherwise: Cov(f(i), f(j)) = ρ Var f for every function f of an
    example, such as its gradient. The mean of B consecutive ones has the variance (Var f / B)(1 + (B − 1) ρ̄), with ρ̄
    the mean of ρ over their pairs, 0 for pairs from different blocks. The validation and test parts contain copies of
    training examples: their costs do not estimate the cost of new data. Raises ValueError for arguments out of range.
    """
    counts = {"n_samples": n_samples, "block": block, "n_features": n_features}
    wrong: dict[str, float] = {name: count for name, count in counts.items() if type(count) is not int or count < 1}
    wrong |= {} if 0 <= correlation <= 1 else {"correlation": correlation}
    wrong |= {} if n_classes >= 2 else {"n_classes": n_classes}
    if wrong:
        allowed = "integers n_samples, n_features, block >= 1; 0 <= correlation <= 1; n_classes >= 2"
        raise ValueError(f"{allowed}; not {wrong}")
    rng = np.random.default_rng(random_state)
    places = np.arange(n_samples)
    prototypes = n_samples + places // block
    y = rng.integers(n_classes, size=int(prototypes.max()) + 1)
    X = rng.normal(size=(n_classes, n_features))[y] + noise * rng.normal(size=(len(y), n_features))
    rows = np.where(rng.random(n_samples) < np.sqrt(correlation), prototypes, places)
    return X[rows], y[rows]
