"""What the cells of a sweep share while one process trains them: their data and, unless these are large, the splits."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache

from harness.config import DatasetConfig
from harness.data import Dataset, load, load_stored
from harness.training import keeping_last

Loader = Callable[[DatasetConfig], Dataset]


def keeping(n_datasets: int, load: Loader = load) -> Loader:
    """A loader that keeps the datasets of the last so many configurations."""
    kept = lru_cache(n_datasets)(lambda text: load(DatasetConfig(**json.loads(text))))
    return lambda config: kept(json.dumps(asdict(config), sort_keys=True))


load_dataset = keeping(4)  # the cells of a sweep share one copy; raises ConfigError
draw_kept = keeping_last(1 << 26)  # so do their splits, unless they are large: then training takes longer by far
load_stored_dataset = keeping(4, load_stored)  # the same for configurations that come from a store
