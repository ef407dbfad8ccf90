"""Forty cells of about a second, trained in one process and by joblib's workers, in turns.

    python -m benchmarks.workers [--turns 3] [--fixed]

Writes docs/benchmarks/workers.md with the ratio of the two; the goal on two cores is at most 0.6. `--fixed` trains two
cells that take no time, so that what is left is the fixed part: start, imports, workers, timing pass, answer and
figures; it writes nothing.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from benchmarks import DOCS, child_environment, machine, markdown_table, number, say, spread

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


def report(found: dict[str, list[float]]) -> str:
    one = found["one process"]
    rows = []
    for name, taken in found.items():
        ratio = spread([own / base for own, base in zip(taken, one, strict=True)])
        shown = "1" if taken is one else f"{number(ratio.median)} [{number(ratio.q25)}, {number(ratio.q75)}]"
        rows.append((name, spread(taken).median, shown))
    parts = [
        "# Forty cells of a second by two workers",
        f"Measured by `python -m benchmarks.workers`. {machine()}",
        "digits at B = 1 with NumPy, 28 epochs, one seed, forty learning rates, SQLite; commands run in turns.",
        markdown_table(("trained by", "wall seconds", "ratio to one process [quartiles]"), rows),
        f"The goal is at most {GOAL} on two cores. Start, imports, timing pass, answer and figures are in it.",
    ]
    return "\n\n".join(parts)


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
    text = report(found)
    print(text)
    if not asked.fixed:
        (DOCS / "workers.md").write_text(text + "\n", encoding="utf8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
