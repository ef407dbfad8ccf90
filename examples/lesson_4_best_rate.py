import marimo

app = marimo.App(width="medium", app_title="Lesson 4: find the best learning rate")

with app.setup(hide_code=True):
    import marimo as mo
    import numpy as np
    from matplotlib.figure import Figure
    from training import DATA, EPOCHS, REPLICAS, SIZES, N, bands, u_curve

    COLOURS = dict(zip(SIZES, ("#D55E00", "#E69F00", "#009E73", "#56B4E9", "#0072B2"), strict=True))

    def question(text, answer):
        """A question, with its answer below a bar that opens when the reader clicks on it."""
        return mo.vstack([mo.md(text), mo.accordion({"Answer (write down your own first)": answer})])


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    # Lesson 4: find the best learning rate

    *About ten minutes. The sliders need Python behind this page (`marimo run` or `marimo edit`), or open the page
    for the browser, which brings its own (docs/lessons.md).*

    {N} points, a network with one hidden layer, **{EPOCHS} epochs** for everyone. Each setting is trained
    {REPLICAS} times (*replicas*: other first weights, another order). The line is the median cost, the band lies
    between the quartiles.

    **Task.** For B = 4 find the learning rate with the lowest cost at the end, under the mean. Then set B = 64. Is
    your rate still good? Then take the sum.
    """)
    return


@app.cell(hide_code=True)
def _():
    data = mo.ui.dropdown(list(DATA), value="rings", label="data")
    batch_size = mo.ui.slider(steps=SIZES, value=4, label="batch size B", show_value=True)
    learning_rate = mo.ui.slider(
        steps=[0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0], value=0.1, label="learning rate η", show_value=True
    )
    reduction = mo.ui.radio(["mean", "sum"], value="mean", inline=True, label="reduction")
    mo.hstack([data, batch_size, learning_rate, reduction], wrap=True, justify="start")
    return batch_size, data, learning_rate, reduction


@app.cell(hide_code=True)
def _(batch_size, data, learning_rate, reduction):
    band = bands(data.value, batch_size.value, learning_rate.value, reduction.value)
    _figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    _axes = _figure.subplots()
    _axes.fill_between(band["epochs"], band["lower"], band["upper"], alpha=0.25, color="#0072B2", lw=0)
    _axes.plot(band["epochs"], band["median"], color="#0072B2")
    _axes.axhline(np.log(2), color="black", lw=0.8, ls=":")
    _axes.set(xlabel="epochs", ylabel="cost per example", yscale="log", ylim=(0.01, 10))
    _axes.set_title(
        f"{data.value}, B = {batch_size.value}, η = {learning_rate.value:g}, {reduction.value}: "
        f"cost {band['median'][-1]:.3f} after {EPOCHS} epochs"
    )
    mo.vstack([_figure, mo.md("Dotted: ln 2, the cost of answering one half everywhere.")])
    return (band,)


@app.cell(hide_code=True)
def _(data):
    curves = {kind: {B: u_curve(data.value, B, kind) for B in SIZES} for kind in ("mean", "sum")}
    best = {
        kind: {B: curve["rates"][int(np.argmin(curve["median"]))] for B, curve in of_kind.items()}
        for kind, of_kind in curves.items()
    }

    def u_curves(kind):
        """Cost at the end against the learning rate, a curve for each batch size, its best rate marked."""
        figure = Figure(figsize=(7.5, 3.8), layout="constrained")
        axes = figure.subplots()
        for B, curve in curves[kind].items():
            axes.fill_between(curve["rates"], curve["lower"], curve["upper"], color=COLOURS[B], alpha=0.15, lw=0)
            axes.plot(curve["rates"], curve["median"], color=COLOURS[B], label=f"B = {B}")
            axes.plot(best[kind][B], min(curve["median"]), "o", color=COLOURS[B])
        axes.set(
            xscale="log", yscale="log", xlabel=f"learning rate of the {kind}", ylabel="cost per example at the end"
        )
        axes.legend(frameon=False, fontsize=9)
        return figure

    return best, curves, u_curves


@app.cell(hide_code=True)
def _(best, data, u_curves):
    _rates = best["mean"]
    question(
        """
    ## 1. The U-curves of the mean

    Cost at the end against the learning rate gives a U: too small does not arrive, too large jumps about.

    **Question.** When B grows from 1 to 128 at a fixed number of **epochs**, does the best rate of the *mean* rise,
    fall or stay?
    """,
        mo.vstack(
            [
                u_curves("mean"),
                mo.md(
                    f"On *{data.value}* the best of the rates tried goes from {_rates[1]:g} (B = 1) to "
                    f"{_rates[128]:g} (B = 128). With "
                    "larger batches there are fewer updates in the same epochs, so each must go further, and the "
                    "mean of more "
                    "gradients is steady enough to allow it. The rise ends where a step would overshoot even "
                    "without noise. With "
                    f"{REPLICAS} replicas a best rate is uncertain by a factor of two to four: a single dip may be "
                    "chance."
                ),
            ]
        ),
    )
    return


@app.cell(hide_code=True)
def _(best, curves, data, u_curves):
    _rates = best["sum"]
    same = max(float(np.abs(np.subtract(curves["sum"][B]["median"], curves["mean"][B]["median"])).max()) for B in SIZES)
    question(
        """
    ## 2. The U-curves of the sum

    **Question.** And the best rate of the *sum*? Are its lowest costs lower or higher than those of the mean?
    """,
        mo.vstack(
            [
                u_curves("sum"),
                mo.md(
                    f"On *{data.value}* it goes from {_rates[1]:g} (B = 1) to {_rates[128]:g} (B = 128). The rates "
                    "tried are those of the "
                    f"mean divided by B, and the largest difference between a cost of the sum and its partner of "
                    f"the mean is {same:g}: "
                    "the **same curves**, each moved to the left by its B. Drawn over ηB (harness calls it "
                    "`lr_mean`) they coincide."
                ),
            ]
        ),
    )
    return (same,)


@app.cell(hide_code=True)
def _(curves):
    lowest = {B: min(curve["median"]) for B, curve in curves["mean"].items()}
    at_one = {B: dict(zip(curve["rates"], curve["median"], strict=True))[0.25] for B, curve in curves["mean"].items()}
    _best, _best_at_one = min(lowest, key=lowest.get), min(at_one, key=at_one.get)
    question(
        """
    ## 3. A fair comparison

    Somebody trains every batch size at η = 0.25 (mean) and reports the winner.

    **Question.** What is wrong with that? What would you report in its place?
    """,
        mo.md(
            "| B | cost at η = 0.25 | cost at its best rate |\n|---|---|---|\n"
            + "\n".join(f"| {B} | {at_one[B]:.3f} | {lowest[B]:.3f} |" for B in lowest)
            + f"\n\nAt the one rate B = {_best_at_one} is lowest; each at its own best rate, B = {_best}. One rate "
            "favours the batch "
            "size that it happens to suit. Report the whole curve, the best rate of each, and whether it lies on "
            "the edge of "
            f"the rates tried (then add more). And {REPLICAS} replicas of one data set are a small sample: with "
            "`harness.sweep` you get intervals and tests (lesson 5)."
        ),
    )
    return at_one, lowest


if __name__ == "__main__":
    app.run()
