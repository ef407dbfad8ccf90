"""All measurements, one after the other: an update here and in other libraries, with AVX-512 and without, where its
time goes, how time and memory scale, where the time of whole commands goes, what they took before it was cut, what a
script takes instead, what two workers gain, what many cells cost, with SQLite and on a server, how often answers are
wrong. About fifty minutes on an idle machine; --short takes three.

Each writes its tables and its figure into docs/benchmarks, the last one into docs/statistics.md; the short forms write
nothing, and fail where a ratio, a law or an account does not hold. Peers that are not installed are left out: pip
install -e ".[bench]". The server needs PostgreSQL; if one fails, the others go on.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from benchmarks import ROOT, say

WITH_SHORT_FORM = ("kernel", "scaling", "command", "by_hand", "many_cells", "calibration")
ALL = (
    "kernel", "kernel --without-avx512", "kernel_profile", "scaling", "command", "before", "by_hand", "workers",
    "many_cells", "many_cells --store server", "calibration",
)  # fmt: skip


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="small forms that fail where something does not hold")
    arguments = parser.parse_args(words)
    failed = []
    for name in WITH_SHORT_FORM if arguments.short else ALL:
        say(name)  # each pins threads and measures memory in a process of its own
        module, *options = name.split()
        command = [sys.executable, "-m", f"benchmarks.{module}", *options, *(["--short"] if arguments.short else [])]
        if subprocess.run(command, cwd=ROOT).returncode:
            failed.append(name)
    if failed:
        say(f"Failed: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
