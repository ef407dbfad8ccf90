import marimo

app = marimo.App(app_title="Lesson 1: one neuron by hand")

with app.setup(hide_code=True):
    import marimo as mo
    import numpy as np
    from training import line

    from harness import MLP, SGD, Parameters
    from harness.network import inplace_update

    def question(text, answer):
        """A question, with its answer below a bar that opens when the reader clicks on it."""
        return mo.vstack([mo.md(text), mo.accordion({"Answer (write down your own first)": mo.md(answer)})])

    def table(columns, rows):
        """A table in Markdown."""
        lines = [columns, ["---"] * len(columns), *rows]
        return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # Lesson 1: one neuron by hand

    *About ten minutes, with paper and a pocket calculator.*

    A student asked on a questions-and-answers site: backpropagation gives the gradient of **one** example. What do
    I do with a batch of $B$ examples? The replies: add the gradients; or average them, "it doesn't matter". A blog
    explains the same thing, and its formulas contain mistakes. In this lesson you compute one batch yourself, check
    both replies, and find the mistakes.

    The neuron: inputs $x_1, x_2$, weights $w_1, w_2$, bias $b$.

    $$z = w_1 x_1 + w_2 x_2 + b \qquad \hat y = \sigma(z) = \frac{1}{1 + e^{-z}}$$

    $$J = -\bigl(y \log \hat y + (1 - y) \log (1 - \hat y)\bigr)$$

    Four examples, and the weights at the start:
    """)
    return


@app.cell
def _():
    X = np.array([[1.0, 2.0], [2.0, -1.0], [-1.0, 1.0], [0.0, -2.0]])
    Y = np.array([[1.0], [0.0], [1.0], [1.0]])
    w, b = np.array([0.5, -0.5]), 0.0

    def neuron():
        """A new neuron with the weights of the start."""
        return MLP(Parameters.from_weights([w[:, None]], [[b]]), loss="sigmoid_cross_entropy")

    return X, Y, b, neuron, w


@app.cell(hide_code=True)
def _(X, Y, b, w):
    mo.md(
        table(
            ["example", "$x_1$", "$x_2$", "$y$"],
            [[i + 1, *map(int, x), int(y)] for i, (x, (y,)) in enumerate(zip(X, Y, strict=True))],
        )
        + f"\n\nWeights: $w_1 = {w[0]}$, $w_2 = {w[1]}$, $b = {b:g}$."
    )
    return


@app.cell(hide_code=True)
def _(X, Y, neuron):
    predicted = neuron().predict(X)[0, :, 0]
    per_example = np.stack([neuron().gradient(X[i : i + 1], Y[i : i + 1]).flat[0] for i in range(4)])
    _rows = [
        [i + 1, f"{predicted[i]:.4f}", f"{predicted[i] - Y[i, 0]:+.4f}", *(f"{value:+.4f}" for value in per_example[i])]
        for i in range(4)
    ]
    question(
        r"""
    ## 1. The gradient of one example

    By the chain rule $\partial J/\partial z = \hat y - y$, so $\partial J/\partial w_i = (\hat y - y)\,x_i$ and
    $\partial J/\partial b = \hat y - y$.

    **Question.** Compute the three numbers for example 1 ($e^{0.5} = 1.6487$). Which of $w_1$, $w_2$ changes more,
    and why?
    """,
        table(
            [
                "example",
                r"$\hat y$",
                r"$\hat y - y$",
                r"$\partial J/\partial w_1$",
                r"$\partial J/\partial w_2$",
                r"$\partial J/\partial b$",
            ],
            _rows,
        )
        + "\n\nThese are what `MLP.gradient` returns for each example alone. In example 1 $x_2$ is twice $x_1$, so "
        "is its "
        "derivative: a weight learns in proportion to its input.",
    )
    return per_example, predicted


@app.cell(hide_code=True)
def _(X, Y, neuron, per_example):
    batch_gradient = neuron().gradient(X, Y).flat[0]
    accumulated = per_example.sum(axis=0)
    mean_gradient = batch_gradient / 4
    cosine = float(batch_gradient @ mean_gradient / np.linalg.norm(batch_gradient) / np.linalg.norm(mean_gradient))

    def _show(values):
        return ", ".join(f"{value:+.4f}" for value in values)

    question(
        r"""
    ## 2. The student's question

    > *"do we accumulate the gradient for each point in the batch (after B backpropagations) then average them, or
    is it
    > something more complicated?"*

    A reply prefers the sum, *"given that some of the values will be positive and some will be negative"*.

    **Question.** Add your four gradients, then divide by 4. Does the average lose the signs? What does it change?
    """,
        f"""
    - The four gradients added one by one: {_show(accumulated)}.
    - One pass of `MLP.gradient` over the whole batch: {_show(batch_gradient)}. The largest difference is
      {abs(accumulated - batch_gradient).max():.1g}; more than the last digits of a rounding it can never be.
    - The mean: {_show(mean_gradient)}.

    Nothing more complicated happens. The cosine between sum and mean is {cosine:.6f}: the same signs, the same
    direction; only the **length** is divided by $B$. Signs are no reason to prefer the sum.
    """,
    )
    return accumulated, batch_gradient, cosine, mean_gradient


@app.cell(hide_code=True)
def _(X, Y, neuron):
    def trained(reduction, learning_rate, batch_size, rows=slice(None), updates=100):
        """Weights after so many updates; the batches are taken in order, again and again; the last one may be short."""
        network, (x, y) = neuron(), (X[rows], Y[rows])
        sgd = SGD(network.params, learning_rate)
        starts = range(0, len(x), batch_size)
        for update in range(updates):
            start = starts[update % len(starts)]
            inplace_update(network, sgd, x[start : start + batch_size], y[start : start + batch_size], reduction)
        return network.params.flat[0]

    whole = abs(trained("mean", 0.3, 4) - trained("sum", 0.3 / 4, 4)).max()
    three = abs(trained("mean", 0.3, 3, slice(3)) - trained("sum", 0.3 / 3, 3, slice(3))).max()
    ragged = abs(trained("mean", 0.3, 3) - trained("sum", 0.3 / 3, 3)).max()
    question(
        r"""
    ## 3. "It doesn't matter because we can adjust the learning rate"

    Train with the mean at $\eta = 0.3$ and with the sum at $\eta / B$, 100 updates each.

    **Question.** How far apart are the weights at the end: (a) one batch of $B = 4$; (b) one batch of $B = 3$ (the
    first three examples); (c) all four examples in batches of $B = 3$, so that the last batch has one example?
    """,
        f"""
    - (a) {whole:g}. Dividing by 4 changes no digit of a binary number, so both do the same arithmetic **to the bit**.
    - (b) {three:.0e}: dividing by 3 rounds.
    - (c) {ragged:.2f}. The mean divides the short batch by 1, and the sum at $\\eta/3$ divides everything by 3. No
      constant rate of the sum repeats that.

    So the reply is right when all batches are equally large, and wrong at the ragged end of an epoch.
    """,
    )
    return ragged, three, trained, whole


@app.cell(hide_code=True)
def _(X, Y, b, neuron, w):
    def cost(w, b):
        """The mean cost per example."""
        return float(MLP(Parameters.from_weights([w[:, None]], [[b]]), loss="sigmoid_cross_entropy").costs(X, Y).mean())

    h = 1e-5
    numeric = np.array(
        [
            (cost(w + np.array([h, 0]), b) - cost(w - np.array([h, 0]), b)) / (2 * h),
            (cost(w + np.array([0, h]), b) - cost(w - np.array([0, h]), b)) / (2 * h),
            (cost(w, b + h) - cost(w, b - h)) / (2 * h),
        ]
    )
    exact = neuron().gradient(X, Y).flat[0] / 4
    mo.md(
        r"""
    ## 4. Find the mistakes

    Seven formulas as they are printed in the two texts ($\lambda$ is their learning rate, $a = \hat y$ the output,
    and $m$ the number of examples). Mark each one *right* or *wrong*, and write what is wrong, before you open it.
    When in doubt do what the tests of this project do: move one weight a little and look at the cost. """
        + f"For the four examples the mean cost changes by {', '.join(f'{v:+.6f}' for v in numeric)} per unit of "
        + f"$w_1, w_2, b$; the mean of the gradients is {', '.join(f'{v:+.6f}' for v in exact)}."
    )
    return cost, exact, numeric


@app.cell(hide_code=True)
def _(Y, b, cost, exact, neuron, per_example, predicted, w):
    _y, _a = Y[:, 0], predicted
    _along = [cost(w - 0.4 * exact[:2], b - 0.4 * exact[2]), cost(w + 0.4 * exact[:2], b + 0.4 * exact[2])]
    printed_sign = (_y - _a) / (_a * (1 - _a)) * _a * (1 - _a)  # the summary's ∂J/∂a, times da/dz

    many_X, many_Y = line(200, np.random.default_rng(0))

    def last_cost(bias_step, updates=30):
        """Mean cost of 200 examples after updates that move the weights as they should and b by bias_step(delta)."""
        network = neuron()
        W, bias = network.params.W[0][0], network.params.b[0][0]
        for _ in range(updates):
            delta = network.predict(many_X)[0] - many_Y
            W -= 0.1 * many_X.T @ delta / 200
            bias -= bias_step(delta)
        return float(network.costs(many_X, many_Y).mean())

    bias_costs = {
        "right": last_cost(lambda delta: 0.1 * delta.mean()),
        "no rate": last_cost(lambda delta: delta.mean()),
        "no rate, sum": last_cost(lambda delta: delta.sum()),
    }
    mo.accordion(
        {
            r"A.  $\partial J/\partial a = \frac{y - a}{a(1 - a)}$, in the blog's summary": mo.md(f"""
    **Wrong: the sign is lost.** Right: $\\frac{{a - y}}{{a(1 - a)}}$, and with $a(1-a)$ for $\\sigma'$, $a - y$.
    For example 1 the printed one gives {printed_sign[0]:+.4f} in place of {per_example[0, 2]:+.4f}. Following it is
    gradient **ascent**: one step of 0.4 takes the cost from {cost(w, b):.4f} to {_along[1]:.4f}; with the right
    sign to {_along[0]:.4f}."""),
            r"B.  $b = b - \lambda \nabla J = w - \lambda(\hat y - y)$": mo.md("""
    **Wrong: $b$ is computed from $w$.** Right: $b = b - \\lambda(\\hat y - y)$. It does not even have the right
    shape: $w$ is a vector here and $b$ a number."""),
            r"C.  $w = w - \sum_m \lambda \nabla J^{(m)}"
            r" = w - \frac1m \sum_m \lambda (\hat y^{(m)} - y^{(m)}) x^{(m)}$": mo.md(f"""
    **Wrong: the left side sums, the right side averages.** They differ by the factor $m$ (here
    {np.linalg.norm(per_example.sum(axis=0)) / np.linalg.norm(per_example.mean(axis=0)):g}), unless $1/m$ is hidden
    in $J^{{(m)}}$. Each side is a method; they need learning rates that differ by $m$."""),
            r"D.  $b^L_j = b^L_j - \frac{\partial J}{\partial z^L_j}$": mo.md(f"""
    **Wrong: the learning rate is missing**, and the sum over the examples with its $1/m$. Mean cost of 200 examples
    in two clouds after 30 updates at $\\lambda = 0.1$: right {bias_costs["right"]:.4f}; the mean without $\\lambda$
    {bias_costs["no rate"]:.4f}, which looks fine; the sum without $\\lambda$ {bias_costs["no rate, sum"]:.4f}. The
    curve of the cost does not show such a mistake; a check of one step does."""),
            r"E.  $\frac{\partial J}{\partial a^L} = (W^{L+1})^T \frac{\partial J}{\partial z^L}$,"
            r" with $m \times p$ matrices": mo.md("""
    **Wrong twice.** The derivative must be that of the next layer, $\\partial J/\\partial z^{L+1}$. And with one
    example per row the shapes do not fit: right is $\\frac{\\partial J}{\\partial z^{L+1}} W^T$ for $W$ of shape
    (inputs, outputs). A formula with columns as examples, used on rows."""),
            r"F.  $\frac{\partial \hat y}{\partial z} = \frac{e^{-z}}{(1 + e^{-z})^2} = \hat y (1 - \hat y)$": mo.md("""
    **Right** on paper. In a program $e^{-z}$ overflows for large negative $z$, so harness computes cost and gradient
    from $z$ itself: $J = \\max(z, 0) - zy + \\log(1 + e^{-|z|})$."""),
            r"G.  $\frac{\partial e(w)}{w_{ij}^l} = \delta_j^l x_i^{l-1}$, in the question": mo.md("""
    **Right in what it says, misprinted in how**: the denominator needs a $\\partial$. The recursion for
    $\\delta_i^{l-1}$ holds for $i \\ge 1$ only; $i = 0$ is the constant input of the bias, which has no
    $\\delta$."""),
        },
        multiple=True,
    )
    return bias_costs, last_cost, printed_sign


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## What to remember

    - A batch's gradient is the sum of its examples' gradients. The mean has the same direction and $1/B$ of the
      length.
    - Mean at $\eta$ and sum at $\eta / B$ are the same method while all batches have the same size.
    - A cost that falls proves nothing. Compare a gradient with a central difference.

    More mistakes are left: the blog shuffles with `X[:, permutation]` under the comment "each column is a feature",
    and uses $m$ for an index, a limit, the number of examples and the batch size. Which line fails first, if rows
    are examples?
    """)
    return


if __name__ == "__main__":
    app.run()
