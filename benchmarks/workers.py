"""Forty cells of about a second, trained in one process and by joblib's workers, in turns.

    python -m benchmarks.workers [--turns 3] [--fixed]

Prints the ratio of the two; the goal on two cores is at most 0.6. `--fixed` trains two cells that take no time, so that
what is left is the fixed part: start, imports, workers, timing pass, answer and figures. Writes nothing.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from benchmarks import child_environment, number, say, spread

GOAL = 0.6
LAUNCHERS = {"one process": [], "joblib": ["hydra/launcher=joblib"]}
SECOND = ["dataset=digits", "batch_size=1", "epochs=28", "seeds=1"]  # about a second of NumPy for each learning rate
NOTHING = ["dataset=digits", "batch_size=512", "updates=2", "seeds=1"]


def words(fixed: bool) -> list[str]:
    n_cells = 2 if fixed else 40
    rates = ",".join(f"{0.005 * (k + 1):.3f}" for k in range(n_cells))
    return ["-m", *(NOTHING if fixed else SECOND), f"learning_rate={rates}", "rerun=all"]


def seconds(command: Sequence[str], folder: Path) -> float:
    begun = perf_counter()
    whole = [sys.executable, "-m", "harness", *command]
    subprocess.run(whole, cwd=folder, env=child_environment(), check=True, capture_output=True)
    return perf_counter() - begun


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.workers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=3, help="how often each is timed (default 3)")
    parser.add_argument("--fixed", action="store_true", help="two cells that take no time")
    asked = parser.parse_args(arguments)
    found: dict[str, list[float]] = {name: [] for name in LAUNCHERS}
    with tempfile.TemporaryDirectory() as folder:
        seconds(words(fixed=True), Path(folder))  # makes the store and caches
        for turn in range(asked.turns):
            for name, more in LAUNCHERS.items():
                say(f"{name}, turn {turn + 1} of {asked.turns}")
                found[name].append(seconds([*words(asked.fixed), *more], Path(folder)))
    for name, taken in found.items():
        print(f"{name}: {number(spread(taken).median)} s")
    one, workers = found.values()
    ratio = spread([own / base for own, base in zip(workers, one, strict=True)])
    goal = "" if asked.fixed else f", at most {GOAL} is the goal on two cores"
    print(f"joblib takes {number(ratio.median)} [{number(ratio.q25)}, {number(ratio.q75)}] of the time{goal}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
