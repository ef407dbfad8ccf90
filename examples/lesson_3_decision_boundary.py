import marimo

app = marimo.App(width="medium", app_title="Lesson 3: a decision boundary under sum and mean")

with app.setup(hide_code=True):
    import marimo as mo
    import numpy as np
    from matplotlib.figure import Figure
    from training import moons, networks, train

    def question(text, answer):
        """A question, with its answer below a bar that opens when the reader clicks on it."""
        return mo.vstack([mo.md(text), mo.accordion({"Answer (write down your own first)": answer})])


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # Lesson 3: a decision boundary forms, under sum and mean

    *About ten minutes.*

    128 points, two classes, two moons. A network with 16 hidden units (tanh) learns where one class ends: its
    *decision boundary* is the line where it says one half. Batches have $B = 32$ examples. The same network starts
    twice, with the same weights and the same order of examples. Once each batch's gradients are **averaged**, once
    they are **summed**.
    """)
    return


@app.cell
def _():
    B, RATE, SIZES = 32, 0.1, [2, 16, 1]
    X, Y = moons(128, np.random.default_rng(0))

    def course(reduction, learning_rate, epochs=250, batch_size=B):
        """One training: its weights and costs at checkpoints."""
        return train(
            X,
            Y,
            SIZES,
            batch_size=batch_size,
            learning_rate=learning_rate,
            reduction=reduction,
            epochs=epochs,
            seeds=[3],
        )

    mean, total = course("mean", RATE), course("sum", RATE)
    return B, RATE, SIZES, X, Y, course, mean, total


@app.cell(hide_code=True)
def _(SIZES, X, Y):
    LIMIT = 3.2
    line = np.linspace(-LIMIT, LIMIT, 90)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)

    def draw(axes, flat, title):
        """The points, and the regions that a network with these weights gives to the two classes."""
        said = networks(SIZES, flat[None]).predict(grid)[0].reshape(90, 90)
        axes.contourf(line, line, said, levels=[0, 0.5, 1], colors=["#CFE4F1", "#F7D9C4"])
        if said.min() < 0.5 < said.max():
            axes.contour(line, line, said, levels=[0.5], colors="black", linewidths=1.5)
        axes.scatter(*X.T, c=np.where(Y[:, 0] > 0.5, "#D55E00", "#0072B2"), s=9)
        axes.set(xticks=[], yticks=[], aspect="equal")
        axes.set_title(title, fontsize=10)

    def film(rows, moments):
        """One row of pictures for each training, one column for each number of updates."""
        figure = Figure(figsize=(2.1 * len(moments), 2.35 * len(rows)), layout="constrained")
        for cells, (name, trained) in zip(
            figure.subplots(len(rows), len(moments), squeeze=False), rows.items(), strict=True
        ):
            for axes, moment in zip(cells, moments, strict=True):
                k = int(np.abs(trained.updates - moment).argmin())
                draw(axes, trained.flat[k, 0], f"{trained.updates[k]} updates, cost {trained.costs[k, 0]:.3f}")
            cells[0].set_ylabel(name)
        return figure

    return draw, film


@app.cell(hide_code=True)
def _(B, RATE, film, mean, total):
    question(
        f"""
    ## 1. The same learning rate

    **Question.** Both get $\\eta = {RATE}$. After about 20 updates, whose boundary is further on, and by about what
    factor is it ahead in updates?
    """,
        mo.vstack(
            [
                film({f"mean, η = {RATE}": mean, f"sum, η = {RATE}": total}, [0, 20, 100, 1000]),
                mo.md(f"""
    The sum's steps are {B} times as long, because it adds {B} gradients: it trains like a mean at
    $\\eta B = {RATE * B:g}$. Its cost is {total.costs[-1, 0]:.4f} in the end, the mean's {mean.costs[-1, 0]:.4f}.
    That is no merit of the sum. It is a larger learning rate under the same name."""),
            ]
        ),
    )
    return


@app.cell(hide_code=True)
def _(B, RATE, course, film, mean):
    equal = course("sum", RATE / B)
    apart = float(abs(equal.flat - mean.flat).max())
    question(
        f"""
    ## 2. The same picture

    **Question.** Which learning rate must the sum have so that its pictures are those of the mean at
    $\\eta = {RATE}$? How large is the difference between the weights after 1000 updates?
    """,
        mo.vstack(
            [
                film({f"mean, η = {RATE}": mean, f"sum, η = {RATE}/{B}": equal}, [0, 20, 100, 1000]),
                mo.md(f"""
    $\\eta / B = {RATE / B:g}$. The largest difference of any weight at any moment is **{apart:g}**: {B} is a power
    of two, so dividing by it rounds nothing, and all batches have {B} examples."""),
            ]
        ),
    )
    return apart, equal


@app.cell(hide_code=True)
def _(B, course, film):
    LARGE = 1.0
    large_mean, large_sum = course("mean", LARGE), course("sum", LARGE)
    question(
        f"""
    ## 3. A rate that is good for one

    A colleague recommends $\\eta = {LARGE:g}$ and forgets to say whether their code sums or averages.

    **Question.** What will you see with the mean, and with the sum? (A network that answers one half everywhere has
    the cost $\\ln 2 = {np.log(2):.3f}$.)
    """,
        mo.vstack(
            [
                film({f"mean, η = {LARGE:g}": large_mean, f"sum, η = {LARGE:g}": large_sum}, [0, 20, 100, 1000]),
                mo.md(f"""
    The mean ends at the cost {large_mean.costs[-1, 0]:.4f}. The sum takes steps of a mean at {LARGE * B:g}: its
    median cost over the second half of the checkpoints is
    {np.median(large_sum.costs[len(large_sum.costs) // 2 :]):.2f}; its boundary jumps. A learning rate without the
    word *sum* or *mean*, and without the batch size, is not a recommendation."""),
            ]
        ),
    )
    return large_mean, large_sum


@app.cell(hide_code=True)
def _():
    batch_slider = mo.ui.slider(steps=[1, 4, 16, 32, 64, 128], value=32, label="batch size B", show_value=True)
    rate_slider = mo.ui.slider(
        steps=[0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0], value=0.1, label="learning rate η", show_value=True
    )
    moment_slider = mo.ui.slider(start=0, stop=59, value=40, label="moment in training")
    mo.vstack(
        [
            mo.md("""
    ## 4. Try it

    With Python behind this page (`marimo run` or `marimo edit`) the sliders work. Task: find a rate at which both
    look right at B = 4. Why is it easier than at B = 128?
    """),
            mo.hstack([batch_slider, rate_slider, moment_slider], wrap=True, justify="start"),
        ]
    )
    return batch_slider, moment_slider, rate_slider


@app.cell(hide_code=True)
def _(batch_slider, course, draw, moment_slider, rate_slider):
    tried = Figure(figsize=(8, 4.2), layout="constrained")
    for _axes, _reduction in zip(tried.subplots(1, 2), ("mean", "sum"), strict=True):
        _tried = course(_reduction, rate_slider.value, epochs=40, batch_size=batch_slider.value)
        _k = min(moment_slider.value, len(_tried.updates) - 1)
        draw(_axes, _tried.flat[_k, 0], f"{_reduction}: {_tried.updates[_k]} updates, cost {_tried.costs[_k, 0]:.3f}")
    mo.as_html(tried)
    return


if __name__ == "__main__":
    app.run()
