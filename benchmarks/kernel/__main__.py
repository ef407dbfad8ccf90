"""The command."""

import argparse
import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import product
from tempfile import TemporaryDirectory
from typing import Any

import benchmarks.kernel
from benchmarks import DOCS, ROOT
from benchmarks.kernel.arms import KINDS, N, problem
from benchmarks.kernel.floor import measured_floor
from benchmarks.kernel.measurement import ROUNDS, measure, short
from benchmarks.kernel.report import draw, markdown, rows_of
from benchmarks.kernel.withheld import AVX2_XLA, without_avx512
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
    parser.add_argument("--without-avx512", action="store_true", help="no library may use it; writes kernel_avx2.md")
    arguments = parser.parse_args(words)
    if arguments.without_avx512 and not (told := without_avx512()).items() <= os.environ.items():
        command = [sys.executable, "-m", "benchmarks.kernel", "--without-avx512"]  # libraries look when they are loaded
        return subprocess.run(command, env=os.environ | told, cwd=ROOT).returncode
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{flags} {AVX2_XLA}" if arguments.without_avx512 else flags
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if find_spec("numba") and not arguments.short:
        import harness.compiled.engine  # noqa: F401  its BLAS must be loaded before it is pinned
    with pinned_blas(1):
        return short() if arguments.short else full("kernel_avx2" if arguments.without_avx512 else "kernel")


def full(page: str) -> int:
    about, has_numba = environment("compiled"), bool(find_spec("numba"))
    kinds = tuple(kind for kind in KINDS if find_spec(kind.needs))
    versions = [f"{name} {_version(name)}" for name in ("numpy", "numba", "scikit-learn", "torch", "jax")]
    rows: list[dict[str, Any]] = []
    cold = cold_seconds() if has_numba else float("nan")
    for batch_size, dtype in product((1, 64), ("float64", "float32")) if has_numba else ():
        _first_use(batch_size, dtype, {})  # the table says what it takes to load the code from disk
    for dtype in ("float64", "float32"):
        floor = measured_floor(dtype) if has_numba else None
        for batch_size in BATCH_SIZES:
            case = problem(batch_size, dtype)
            rows += rows_of(case, *measure(case, kinds, ROUNDS), floor)
            for row in rows[-len(kinds) :]:
                print(
                    *(f"{value:>22}" if isinstance(value, str) else f"{value:>9}" for value in row.values()), flush=True
                )
    DOCS.mkdir(parents=True, exist_ok=True)
    with (DOCS / f"{page}.csv").open("w", newline="", encoding="utf8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    machine = f"{about['cpu']}; {_arithmetic(about, has_numba)}; Python {about['python']}, {', '.join(versions)}; "
    load = f"load average {os.getloadavg()[1]:.1f} at the end, 1 of it ours: above that, read ratios only."
    machine += f"{ROUNDS} rounds; {load}"
    (DOCS / f"{page}.md").write_text(markdown(rows, machine, cold, page), encoding="utf8")
    draw(rows, DOCS / f"{page}.png")
    return 0


def cold_seconds() -> float:
    """Seconds from the import of engine=compiled to the first costs, nothing on disk."""
    with TemporaryDirectory() as cache:
        return _first_use(64, "float64", {"NUMBA_CACHE_DIR": cache})


def _first_use(batch_size: int, dtype: str, variables: dict[str, str]) -> float:
    """In a process of its own."""
    code = (
        f"from benchmarks.kernel.arms import Ours, problem; case = problem({batch_size}, '{dtype}')\n"
        "from time import perf_counter; started = perf_counter(); stack = Ours(case, 1, compiled=True).stack\n"
        "stack.engine.evaluate(stack.network, case.X, case.targets()); print(perf_counter() - started)"
    )
    command = [sys.executable, "-c", code]
    return float(subprocess.check_output(command, env=os.environ | variables, cwd=ROOT, text=True))


def _arithmetic(about: dict[str, Any], has_numba: bool) -> str:
    """BLAS with its kernel, instructions that NumPy uses, width of the compiled engine's vectors."""
    own = about["arithmetic"]
    widest = "AVX-512" if "AVX512" in own["instructions"].upper() else own["instructions"].split()[-1]
    texts = [own["blas"], f"NumPy with {widest}"]
    if has_numba:
        from harness.compiled.vectors import BYTES

        texts.append(f"compiled vectors of {8 * BYTES} bits")
    return ", ".join(texts)


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


if __name__ == "__main__":
    raise SystemExit(main())
