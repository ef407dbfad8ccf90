"""The command."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import benchmarks.scaling
from benchmarks import DOCS, say
from benchmarks.scaling.checks import broken
from benchmarks.scaling.figure import draw
from benchmarks.scaling.measurement import measure, write_csv
from benchmarks.scaling.points import FULL, SHORT
from benchmarks.scaling.report import report


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.scaling",
        description=benchmarks.scaling.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--short", action="store_true", help="fewer and smaller points; fails if a check does not hold")
    parser.add_argument("--to", type=Path, help="folder for scaling.csv, .md and .png; short: written only if given")
    arguments = parser.parse_args(words)
    found = measure(SHORT if arguments.short else FULL)
    to = arguments.to or (None if arguments.short else DOCS)
    if to:
        to.mkdir(parents=True, exist_ok=True)
        write_csv(to / "scaling.csv", found)
        draw(found, to / "scaling.png")
        (to / "scaling.md").write_text(report(found) + "\n", encoding="utf8")
        say(f"Written: scaling.csv, scaling.md and scaling.png in {to}")
    wrong = list(broken(found)) if arguments.short else []
    print(*wrong, sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
