"""Whole commands of an earlier version and of this one, in turns: before → after.

    python -m benchmarks.before [--revision 24d904a] [--turns 3]

Takes the earlier version out of Git. Writes docs/benchmarks/before.md.
"""

import argparse
import io
import math
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from benchmarks import DOCS, ROOT, child_environment, machine, markdown_table, number, say, spread
from benchmarks.command.runs import grid, last_sweep

FIRST_MEASURED = "24d904a"  # the commands, on 22 November 2026
FEW, MANY = (5, 2, 2), (5, 6, 2)  # 20 and 60 cells that hardly train: batch sizes × rates × reductions
Turns = list[dict[str, float]]  # seconds by the name of the command


def git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True).stdout


def take_out(revision: str, folder: Path) -> None:
    """Write the files of a revision into a folder."""
    packed = git("archive", revision)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")


def run(sources: Path, folder: Path, words: Sequence[str], fails: bool = False) -> float:
    """Wall seconds of a command, by the harness in `sources`, with the store in `folder`."""
    begun = perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness", *words], cwd=folder, capture_output=True, text=True,
        env=child_environment() | {"PYTHONPATH": str(sources)},
    )  # fmt: skip
    if (done.returncode != 0) != fails:
        raise RuntimeError(f"{sources}: {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return perf_counter() - begun


def turn(sources: Path, folder: Path) -> dict[str, float]:
    """Wall seconds of each command, once."""
    n_few, n_many = math.prod(FEW), math.prod(MANY)
    few, many = f"{n_few} cells that hardly train", f"{n_many} of them"
    taken = {
        "`--help`": run(sources, folder, ["--help"]),
        "a refused value": run(sources, folder, ["batch_size=0"], fails=True),
        "the headline sweep": run(sources, folder, ["-m", "batch_size=1,64,512", "rerun=all"]),
        few: run(sources, folder, [*grid(*FEW), "rerun=all"]),
        many: run(sources, folder, [*grid(*MANY), "rerun=all"]),
    }
    taken["a cell more"] = (taken[many] - taken[few]) / (n_many - n_few)
    return taken | {f"report of the {n_many}": run(sources, folder, ["report", last_sweep(folder)])}


def measure(earlier: Path, place: Path, turns: int) -> tuple[Turns, Turns]:
    """Of the earlier version and of this one. The first turn makes stores and caches: left out."""
    before, after = list[dict[str, float]](), list[dict[str, float]]()
    stores = {"before": (earlier, place / "before", before), "after": (ROOT, place / "after", after)}
    for i in range(turns + 1):
        for name, (sources, folder, found) in stores.items():
            say(f"{name}, {f'turn {i} of {turns}' if i else 'to begin with'}")
            folder.mkdir(exist_ok=True)
            found.append(turn(sources, folder))
    return before[1:], after[1:]


def report(revision: str, day: str, before: Turns, after: Turns) -> str:
    """day: of the revision."""
    rows = []
    for name in before[0]:
        earlier, now = ([one[name] for one in own] for own in (before, after))
        ratio = spread([b / a for a, b in zip(earlier, now, strict=True)])
        shown = f"{number(ratio.median)} [{number(ratio.q25)}, {number(ratio.q75)}]"
        rows.append((name, spread(earlier).median, spread(now).median, shown))
    parts = [
        "# Before and after",
        f"Measured by `python -m benchmarks.before --revision {revision}`. {machine()}",
        f"Wall seconds of commands of that revision, which is of {day}, and of this version, with the same libraries, "
        f"in turns; medians of {len(before)}. Cells that hardly train have three updates of iris and two seeds. A cell "
        "more: the difference of the two sweeps, by the cell.",
        markdown_table(("command", "before", "after", "after over before [quartiles]"), rows),
    ]
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.before", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--revision", default=FIRST_MEASURED, help=f"the earlier version (default {FIRST_MEASURED})")
    parser.add_argument("--turns", type=int, default=3, help="how often each command is timed (default 3)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        earlier = Path(place) / "earlier"
        take_out(asked.revision, earlier)
        day = git("log", "-1", "--format=%cs", asked.revision).decode().strip()
        text = report(asked.revision, day, *measure(earlier, Path(place), asked.turns))
    print(text)
    (DOCS / "before.md").write_text(text + "\n", encoding="utf8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
