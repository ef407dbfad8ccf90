"""Draw the pictures of docs/concepts: `python -m docs.concepts.figures [FOLDER]`, from the root of the project.

Each is an SVG file of at most 100 kB with a white ground, so that it can be read on a dark page too.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from docs.concepts import picture_data as data
from harness.report import COLOURS, STYLE

BLUE, ORANGE, GREEN, PINK = COLOURS[:4]
GREY, BLACK = "#777777", "#222222"
LOOK = STYLE | {
    "text.parse_math": True,  # powers of ten on log axes
    "font.size": 12,
    "axes.titlesize": 12.5,
    "lines.linewidth": 2,
    "svg.hashsalt": "concepts",  # equal drawings are equal files
}
HERE = Path(__file__).parent


def panels(*titles: str, width: float = 8.2, height: float = 3.7) -> tuple[Figure, list[Axes]]:
    """A figure with one row of panels."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(1, len(titles), squeeze=False)[0])
    for one, title in zip(axes, titles, strict=True):
        one.set_title(title)
    return figure, axes


def arrow(axes: Axes, to: np.ndarray, label: str, at: tuple[float, float], colour: str, width: float) -> None:
    """An arrow from the origin, with its label at a place of its own."""
    axes.annotate("", to, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": width, "mutation_scale": 16})
    axes.text(*at, label, color=colour)


def sum_and_mean() -> Figure:
    """The four gradients of the example with their sum and mean; the cost of trainings with either."""
    figure, (left, right) = panels("One direction, two lengths", "Same training if η is rescaled")
    gradients = data.example_gradients(data.X, data.Y)
    places = {"g₁": (-1.2, -0.46), "g₂": (-0.7, 0.55), "g₃": (-0.42, -0.64), "g₄": (1.02, -0.62)}
    for (name, at), gradient in zip(places.items(), gradients, strict=True):
        arrow(left, gradient, name, at, GREY, 1.5)
    arrow(left, gradients.sum(axis=0), "sum", (-0.78, -1.05), ORANGE, 3)
    arrow(left, gradients.mean(axis=0), "mean", (0.02, -0.3), BLUE, 3)
    left.set(xlim=(-1.3, 1.3), ylim=(-1.25, 0.85), xlabel="∂/∂w", ylabel="∂/∂b")
    for rate, reduction, colour, style in [
        (1.0, "mean", BLUE, {"lw": 5, "alpha": 0.4}),
        (0.25, "sum", ORANGE, {"ls": "--"}),
        (1.0, "sum", GREEN, {"marker": "o", "ms": 4}),
    ]:
        costs = data.costs_of_training(data.neuron(), data.X, data.Y, rate, reduction, 12)
        right.plot(costs, color=colour, label=f"{reduction}, η = {rate:g}", **style)
    right.set(xlabel="updates", ylabel="training cost", xticks=range(0, 13, 3))
    right.legend()
    return figure


def canonical_units() -> Figure:
    """The cost after ten updates of a batch of 8, over the learning rate and over lr_mean."""
    figure, (left, right) = panels("As typed: two best rates", "In canonical units: one")
    lr_mean = np.geomspace(0.03, 2.6, 120)
    for reduction, factor, style in [
        ("mean", 1, {"lw": 6, "alpha": 0.4, "color": BLUE}),
        ("sum", 8, {"color": ORANGE}),
    ]:
        costs = data.relative_costs(lr_mean / factor, reduction, updates=10, n_examples=8)[:, -1]
        for axes, rates in ((left, lr_mean / factor), (right, lr_mean)):
            axes.plot(rates, costs, label=reduction, **style)
    for axes, name in ((left, "learning rate η"), (right, "lr_mean (η of a mean, ηB of a sum)")):
        axes.axhline(1, color=GREY, lw=1, ls=":")
        axes.set(xscale="log", yscale="log", ylim=(1e-6, 30), xlim=(0.003, 4), xlabel=name)
    left.set_ylabel("cost / initial cost")
    left.legend(loc="lower left")
    return figure


def clocks() -> Figure:
    """The same trainings of three batch sizes over epochs, updates and modelled seconds."""
    titles = {"epoch": "per epoch", "update": "per update", "seconds": "per second (model)"}
    figure, axes = panels(*titles.values(), width=8.6)
    for (size, course), colour in zip(data.courses().items(), COLOURS, strict=False):
        for one, clock in zip(axes, titles, strict=True):
            seen = course[clock] > 0
            scale = 1e3 if clock == "seconds" else 1
            one.plot(scale * course[clock][seen], course["train_cost"][seen], color=colour, label=f"B = {size}")
    for one, name in zip(axes, ("epochs", "updates", "milliseconds"), strict=True):
        one.set(xscale="log", yscale="log", xlabel=name)
        one.tick_params(labelleft=one is axes[0])
    axes[0].set_ylabel("training cost")
    axes[0].legend(loc="lower left")
    return figure


def noise_scale() -> Figure:
    """Gradients of single batches around the true one, and their squared distances with the law of sampling."""
    figure, (left, right) = panels("Gradients of single batches", "Their distance from G")
    gradients = data.example_gradients(*data.noisy_examples(), w=0.5, b=-0.3)
    mean, spread = data.noise(gradients)
    for size, colour, marker in [(1, PINK, "o"), (4, ORANGE, "s"), (16, BLUE, "D")]:
        batches = data.batch_means(gradients, size, 40)
        left.plot(*batches.T, marker, color=colour, ms=4, alpha=0.7, label=f"B = {size}")
    left.plot(*mean, "*", color=BLACK, ms=14, label="G")
    left.set(xlabel="∂/∂w", ylabel="∂/∂b", xlim=(-1.6, 0.6))
    left.legend(loc="upper left", handletextpad=0.1)
    sizes = np.array([1, 2, 4, 8, 16, 32])
    measured = [np.square(data.batch_means(gradients, size, 400) - mean).sum(axis=1).mean() for size in sizes]
    grid = np.linspace(1, 39, 77)
    right.plot(grid, data.sampling_law(spread, grid, len(gradients)), color=GREY, label="law")
    right.plot(sizes, measured, "o", color=BLUE, label="400 batches")
    right.axhline(mean @ mean, color=BLACK, lw=1, ls=":")
    right.text(16, 1.15 * mean @ mean, "‖G‖²")
    right.set(xscale="log", yscale="log", xlabel="batch size B", ylabel="mean of ‖g_B − G‖²")
    right.set_xticks(sizes, [str(size) for size in sizes])
    right.legend(loc="lower left")
    return figure


def critical_batch_size() -> Figure:
    """The law for S_min = 10 updates and B_crit = 50 examples: what a batch size costs in updates and in examples."""
    figure, (left, right) = panels("Updates to the target", "Examples to the target")
    s_min, b_crit, sizes = 10, 50, np.geomspace(1, 2000, 100)
    updates = data.updates_to_target(sizes, s_min, b_crit)
    left.plot(sizes, s_min * b_crit / sizes, color=GREY, ls="--", lw=1.4, label="half per doubling")
    line = {"arrowstyle": "-", "color": BLACK}
    for axes, values, floor, at, name in [
        (left, updates, s_min, (80, 60), "S_min = 10"),
        (right, updates * sizes, s_min * b_crit, (1.2, 3000), "S_min · B_crit = 500"),
    ]:
        axes.plot(sizes, values, color=BLUE)
        axes.axhline(floor, color=ORANGE, lw=1.4)
        axes.plot(b_crit, 2 * floor, "o", color=BLACK, ms=8)
        axes.set(xscale="log", yscale="log", xlabel="batch size B")
        axes.text(1.1 if axes is left else 40, floor * 0.85, name, color="#B34E00", va="top")
        axes.annotate("B = B_crit:\ntwice the least", (b_crit, 2 * floor), at, arrowprops=line)
    left.set(ylabel="updates", ylim=(4, 900))
    right.set(ylabel="examples", ylim=(250, 3e4))
    left.legend(loc="upper right")
    return figure


def stability() -> Figure:
    """Gradient descent in a bowl of curvature λ = 4, on both sides of η = 2/λ."""
    figure, (left, right) = panels("The weight jumps across", "Cost: straight lines, up or down")
    w = np.linspace(-2.3, 2.3, 60)
    left.plot(w, 2 * w**2, color=GREY, lw=1)
    products = np.array([0.2, 1.5, 1.9, 2.1])
    costs = data.relative_costs(products / 4, "mean", updates=20, n_examples=2, curvature=4.0)
    for product, run, colour in zip(products, costs, (BLUE, GREEN, PINK, ORANGE), strict=True):
        right.plot(run, color=colour, marker="o", ms=3, label=f"ηλ = {product:g}")
        if product >= 1.9:
            path = np.sqrt(run[:8]) * np.sign(1 - product) ** np.arange(8)
            left.plot(path, 2 * path**2, "o-", color=colour, lw=1.2, ms=5, label=f"ηλ = {product:g}")
    left.set(xlabel="weight w", ylabel="cost ½λw²", ylim=(-0.3, 11))
    right.set(yscale="log", ylim=(1e-6, 1e5), xlabel="updates", xticks=range(0, 21, 5), ylabel="cost / initial cost")
    left.legend(loc="upper center")
    right.legend(loc="upper left", ncols=2)
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    one.__name__: one for one in (sum_and_mean, canonical_units, clocks, noise_scale, critical_batch_size, stability)
}


def main(folder: Path = HERE) -> None:
    """Write every picture into the folder."""
    with rc_context(LOOK):
        for name, draw in FIGURES.items():
            draw().savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
