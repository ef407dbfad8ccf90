"""The compiled engine against the vectorised one: the same weights to rounding, and the same guarantees to the bit.

Both go through the production loop: batches, looks at single batches, checkpoints, retirement. The first use compiles
each activation, loss and dtype, which takes some seconds; afterwards they are on disk.
"""

import os
import subprocess
import sys
import time
from functools import partial
from inspect import unwrap
from itertools import product

import numpy as np
import pytest

pytest.importorskip("numba", reason='engine=compiled is an extra: pip install -e ".[compiled]"')

import numba

from harness.compiled import compiler, functions, network, updates, vectors
from harness.compiled.engine import Compiled
from harness.config import schema as config
from harness.network.activations import ACTIVATIONS
from harness.network.engine import Vectorized
from harness.network.losses import LOSSES
from harness.network.mlp import MLP
from harness.network.optimizers import OPTIMIZERS, SGD
from harness.network.parameters import Parameters
from harness.network.reduction import inplace_reduce
from harness.training.checkpoints import Outcome
from harness.training.diagnostics import OBSERVERS
from harness.training.loop import Budget, train
from harness.training.order import Batches, updates_per_epoch
from harness.training.stack import Stack

pytestmark = pytest.mark.xdist_group("compiled")  # one process compiles, once

N = 66  # batches of 7 and of 64 leave a ragged rest
DTYPES = [np.float64, pytest.param(np.float32, marks=pytest.mark.slow)]  # each is compiled anew
LOSS = "softmax_cross_entropy"
RATES = {"sgd": 0.1, "momentum": 0.02, "nesterov": 0.02, "adam": 0.01, "rmsprop": 0.01}
ORDERS = ["reshuffle", "once", "none", "replacement"]


@pytest.fixture
def make_stack(draw_examples, draw_network):
    """A stack of the replicas given, trained by the engine given."""

    def made(
        engine=Compiled, replicas=(0, 1, 2), loss=LOSS, activation="tanh", optimizer="sgd", batch_size=7,
        order="reshuffle", last_batch="keep", reduction="mean", dtype=np.float64, hidden=(5, 4), own_data=False,
        rate=None, level=None, watched=False, **hyperparameters,
    ):  # fmt: skip
        network = draw_network(loss, hidden, activation, replicas, dtype)
        train_set = draw_examples(loss, N, replicas if own_data else None, dtype)
        validation_set = draw_examples(loss, 20, replicas if own_data else None, dtype)
        rule = OPTIMIZERS[optimizer](network.params, RATES[optimizer] if rate is None else rate, **hyperparameters)
        cut = Batches(N, batch_size, order, last_batch, [np.random.default_rng([5, r]) for r in replicas])
        observer = OBSERVERS[level](N, 0.1, np.random.SeedSequence(0)) if level else None
        own = engine(network, rule, train_set, reduction)
        return Stack(range(len(replicas)), own, cut, validation_set, observer, record_batch_costs=watched)

    return made


def trained(stack: Stack, n_updates: int = 40) -> np.ndarray:
    stack.warm_up()
    stack.advance(n_updates)
    return stack.network.params.flat


def assert_same_but_for_rounding(make_stack, tolerance: float = 1e-10, **cell) -> None:
    """Relative to the largest weight of each replica; and training must have moved them by far more."""
    start = make_stack(**cell).network.params.flat
    own, vectorized = trained(make_stack(**cell)), trained(make_stack(Vectorized, **cell))
    assert own.dtype == vectorized.dtype
    scale = np.abs(vectorized).max(axis=1)
    assert (np.abs(own - vectorized).max(axis=1) <= tolerance * scale).all()
    assert (np.abs(vectorized - start).max(axis=1) > 1e-3 * scale).all()


@pytest.mark.sample(3)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_forty_updates_are_those_of_the_vectorized_engine(make_stack, loss, activation, optimizer):
    """Every loss × activation × rule, each in another order, over four epochs with a ragged last batch."""
    place = [*product(LOSSES, ACTIVATIONS, OPTIMIZERS)].index((loss, activation, optimizer))
    order = ORDERS[place % 4]
    assert_same_but_for_rounding(make_stack, loss=loss, activation=activation, optimizer=optimizer, order=order)


@pytest.mark.sample(12)
@pytest.mark.parametrize("last_batch", ["keep", "drop"])
@pytest.mark.parametrize("batch_size", [1, 2, 64, N])
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_and_batch_size(make_stack, order, batch_size, last_batch):
    for reduction, rate in (("mean", 0.1), ("sum", 0.1 / batch_size)):
        cell = {"order": order, "batch_size": batch_size, "last_batch": last_batch}
        assert_same_but_for_rounding(make_stack, reduction=reduction, rate=rate, **cell)


@pytest.mark.parametrize("hidden", [(), (1,), (5,), (6, 5, 4)], ids=str)
@pytest.mark.parametrize("batch_size", [1, 7])
def test_every_depth_and_data_per_replica(make_stack, hidden, batch_size):
    for own_data in (False, True):
        assert_same_but_for_rounding(make_stack, hidden=hidden, batch_size=batch_size, own_data=own_data)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_clipping_decay_and_a_rate_for_each_replica(make_stack, optimizer):
    rates = tuple(RATES[optimizer] * factor for factor in (1.0, 0.3, 2.0))
    assert_same_but_for_rounding(make_stack, optimizer=optimizer, rate=rates, weight_decay=0.05, clip_norm=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_single_precision(make_stack, optimizer):
    """The tolerance is that of the dtype; an adaptive rule's first step is a sign, which rounding can flip."""
    tolerance = 1e-4 if optimizer in ("adam", "rmsprop") else 1e-5
    for batch_size, activation in product((1, 7), ("sigmoid", "relu")):
        cell = {"optimizer": optimizer, "batch_size": batch_size, "activation": activation}
        assert_same_but_for_rounding(make_stack, tolerance, dtype=np.float32, **cell)


def history(stack: Stack, n_updates: int = 40) -> dict[int, tuple]:
    """Every checkpoint's numbers and the final weights of each replica, without what is looked at beside them."""
    points: dict[int, list] = {int(r): [] for r in stack.replicas}
    for record in train([stack], Budget(updates=n_updates)):
        for i, r in enumerate(record.replica):
            numbers = record.train_cost[i], record.validation_cost[i], record.validation_score[i]
            points[int(r)].append((record.update, *map(repr, numbers), record.outcome[i]))
    return {r: (own, stack.final[r].tobytes()) for r, own in points.items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 7, 64, N])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_in_a_stack_is_training_alone(make_stack, optimizer, batch_size, dtype):
    """To the bit, also when the one that trains alone is looked at: batch costs and diagnostics cut its runs short."""
    cell = {"optimizer": optimizer, "batch_size": batch_size, "dtype": dtype, "hidden": (5,)}
    stack = history(make_stack(Compiled, range(5), **cell))
    for r in (0, 3):
        assert history(make_stack(Compiled, (r,), **cell))[0] == stack[r]
        assert history(make_stack(Compiled, (r,), watched=True, level="cheap", **cell))[0] == stack[r]


@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_how_updates_are_cut_into_runs_changes_no_bit(make_stack, optimizer, batch_size):
    one, other = (make_stack(optimizer=optimizer, batch_size=batch_size) for _ in range(2))
    one.advance(40)
    for update in range(1, 41):
        other.advance(update)
    assert one.network.params.flat.tobytes() == other.network.params.flat.tobytes()
    assert one.update == other.update == one.engine.optimizer.n_steps == 40


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("D", [1, 3, 5, 10])
@pytest.mark.parametrize("hidden", [(), (20,), (9, 40)], ids=str)
def test_single_examples_of_any_number_of_inputs(hidden, D, dtype):
    """Inputs are taken four at a time, outputs a line at a time; in two runs, the second of which begins anew, too."""
    rng = np.random.default_rng(D)
    X, Y = rng.normal(size=(30, D)).astype(dtype), np.eye(3, dtype=dtype)[rng.integers(3, size=30)]
    rows = rng.permutation(30)
    trained_by = []
    one_run, two_runs = [slice(0, 30)], [slice(0, 11), slice(11, 30)]
    for engine, runs in ((Compiled, one_run), (Compiled, two_runs), (Vectorized, one_run)):
        params = Parameters.initialized((D, *hidden, 3), "glorot_normal", [np.random.default_rng(0)], dtype)
        own = engine(MLP(params, "tanh", LOSS), SGD(params, 0.3), (X, Y), "mean")
        for run in runs:
            own.make_updates(rows[None, run], 1)
        trained_by.append(params.flat)
    whole, cut, vectorized = trained_by
    assert whole.tobytes() == cut.tobytes()
    np.testing.assert_allclose(whole, vectorized, atol=2e-12 if dtype == np.float64 else 2e-4)


def test_replicas_trained_at_the_same_time_have_the_same_bits(make_stack):
    one, other = (trained(make_stack(partial(Compiled, threads=threads), range(6))) for threads in (1, 3))
    assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [1, 2, 64])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov"])
def test_sum_at_lr_over_b_is_mean_at_lr_to_the_bit(make_stack, optimizer, batch_size, dtype):
    """B = 2^k throughout (the ragged rest is dropped): dividing by it commutes with every rounding, fused or not."""
    cell = {"optimizer": optimizer, "batch_size": batch_size, "last_batch": "drop", "dtype": dtype}
    mean = trained(make_stack(reduction="mean", rate=0.05, **cell))
    total = trained(make_stack(reduction="sum", rate=0.05 / batch_size, **cell))
    assert mean.tobytes() == total.tobytes()


def test_the_reduction_is_the_one_of_its_own_place():
    """Not a second division by B: the very function, compiled."""
    assert unwrap(updates.inplace_compiled_reduce) is inplace_reduce


@pytest.mark.parametrize("own_data", [False, True], ids=["shared data", "data per replica"])
def test_survivors_do_not_notice_that_others_diverged(make_stack, own_data):
    """In silence, too: warnings are errors here."""
    rates = (0.1, 1e200, 0.1, 1e200, 0.1)
    stack = history(make_stack(Compiled, range(5), rate=rates, own_data=own_data))
    for r in (0, 2, 4):
        alone = make_stack(Compiled, (r,), own_data=own_data)
        assert history(alone)[0] == stack[r]
    assert [own[-1][-1] for own, _ in stack.values()] == 2 * [Outcome.COMPLETED, Outcome.DIVERGED] + [Outcome.COMPLETED]


@pytest.mark.sample(3)
@pytest.mark.parametrize("batch_size", [1, 7])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_replica_that_overflows_leaves_nothing_to_the_next(make_stack, loss, activation, optimizer, batch_size):
    """Within one call: infinite weights times the zeros of the padding are NaN, in rooms that all replicas share."""
    cell = {"loss": loss, "activation": activation, "optimizer": optimizer, "batch_size": batch_size}
    with np.errstate(all="ignore"):
        stack = trained(make_stack(Compiled, range(3), rate=(1e-3, 1e200, 1e-3), **cell))
    for r in (0, 2):
        alone = trained(make_stack(Compiled, (r,), rate=1e-3, **cell))
        assert np.isfinite(alone).all()
        assert alone[0].tobytes() == stack[r].tobytes()


def test_looks_at_single_batches_are_those_of_the_vectorized_engine(make_stack):
    """Batch costs of every update that is due and the figures of the observer: the batch is the one then used."""
    stacks = [make_stack(engine, (0,), watched=True, level="full") for engine in (Compiled, Vectorized)]
    own, vectorized = ([*train([stack], Budget(updates=300))] for stack in stacks)
    for one, other in zip(own, vectorized, strict=True):
        assert [cost[:2] for cost in one.batch_costs] == [cost[:2] for cost in other.batch_costs]
        np.testing.assert_allclose([c for *_, c in one.batch_costs], [c for *_, c in other.batch_costs], rtol=1e-8)
        assert (one.diagnostics is None) == (other.diagnostics is None)
        if one.diagnostics:
            assert one.diagnostics.gradient_norm == pytest.approx(other.diagnostics.gradient_norm, rel=1e-8)
            assert one.diagnostics.update_size == pytest.approx(other.diagnostics.update_size, rel=1e-8)
    assert updates_per_epoch(N, 7, "keep") == 10


def test_the_warm_up_moves_nothing(make_stack):
    stack = make_stack(optimizer="adam")
    before = stack.network.params.flat.tobytes()
    stack.warm_up()
    assert stack.network.params.flat.tobytes() == before
    assert (stack.update, stack.engine.optimizer.n_steps) == (0, 0)


def test_only_what_python_calls_is_a_function_of_its_own():
    """Parts are inlined: of a part that two entry points share, the copy that was loaded first would serve both."""
    separate = {name for name, value in every_function() if hasattr(value, "targetoptions")}
    assert separate == {"updates", "single_updates", "evaluate_rows", "copy_rows"}


def every_function():
    return [(name, value) for module in (functions, network, updates, vectors) for name, value in vars(module).items()]


TRAIN = """
import sys
import numpy as np
from harness.compiled import Compiled
from harness.network import MLP, OPTIMIZERS, Parameters
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(64, 4)), np.eye(3)[rng.integers(3, size=64)]
for word in sys.argv[1:]:
    rule, batch_size, hidden, activation = word.split(",")
    params = Parameters.initialized((4, int(hidden), 130, 3), "glorot_normal", [np.random.default_rng(1)])
    network = MLP(params, activation)
    engine = Compiled(network, OPTIMIZERS[rule](params, 0.01), (X, Y), "mean")
    engine.warm_up(int(batch_size))
    engine.make_updates(slice(0, 64), int(batch_size))
    print(params.flat.tobytes().hex(), *(value.tobytes().hex() for value in engine.evaluate(network, X, Y)))
"""


def trained_in_a_process_of_its_own(cache, *words: str) -> list[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", TRAIN, *words]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["adam,8,5,tanh", "sgd,1,5,tanh", "sgd,32,70,tanh"])
def test_what_was_compiled_before_changes_no_bit(tmp_path, cell):
    """Compiled now, loaded from disk, and after other cells, in the process or on the disk: parts are the same."""
    others = ["momentum,2,5,sigmoid", "sgd,1,70,sigmoid", "sgd,16,70,sigmoid"]
    (cold,) = trained_in_a_process_of_its_own(tmp_path / "one", cell)
    (warm,) = trained_in_a_process_of_its_own(tmp_path / "one", cell)
    *_, last = trained_in_a_process_of_its_own(tmp_path / "other", *others, cell)
    *_, mixed = trained_in_a_process_of_its_own(tmp_path / "other", cell.replace("tanh", "relu"), *others, cell)
    assert cold == warm == last == mixed


def test_the_first_use_removes_the_code_of_older_sources(tmp_path, monkeypatch):
    """Not that of another program, and none that somebody may just be compiling."""
    names = ["compiled-0123456789abcdef", "compiled-fedcba9876543210", "compiled-by-others", "updates"]
    for name in names:
        (tmp_path / name / "part").mkdir(parents=True)
        (tmp_path / name / "part" / "code.nbc").write_bytes(b"machine code")
        hour_ago = time.time() - compiler.KEPT_SECONDS - 10
        if name != names[1]:
            os.utime(tmp_path / name / "part" / "code.nbc", (hour_ago, hour_ago))
    monkeypatch.setattr(compiler, "CACHE", tmp_path / "compiled-00000000ffffffff")
    compiler.remove_old_caches()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])


def test_old_code_goes_although_the_import_has_made_the_new_place(tmp_path):
    old = tmp_path / "compiled-0123456789abcdef"
    old.mkdir()
    code = "from harness.compiled import compiler, engine; print(compiler.CACHE); compiler.remove_old_caches()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [str(path) for path in tmp_path.iterdir()] == [done.stdout.strip()]


def test_where_the_sources_cannot_be_written_to_each_has_a_place_of_the_user(tmp_path, monkeypatch):
    """Numba's own choice would be one place for all: code of older sources would train."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(compiler.numba.config, "CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    now = compiler.cache_directory()
    (tmp_path / "source.py").write_text("other")
    monkeypatch.setattr(compiler, "SOURCES", (*compiler.SOURCES, str(tmp_path / "source.py")))
    assert {now, compiler.cache_directory()} == set((tmp_path / "cache" / "harness").iterdir())
    assert now != compiler.cache_directory()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiler.cache_directory() is None
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(compiler.os.path, "expanduser", str)  # a user without a home, as in some containers
    monkeypatch.chdir(tmp_path)
    assert compiler.cache_directory() is None
    assert not (tmp_path / "~").exists()


def test_later_uses_remove_nothing(tmp_path, monkeypatch):
    """Two versions that take turns do not compile anew each time."""
    for name in ("compiled-0123456789abcdef", "compiled-00000000ffffffff"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.nbc").write_bytes(b"machine code")
        os.utime(tmp_path / name / "code.nbc", (0, 0))
    monkeypatch.setattr(compiler, "CACHE", tmp_path / "compiled-00000000ffffffff")
    compiler.remove_old_caches()
    assert len([*tmp_path.iterdir()]) == 2


def test_of_activations_and_losses_the_one_in_use_is_compiled(monkeypatch):
    """What is compiled, by name, for a type that nothing else here uses: arrays that are not aligned."""
    seen = []
    compile_part = compiler.compile_internal

    def noted(typing, target, library, function, *rest):
        seen.append(function.__name__)
        return compile_part(typing, target, library, function, *rest)

    monkeypatch.setattr(compiler, "compile_internal", noted)

    @numba.njit(error_model="numpy")
    def all_of_them(activation, loss, z, delta, y, rows, quality):
        functions.inplace_activation(activation, z)
        functions.inplace_backward(activation, delta, z)
        functions.inplace_delta(loss, z, 1, z.size, y, 0, rows, 1)
        return functions.costs(loss, z, 1, z.size, y, 0, 1, quality)

    numbers = np.zeros(16 * 4 + 1, np.uint8)[1:].view(np.float32)
    choices = compiler.Choice("relu"), compiler.Choice("half_squared_error")
    all_of_them(*choices, numbers, numbers, numbers, np.zeros(1, np.intp), np.zeros(1))
    assert {"inplace_relu", "inplace_backward_relu", "squared_errors"} <= set(seen)
    assert not [name for name in seen if "sigmoid" in name or "tanh" in name or "softmax" in name]


@numba.njit(error_model="numpy")
def add_products(C, width, S, factor, n_rows, A, r_places, row, k_places, step, n, B):
    network.add_products(C, 0, width, S, 0, width, factor, n_rows, A, 0, r_places, row, k_places, step, n, B, 0)


@pytest.mark.parametrize("width", [8, 16, 24])
def test_products_of_every_height(width):
    """A times B and Aᵀ times B with the rows of A in any order: whole tiles, fours, and what is left."""
    rng = np.random.default_rng(0)
    for n_rows, n in product([*range(1, 9), 11, 12, 17], [1, 3, 4, 9]):
        A, B, S = rng.normal(size=(n_rows, n)), rng.normal(size=(n, width)), rng.normal(size=(n_rows, width))
        rows, sums = rng.permutation(n_rows), rng.permutation(n)
        C, wanted = np.empty(S.size), (S + 0.5 * A @ B).ravel()
        add_products(C, width, S.ravel(), 0.5, n_rows, A[np.argsort(rows)].ravel(), rows, n, None, 1, n, B.ravel())
        np.testing.assert_allclose(C, wanted, atol=1e-13)
        add_products(
            C, width, S.ravel(), 0.5, n_rows, A.T[np.argsort(sums)].ravel(), None, 1, sums, n_rows, n, B.ravel()
        )
        np.testing.assert_allclose(C, wanted, atol=1e-13)


@numba.njit
def transpose(W, width, out, height):
    for i in range(0, height, vectors.lanes_of(W)):
        for j in range(0, width, vectors.lanes_of(W)):
            vectors.transpose_square(W, i * width + j, width, out, j * height + i, height)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_squares_are_transposed(dtype):
    W, out = np.arange(32 * 48, dtype=dtype).reshape(32, 48), np.empty(32 * 48, dtype)
    transpose(W.ravel(), 48, out, 32)
    assert (out.reshape(48, 32) == W.T).all()


@numba.njit(error_model="numpy")
def inplace_exp(z):
    vectors.inplace_exp(z)


@pytest.mark.parametrize(("dtype", "limit"), [(np.float64, 700), (np.float32, 86)])
def test_the_exponential_is_right_to_two_units_in_the_last_place(dtype, limit):
    x = np.concatenate([np.linspace(-limit, limit, 100_001), np.linspace(-1, 1, 100_001)]).astype(dtype)
    own, exact = x.copy(), np.exp(x.astype(np.longdouble))
    inplace_exp(own)
    assert (np.abs(own - exact) <= 2 * np.spacing(exact.astype(dtype))).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_exponential_lets_nan_through_and_never_leaves_the_range(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0], dtype)
    inplace_exp(x)
    assert np.isnan(x[0])
    assert np.isfinite(x[1:]).all()
    assert x[1] > 1e38 > 1 == x[3] > 1e-37 > x[2] > 0


def test_a_missing_numba_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(config, "find_spec", lambda name: None)
    rule = config.RULES["engine"]
    assert 'pip install -e ".[compiled]"' in rule.allowed
    assert not rule.holds("compiled")
    assert rule.holds("vectorized")
