"""What `diagnostics=cheap` (or `full`) costs: wall seconds of a cell's training with it over those without.

    python -m benchmarks.diagnostics_cost [blocks [level]]      (from the root of the project)

The default digits cell (10 replicas) at several batch sizes. A block trains the cell once with and once without, in an
order that alternates from block to block; ratios are taken within a block, the first is discarded. Beside the median of
the ratios and its quartiles stands the fraction of the time that the observer itself took, which other work on the
machine disturbs less. Wall seconds include evaluation, which every level does alike.
"""

import argparse
from time import perf_counter

import numpy as np

from harness.app.composition import compose_cells
from harness.config import Config
from harness.runs import load_dataset
from harness.store import environment
from harness.training import OBSERVERS, Cell, Diagnostics, Observer

BATCH_SIZES = (64, 128, 512, "full")


def configured(batch_size: int | str, diagnostics: str) -> Config:
    words = ["dataset=digits", f"batch_size={batch_size}", f"diagnostics={diagnostics}"]
    ((config, _),) = compose_cells(words).cells
    return config


def timed(config: Config, spent: list[float]) -> tuple[float, float]:
    """(wall seconds of training the cell, seconds of them in its observer)."""
    cell = Cell(config, load_dataset(config.dataset))
    spent.clear()
    start = perf_counter()
    for _ in cell.train():
        pass
    return perf_counter() - start, sum(spent)


def watch_observers(spent: list[float]) -> None:
    """Make every observer append the seconds of each of its calls."""

    def timing(method):  # type: ignore[no-untyped-def]
        def timed_method(self, *args) -> Diagnostics | None:  # type: ignore[no-untyped-def]
            start = perf_counter()
            try:
                return method(self, *args)
            finally:
                spent.append(perf_counter() - start)

        return timed_method

    for name in ("before_update", "after_update"):
        setattr(Observer, name, timing(getattr(Observer, name)))


def measure(batch_size: int | str, level: str, n_blocks: int, spent: list[float]) -> dict[str, np.ndarray]:
    """For `off` and the level, (blocks, 2): wall seconds and the observer's seconds."""
    configs = {name: configured(batch_size, name) for name in ("off", level)}
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in configs}
    for block in range(n_blocks + 1):
        for name in sorted(configs, reverse=block % 2 == 0):
            rows[name].append(timed(configs[name], spent))
    return {name: np.array(values[1:]) for name, values in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.diagnostics_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("blocks", nargs="?", type=int, default=15)
    parser.add_argument("level", nargs="?", choices=list(OBSERVERS), default="cheap")
    arguments = parser.parse_args()
    n_blocks, level = arguments.blocks, arguments.level
    about = environment()
    packages = {name: about["packages"][name] for name in ("numpy", "scikit-learn")}
    print(f"{about['cpu']}, {about['platform']}, python {about['python']}, {packages}, n = {n_blocks} blocks")
    spent: list[float] = []
    watch_observers(spent)
    print(f"{'B':>5} {'off, s':>8} {'level':>6} {'wall / off: median [quartiles]':>32} {'observer / off: median':>24}")
    for batch_size in BATCH_SIZES:
        seconds = measure(batch_size, level, n_blocks, spent)
        off = seconds["off"][:, 0]
        q25, median, q75 = np.quantile(seconds[level][:, 0] / off, [0.25, 0.5, 0.75])
        share = np.median(seconds[level][:, 1]) / np.median(off)
        ratio = f"{median:.3f} [{q25:.3f}, {q75:.3f}]"
        print(f"{batch_size:>5} {np.median(off):8.3f} {level:>6} {ratio:>32} {share:24.2%}")


if __name__ == "__main__":
    main()
