"""The command."""

import argparse
import re
from collections.abc import Sequence

import benchmarks.calibration
from benchmarks import ROOT, say
from benchmarks.calibration.tables import TABLES, workers

PAGE = ROOT / "docs" / "statistics.md"
FULL = {
    "nulls": 200,
    "power": 400,
    "laws": 120,
    "population": 1000,
    "fits": 2000,
    "exponents": 2000,
}  # sweeps of a truth, on each clock
SHORT = {"nulls": 20, "power": 20, "laws": 10, "population": 20, "fits": 20, "exponents": 20}


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.calibration",
        description=benchmarks.calibration.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], help="which; all if none is named")
    parser.add_argument("--short", action="store_true", help="fewer sweeps; writes nothing")
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    arguments = parser.parse_args(words)
    wrong = []
    with workers(arguments.workers) as draws:
        for name in arguments.tables or TABLES:
            found = TABLES[name]((SHORT if arguments.short else FULL)[name], draws)
            print(found.text)
            wrong += found.wrong
            if not arguments.short:
                PAGE.write_text(with_table(PAGE.read_text(encoding="utf8"), name, found.text), encoding="utf8")
                say(f"Written: {name} in {PAGE}")
    print(*wrong, sep="\n")
    return int(bool(wrong))


def with_table(page: str, name: str, text: str) -> str:
    """The page with this table between the two marks of that name."""
    marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
    return re.sub(f"(?<={marks[0]}\n).*?(?={marks[1]})", lambda _: text + "\n", page, flags=re.DOTALL)


if __name__ == "__main__":
    raise SystemExit(main())
