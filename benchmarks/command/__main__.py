"""The command."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import benchmarks.command
from benchmarks import DOCS, say
from benchmarks.command.checks import broken
from benchmarks.command.figure import draw
from benchmarks.command.report import report, write_csv
from benchmarks.command.runs import FULL, IMPORTED, SHORT, import_seconds, measure


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.command",
        description=benchmarks.command.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--short", action="store_true", help="fewer, smaller sweeps; fails if a check does not hold")
    parser.add_argument("--to", type=Path, help="folder for command.csv, .md and .png; short: written only if given")
    arguments = parser.parse_args(words)
    plan = SHORT if arguments.short else FULL
    found = measure(plan)
    to = arguments.to or (None if arguments.short else DOCS)
    if to:
        to.mkdir(parents=True, exist_ok=True)
        say("imports")
        imports = import_seconds(IMPORTED[:1] if arguments.short else IMPORTED)
        write_csv(to / "command.csv", found)
        draw(found, to / "command.png")
        (to / "command.md").write_text(report(found, imports, plan) + "\n", encoding="utf8")
        say(f"Written: command.csv, command.md and command.png in {to}")
    wrong = list(broken(found)) if arguments.short else []
    print(*wrong, sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
