import marimo

app = marimo.App(width="full", app_title="Lesson 2: three methods on a cost surface")

with app.setup(hide_code=True):
    import time

    import marimo as mo
    import numpy as np
    from animation import CLOCKS, COLOURS, animation
    from matplotlib.figure import Figure
    from training import networks, train

    from harness import SGD
    from harness.network import Vectorized

    def question(text, answer):
        """A question, with its answer below a bar that opens when the reader clicks on it."""
        return mo.vstack([mo.md(text), mo.accordion({"Answer (write down your own first)": mo.md(answer)})])


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # Lesson 2: three methods on a cost surface

    *About ten minutes; made for the projector.*

    A neuron with one input has two weights: $w$ and $b$. So its cost is a landscape, and training is a path in it.
    Three methods start at the same point and use the same learning rate for the mean of the batch's gradients:

    - **B = 1**, stochastic gradient descent: 256 short, noisy steps in an epoch.
    - **B = 64**, mini-batches: 4 steps in an epoch.
    - **B = N = 256**, batch gradient descent: one step in an epoch.

    Of each path at most 60 points are drawn, joined by straight lines: the first updates one by
    one, later ones in jumps.

    **Before you press Play.** There are three clocks. Which method is ahead after (a) equal epochs, (b) equal
    updates, (c) equal seconds? Write down three answers.
    """)
    return


@app.cell
def _():
    N, RATE, EPOCHS = 256, 0.5, 120
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, 1))
    Y = (rng.random((N, 1)) < 1 / (1 + np.exp(-(2.5 * X - 1)))).astype(float)  # labels with noise
    start = np.array([-2.5, 2.5])

    courses = {
        B: train(
            X, Y, [1, 1], batch_size=B, learning_rate=RATE, reduction="mean", epochs=EPOCHS, seeds=[0], start=start
        )
        for B in (1, 64, N)
    }
    return EPOCHS, N, RATE, X, Y, courses, start


@app.cell(hide_code=True)
def _(N, RATE, X, Y):
    def seconds_per_update(rounds=9, seconds=0.004):
        """Processor seconds of an update, the median over rounds; the batch sizes take turns."""
        engines = {}
        for B in (1, 64, N):
            network = networks([1, 1], np.zeros((1, 2)))
            engines[B] = Vectorized(network, SGD(network.params, RATE), (X, Y), "mean")
        taken = {B: [] for B in engines}
        for _ in range(rounds):
            for B, engine in engines.items():
                made, began = 0, time.process_time()
                while (now := time.process_time()) - began < seconds:
                    engine.make_updates(slice(0, N), B)
                    made += N // B
                taken[B].append((now - began) / made)
        return {B: float(np.median(times)) for B, times in taken.items()}

    update_seconds = seconds_per_update()
    return (update_seconds,)


@app.cell(hide_code=True)
def _(X, Y, courses, start, update_seconds):
    w_grid, b_grid = np.linspace(-3.5, 5, 70), np.linspace(-3.5, 3.5, 60)
    grid = np.stack(np.meshgrid(w_grid, b_grid), axis=-1)
    surface = networks([1, 1], grid.reshape(-1, 2)).costs(X, Y).mean(axis=1).reshape(grid.shape[:2])
    paths = {B: course.flat[:, 0] for B, course in courses.items()}
    per_epoch = {B: len(X) // B for B in courses}
    clocks = {
        "epochs": {B: course.updates / per_epoch[B] for B, course in courses.items()},
        "updates": {B: course.updates for B, course in courses.items()},
        "seconds": {B: course.updates * update_seconds[B] for B, course in courses.items()},
    }
    mo.iframe(animation(w_grid, b_grid, surface, paths, clocks, start), height="420px")
    return clocks, paths, surface


@app.cell(hide_code=True)
def _(clocks, courses, update_seconds):
    target = min(course.costs[-1, 0] for course in courses.values()) * 1.05

    def first(B, clock):
        """When the cost was first below the target on this clock; infinity if never."""
        below = np.flatnonzero(courses[B].costs[:, 0] <= target)
        return float(clocks[clock][B][below[0]]) if len(below) else float("inf")

    reached = {clock: {B: first(B, clock) for B in courses} for clock in CLOCKS}
    ahead = {clock: min(times, key=times.get) for clock, times in reached.items()}
    _rows = "\n".join(
        f"| {clock} | " + " | ".join(f"{value:.3g}" for value in reached[clock].values()) + f" | B = {ahead[clock]} |"
        for clock in CLOCKS
    )
    question(
        "## 1. Three clocks\n\n**Question.** Which method was ahead on which clock? Does your list agree?",
        f"""
    Until the cost is within 5 % of the lowest one seen ({target:.4f} per example):

    | clock | B = 1 | B = 64 | B = 256 | ahead |
    |---|---|---|---|---|
    {_rows}

    Per **epoch** small batches win: they take more steps from the same examples. Per **update** there is little
    between them: at one learning rate every step goes about as far, and more examples only make it steadier. In
    **seconds** it depends on what an update costs, here
    {", ".join(f"{1e6 * s:.0f} µs at B = {B}" for B, s in update_seconds.items())}: 256 times the examples do not
    cost 256 times the time. "Faster" without a clock means nothing. And this is **one** learning rate: lesson 4
    tunes it.
    """.replace("\n    ", "\n"),
    )
    return ahead, reached, target


@app.cell(hide_code=True)
def _(N, X, Y, start):
    _rng = np.random.default_rng(2)
    neuron = networks([1, 1], start[None])
    single = np.stack([neuron.gradient(X[i : i + 1], Y[i : i + 1]).flat[0] for i in range(N)])  # one per example
    full = single.mean(axis=0)
    clouds = {B: np.stack([single[_rng.permutation(N)[:B]].mean(axis=0) for _ in range(400)]) for B in (1, 16, 64)}
    spread = {B: float(np.square(cloud - full).sum(axis=1).mean()) for B, cloud in clouds.items()}
    S = float(np.square(single - full).sum(axis=1).mean()) * N / (N - 1)  # trace of the covariance of one gradient
    law = {B: S / B * (N - B) / N for B in clouds}

    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.subplots()
    for (_B, _cloud), _colour in zip(clouds.items(), (COLOURS[1], "#8C6D31", COLOURS[64]), strict=True):
        axes.scatter(*_cloud.T, s=12, color=_colour, alpha=0.35, label=f"B = {_B}")
    axes.plot(*full, "k*", markersize=16, label="B = N: the gradient of the whole set")
    axes.set(xlabel="derivative with respect to w", ylabel="derivative with respect to b")
    axes.set_title("400 batches of each size, all at the starting point: one gradient each")
    axes.legend(frameon=False)
    mo.vstack(
        [
            mo.md(
                "## 2. The cloud of gradients\n\nWhy is the path of B = 1 so restless? At one point, each batch "
                "gives another gradient:"
            ),
            figure,
        ]
    )
    return clouds, full, law, single, spread


@app.cell(hide_code=True)
def _(law, spread):
    question(
        r"""
    **Question.** The variance of the cloud is the mean squared distance from the star. From $B = 16$ to $B = 64$,
    four times the examples: what becomes of the variance, and of the width of the cloud? And of a batch of all $N$
    examples?
    """,
        "\n".join(
            [
                "| B | variance of the 400 gradients | law $\\frac{S}{B} \\cdot \\frac{N - B}{N}$ |",
                "|---|---|---|",
                *(f"| {B} | {spread[B]:.4f} | {law[B]:.4f} |" for B in spread),
                "",
                f"The variance falls by {spread[16] / spread[64]:.1f}: a factor 4 for the examples, and a little "
                "more, because the "
                "batch is drawn **without replacement** and is soon a good part of the set. The width falls by the "
                "root of it. At "
                "B = N nothing is left to chance: every batch is the whole set. $S$ is the variance of a single "
                "gradient.",
            ]
        ),
    )
    return


@app.cell(hide_code=True)
def _(courses, EPOCHS):
    tail = {
        B: float(np.ptp(course.costs[course.updates > 0.5 * course.updates[-1], 0])) for B, course in courses.items()
    }
    question(
        f"""
    ## 3. At the end

    **Question.** After {EPOCHS} epochs, which paths stand still, and which goes on moving? What would you change to
    stop it?
    """,
        "\n".join(
            [
                "Difference between the highest and the lowest cost in the second half of the updates:",
                "",
                *(f"- B = {B}: {value:.2g}" for B, value in tail.items()),
                "",
                "B = 1 goes on around the minimum, because every example pulls towards its own; its steps have the "
                "length of "
                "the learning rate times the cloud. A smaller rate or a larger batch makes the region smaller.",
            ]
        ),
    )
    return (tail,)


if __name__ == "__main__":
    app.run()
