import marimo

app = marimo.App(width="medium", app_title="Lesson 5: read a sweep, draw your own figure")

with app.setup(hide_code=True):
    import marimo as mo
    from matplotlib.figure import Figure

    import harness

    COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

    def question(text, answer):
        """A question, with its answer below a bar that opens when the reader clicks on it."""
        return mo.vstack([mo.md(text), mo.accordion({"Answer (write down your own first)": answer})])


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Lesson 5: read a sweep back, and draw your own figure

    *About ten minutes.*

    A sweep leaves tables. With them you can draw the figure that **your** question needs. Here is a small sweep:
    three batch sizes, three learning rates, sum and mean, on scikit-learn's iris. To read one of your own from the
    store in its place, take the id that the command line printed:

        python -m harness -m dataset=iris batch_size=1,8,64 learning_rate=0.01,0.1,1
        marimo edit examples/lesson_5_own_figure.py -- --run RUN_ID
    """)
    return


@app.cell
def _():
    run_id = mo.cli_args().get("run")
    if run_id:
        sweep = harness.load(str(run_id))
    else:
        sweep = harness.sweep(
            {"batch_size": [1, 8, 64], "learning_rate": [0.01, 0.1, 1.0], "reduction": ["mean", "sum"]},
            dataset="iris", epochs=10, seeds=5,
        )  # fmt: skip
    cells, replicas, histories = sweep.cells, sweep.replicas, sweep.histories
    return cells, histories, replicas, sweep


@app.cell
def _(cells):
    columns = ["label", "batch_size", "learning_rate", "reduction", "lr_mean", "outcome", "score", "q25", "q75"]
    mo.vstack(
        [
            mo.md("## 1. Three tables\n\n`sweep.cells` has a row for each cell of the grid. Some of its columns:"),
            mo.Html(cells[columns].to_html(index=False, float_format="{:.3g}".format)),
        ]
    )
    return


@app.cell(hide_code=True)
def _(cells, histories, replicas):
    _counts = sorted(set(replicas.groupby("cell").size()))
    question(
        """
    `sweep.replicas` has a row for each replica of each cell, `sweep.histories` one for each checkpoint of each
    replica.

    **Question.** Which column joins the three tables? How many rows has `replicas`?
    """,
        mo.md(
            f"`cell`, the signature: {cells['cell'].nunique()} different values in {len(cells)} rows of `cells`. "
            "`label` is for people. "
            f"`replicas` has {len(replicas)} rows: {replicas['cell'].nunique()} cells with "
            f"{' or '.join(map(str, _counts))} replicas each. "
            f"`histories` has {len(histories)}."
        ),
    )
    return


@app.cell
def _(histories):
    # The cost of a cell by hand: the last checkpoint of each replica, then the median over replicas.
    last = histories.sort_values("update").groupby(["cell", "replica"]).last()
    by_hand = last["train_cost"].groupby("cell").median()
    return (by_hand,)


@app.cell(hide_code=True)
def _(by_hand, cells):
    scores = cells.set_index("cell")["score"]
    completed = cells.set_index("cell")["outcome"] == "completed"
    difference = float((by_hand - scores)[completed].abs().max())
    question(
        """
    ## 2. Check a number

    The cell above computes the cost of each cell from `histories`.

    **Question.** Should it be equal to the column `score` of `cells`? For which cells might it not be?
    """,
        mo.md(
            f"For the {int(completed.sum())} completed cells the largest difference is {difference:g}. A replica "
            "that diverged "
            "counts as infinite in `score`, whatever its last cost was: leaving it out would flatter the cell. "
            f"Here {int((~completed).sum())} cells ended otherwise."
        ),
    )
    return (difference,)


@app.cell
def _(cells):
    def own_figure(x):
        """The score of every cell against one of its columns; a colour for each batch size, a mark per reduction."""
        figure = Figure(figsize=(7.5, 4), layout="constrained")
        axes = figure.subplots()
        for (size, kind), group in cells.sort_values(x).groupby(["batch_size", "reduction"]):
            colour = COLOURS[sorted(cells["batch_size"].unique()).index(size) % len(COLOURS)]
            style = {"mean": "o-", "sum": "D--"}[kind]
            axes.plot(
                group[x],
                group["score"],
                style,
                color=colour,
                ms=8 if kind == "mean" else 4,
                label=f"B = {size:g}, {kind}",
            )
        axes.set(xscale="log", yscale="log", xlabel=x, ylabel="training cost per example")
        axes.legend(frameon=False, fontsize=9)
        return figure

    own_figure("learning_rate")
    return (own_figure,)


@app.cell(hide_code=True)
def _(own_figure):
    question(
        """
    ## 3. Your own figure

    Above: cost against the learning rate. Sum and mean lie apart. (A diverged cell has an infinite cost
    and no mark.)

    **Question.** Which other column of `cells` on the x axis makes the sum's marks fall on the line of the mean?
    Change one word in the cell above and see.
    """,
        mo.vstack(
            [
                own_figure("lr_mean"),
                mo.md(
                    "`lr_mean`: ηB for a sum, η for a mean. At equal `lr_mean` both do the same. Where the last "
                    "batch of an epoch is "
                    "shorter than B, a small difference is left (lesson 1, question 3)."
                ),
            ]
        ),
    )
    return


@app.cell(hide_code=True)
def _(sweep):
    question(
        """
    ## 4. What the harness says

    **Question.** Look at your figure: which cell would you recommend, and how sure are you? Then compare with the
    answer of the harness, which has tests behind it.
    """,
        mo.md(
            str(sweep.note()).split("\n### ")[0] + "\n\nThis is the beginning; `sweep.note()` has the tables behind it."
        ),
    )
    return


if __name__ == "__main__":
    app.run()
