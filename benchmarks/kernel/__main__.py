"""The command."""

import argparse
import csv
import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import benchmarks.kernel
from benchmarks import DOCS
from benchmarks.kernel.arms import KINDS, N, problem
from benchmarks.kernel.measurement import ROUNDS, measure, short
from benchmarks.kernel.report import draw, markdown, rows_of
from harness.store import environment
from harness.training import pinned_blas

BATCH_SIZES = (1, 8, 64, 512, N)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.kernel",
        description=benchmarks.kernel.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--short", action="store_true", help="against scikit-learn only; fails below a floor")
    arguments = parser.parse_args(words)
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if find_spec("numba") and not arguments.short:
        import harness.compiled.engine  # noqa: F401  its BLAS must be loaded before it is pinned
    with pinned_blas(1):
        return short() if arguments.short else full()


def full() -> int:
    about = environment()
    kinds = tuple(kind for kind in KINDS if find_spec(kind.needs))
    versions = [f"{name} {_version(name)}" for name in ("numpy", "numba", "scikit-learn", "torch", "jax")]
    rows: list[dict[str, Any]] = []
    for dtype in ("float64", "float32"):
        for batch_size in BATCH_SIZES:
            case = problem(batch_size, dtype)
            rows += rows_of(case, *measure(case, kinds, ROUNDS))
            for row in rows[-len(kinds) :]:
                print(
                    *(f"{value:>22}" if isinstance(value, str) else f"{value:>9}" for value in row.values()), flush=True
                )
    DOCS.mkdir(parents=True, exist_ok=True)
    with (DOCS / "kernel.csv").open("w", newline="", encoding="utf8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    machine = f"{about['cpu']}, Python {about['python']}, {', '.join(versions)}; {ROUNDS} rounds; "
    machine += f"load average {os.getloadavg()[1]:.1f} at the end, 1 of it ours: above that, read ratios only."
    (DOCS / "kernel.md").write_text(markdown(rows, machine), encoding="utf8")
    draw(rows, DOCS / "kernel.png")
    return 0


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


if __name__ == "__main__":
    raise SystemExit(main())
