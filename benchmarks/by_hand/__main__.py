"""`python -m benchmarks.by_hand`: whole commands in turns, as a ratio."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import benchmarks.by_hand
from benchmarks import DOCS, child_environment, machine, markdown_table, number, say, spread

SIZES = "1,64,512"
SCRIPT = Path(__file__).with_name("script.py")
GOAL = 1 / 3
LEAST = 1.1  # of the short form, with scikit-learn: 0.76 was measured, 0.84 without AVX-512; ten times the trainings
OPTIONS = {"NumPy": [], "compiled": ["engine=compiled"]}


def commands(loop: str, sizes: str, epochs: int, compiled: bool) -> dict[str, list[str]]:
    """Name -> command."""
    words = ["-m", f"batch_size={sizes}", f"epochs={epochs}"]
    own = {f"harness, {name}": ["-m", "harness", *words, *more, "rerun=all"] for name, more in OPTIONS.items()}
    by_hand = {f"by hand, {loop}": [str(SCRIPT), *words, f"loop={loop}", "hydra.sweep.dir=hydra"]}
    return by_hand | {name: one for name, one in own.items() if compiled or "compiled" not in name}


def seconds(command: Sequence[str], folder: Path) -> float:
    begun = perf_counter()
    subprocess.run([sys.executable, *command], cwd=folder, env=child_environment(), check=True, capture_output=True)
    return perf_counter() - begun


def measure(chosen: dict[str, list[str]], turns: int) -> dict[str, list[float]]:
    """Wall seconds of each command in turns, all in one folder; the first turn makes stores and caches: left out."""
    found: dict[str, list[float]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(turns + 1):
            for name, command in chosen.items():
                say(f"{name}, {'to begin with' if turn == 0 else f'turn {turn} of {turns}'}")
                spent = seconds(command, Path(folder))
                found[name] += [spent] if turn else []
    return found


def report(found: dict[str, list[float]]) -> str:
    first = next(iter(found))
    rows = []
    for name, spent in found.items():
        ratio = spread([own / base for own, base in zip(spent, found[first], strict=True)])
        shown = "1" if name == first else f"{number(ratio.median)} [{number(ratio.q25)}, {number(ratio.q75)}]"
        rows.append((name, 1 if name == first else 10, spread(spent).median, shown))
    parts = [
        "# The whole command beside one written by hand",
        f"Measured by `python -m benchmarks.by_hand`. {machine()}",
        "`batch_size=1,64,512`, 30 epochs of digits, each an MLflow run in SQLite with cost and accuracy of every "
        "epoch. [The script](../../benchmarks/by_hand/script.py) trains each cell once and draws one figure of it; the "
        "harness trains each ten times, and writes tables, intervals and a report besides. Commands run in turns.",
        markdown_table(("command", "trainings of a cell", "wall seconds", f"ratio to {first} [quartiles]"), rows),
        f"The goal is at most {number(GOAL)} of the script's time.",
    ]
    return "\n\n".join(parts)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks.by_hand", description=benchmarks.by_hand.__doc__)
    parser.add_argument("--short", action="store_true", help="one turn; fails if the harness takes much longer")
    parser.add_argument("--turns", type=int, default=5, help="how often each command is timed (default 5)")
    arguments = parser.parse_args(words)
    loop, compiled = ("torch" if find_spec("torch") else "sklearn"), find_spec("numba") is not None
    if arguments.short:
        found = measure(commands(loop, SIZES, 30, compiled=False), turns=1)
        by_hand, own = found.values()
        ratio = own[0] / by_hand[0]
        print(f"the harness takes {number(ratio)} of the time of the script, at most {number(LEAST)} is expected")
        return int(ratio > LEAST)
    found = measure(commands(loop, SIZES, 30, compiled), arguments.turns)
    (DOCS / "by_hand.md").write_text(report(found) + "\n", encoding="utf8")
    say(f"Written: {DOCS / 'by_hand.md'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
