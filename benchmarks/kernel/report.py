"""What was measured, as rows, as text and as a figure."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kernel.arms import KINDS, N_STACK, PEERS, PRODUCTS, N, Problem
from benchmarks.kernel.floor import FLOP, Floor
from benchmarks.kernel.measurement import ratio

EPOCHS = 30  # of training from its beginning to its end
PAGES = {  # name -> title and command
    "kernel": ("What an update costs", "python -m benchmarks.kernel"),
    "kernel_avx2": ("What an update costs without AVX-512", "python -m benchmarks.kernel --without-avx512"),
}
ON_PAPER = """\
## Published elsewhere, not measured here

SimpleChains.jl (Elrod, Korsbo, Rackauckas, "Small Network scientific machine learning in Julia is 5x faster than
PyTorch", the Julia language's blog, 14 April 2022): 4-32-16-4 tanh, squared error, Adam, float32, all 10,000 examples
in an update, several threads. From the source: about 41 µs per update on an Intel i9-10980XE (18 cores, AVX-512);
0.72 s for 10,000 updates on an AMD EPYC 7513 (32 cores, AVX2), which is 72 µs for one;
4.9 and 5.2 s for the first 10,000 updates, of which 90 and 85 % are compilation. PyTorch there: about 1.5 ms, and 68 to
74 s for 10,000, which is 7 ms for one.

Not in the source, but counted here: 3,968 flop per example, as 10,112 above, so 41 µs are 970 Gflop/s. If all 18 cores
took part, which the source does not say, that is 54 Gflop/s for each. To compare with it, divide 10,112 × B by the
microseconds above. Network, optimiser, processor and number of threads differ: such a ratio says no more than the order
of magnitude.
"""


def rows_of(
    problem: Problem, times: dict[str, np.ndarray], compilation: dict[str, float], floor: Floor | None
) -> list[dict[str, Any]]:
    """One row per arm, for the CSV. floor: None where Numba, which measures it, is missing."""
    B = problem.batch_size
    rows = []
    for name, values in times.items():
        q25, median, q75 = np.quantile(values, [0.25, 0.5, 0.75]).round(3)
        rows.append(
            {
                "dtype": problem.dtype, "batch_size": problem.batch_size, "arm": name, "median_us": median,
                "q25_us": q25, "q75_us": q75, "rounds": len(values),
                "time_over_harness": round(ratio(times, name, "harness"), 3),
                "time_over_products": round(ratio(times, name, PRODUCTS), 3),
                "time_over_floor": round(float(median) / floor.microseconds(B), 3) if floor else np.nan,
                "percent_of_peak": round(floor.percent_of_peak(B, float(median)), 1) if floor else np.nan,
                "compile_seconds": round(compilation.get(name, 0.0), 2),
            }
        )  # fmt: skip
    return rows


def markdown(rows: list[dict[str, Any]], machine: str, cold: float, page: str) -> str:
    """cold: seconds of the first use of `engine=compiled`, nothing on disk. page: one of PAGES."""
    title, command = PAGES[page]
    names = list(dict.fromkeys(row["arm"] for row in rows))
    lines = [
        f"# {title}",
        "",
        "Microseconds per update and network: median over rounds [quartiles]. Digits, 64-32-10 sigmoid, plain gradient",
        f"steps, N = {N}, one thread; stack and vmap: {N_STACK} networks, time per network. Interleaved.",
        f"Compilation is not included, but where it says so. Written by `{command}`, like {page}.csv.",
        "",
        machine,
        "",
    ]
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        own = [row for row in rows if row["dtype"] == dtype]
        sizes = list(dict.fromkeys(row["batch_size"] for row in own))
        lines += [
            f"## {dtype}",
            "",
            f"| | {' | '.join(f'B = {size}' for size in sizes)} |",
            "|---" * (len(sizes) + 1) + "|",
        ]
        for name in names:
            cells = {row["batch_size"]: row for row in own if row["arm"] == name}
            texts = [f"{c['median_us']:.4g} [{c['q25_us']:.4g}, {c['q75_us']:.4g}]" for c in cells.values()]
            lines.append(f"| {name} | {' | '.join(texts)} |")
        lines += [*_verdict(own, sizes), "", *_over_floor(own, names, sizes), *_end_to_end(own, names, sizes, cold), ""]
    return "\n".join([*lines, ON_PAPER])


def _over_floor(rows: list[dict[str, Any]], names: list[str], sizes: list[int]) -> Iterator[str]:
    """Times over the least possible, and how much of the machine's peak the products alone make."""
    if any(np.isnan(row["time_over_floor"]) for row in rows):
        return
    yield f"Times over the floor: products ({FLOP:,} flop per example) at the machine's measured peak of multiply-adds,"
    yield "exponentials and one pass over the weights, by machine code that does nothing else. In brackets: percent of"
    yield "that peak."
    yield ""
    yield f"| | {' | '.join(f'B = {size}' for size in sizes)} |"
    yield "|---" * (len(sizes) + 1) + "|"
    for name in names:
        cells = [row for row in rows if row["arm"] == name]
        texts = [f"{row['time_over_floor']:.2f} [{row['percent_of_peak']:.0f} %]" for row in cells]
        yield f"| {name} | {' | '.join(texts)} |"
    yield ""


def _end_to_end(rows: list[dict[str, Any]], names: list[str], sizes: list[int], cold: float) -> Iterator[str]:
    """Compilation counted: what training the networks once takes."""
    yield f"By these times, seconds for {N_STACK} networks and {EPOCHS} epochs, with compilation. `engine=compiled` is"
    yield f"loaded from disk; its first use of an activation, loss and dtype, {cold:.1f} s here, has put it there."
    yield ""
    yield f"| | {' | '.join(f'B = {size}' for size in sizes)} |"
    yield "|---" * (len(sizes) + 1) + "|"
    for name in names:
        cells = [row for row in rows if row["arm"] == name and name != PRODUCTS]
        waited = [r["compile_seconds"] + r["median_us"] * 1e-6 * EPOCHS * N_STACK * N / r["batch_size"] for r in cells]
        if waited:
            yield f"| {name} | {' | '.join(f'{seconds:.3g}' for seconds in waited)} |"


def _verdict(rows: list[dict[str, Any]], sizes: list[int]) -> Iterator[str]:
    """How many times as long the fastest peer takes as the fastest of ours, and ours over its matrix products."""
    median = {(row["arm"], row["batch_size"]): row["median_us"] for row in rows}
    for label, own in (("harness or its stack", ("harness", "harness, stack")), ("any of the harness", None)):
        texts = []
        for size in sizes:
            ours = [n for n, s in median if s == size and n.startswith("harness") and (own is None or n in own)]
            peer = min((n for n, s in median if s == size and n in PEERS), key=lambda n: median[n, size])
            best = min(median[n, size] for n in ours)
            texts.append(f"{median[peer, size] / best:.2f} ({peer})")
        yield f"| **fastest peer over the fastest of {label}** | {' | '.join(texts)} |"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    dtypes = list(dict.fromkeys(row["dtype"] for row in rows))
    figure, axes = plt.subplots(1, len(dtypes), figsize=(13, 6), sharey=True, layout="constrained", squeeze=False)
    for ax, dtype in zip(axes[0], dtypes, strict=True):
        for kind in KINDS:
            own = [row for row in rows if row["arm"] == kind.name and row["dtype"] == dtype]
            if own:
                x, y = [row["batch_size"] for row in own], [row["median_us"] for row in own]
                ax.plot(x, y, kind.style, color=kind.color, marker="o", markersize=3, linewidth=2, label=kind.name)
        sizes = sorted({row["batch_size"] for row in rows})
        ax.set(xscale="log", yscale="log", xlabel="batch size B, examples", title=dtype)
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    axes[0][0].set_ylabel("µs per update and network")
    axes[0][0].legend(frameon=False, fontsize=9, handlelength=4)
    figure.suptitle(
        "Time of one update (lower is faster): digits 64-32-10, one thread. "
        f"Dashed: {N_STACK} networks at once, per network"
    )
    figure.savefig(path, dpi=120)
