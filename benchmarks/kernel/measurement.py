"""Times of the arms, in rounds in which they take turns, after a check that all train alike."""

from time import perf_counter

import numpy as np

from benchmarks.kernel.arms import KINDS, SIZES, Arm, Kind, Problem, Products, problem
from harness.network import MLP, Parameters, evaluate

SECONDS = 0.06  # that a turn of an arm lasts at least
ROUNDS = 9
SHORT_SIZES, FLOORS = (1, 64, 512), {1: 2.5, 64: 1.5, 512: 1.2}  # scikit-learn's time over ours
TOLERANCE = {"float64": 1e-9, "float32": 1e-3}  # of the cost after two epochs, relative


def check(arms: dict[str, Arm], problem: Problem) -> None:
    """Two epochs, then the costs of all first networks: the same but for rounding, and lower than at the start."""
    start = _cost(Parameters(SIZES, problem.start.flat[:1]), problem)
    costs = {}
    for name, arm in arms.items():
        arm.epochs(2)
        if not isinstance(arm, Products):
            costs[name] = _cost(arm.first(), problem)
    low, high = min(costs.values()), max(costs.values())
    if not (high - low <= TOLERANCE[problem.dtype] * high and high < start):
        raise SystemExit(f"B = {problem.batch_size}, {problem.dtype}: different costs, from {start}: {costs}")


def _cost(params: Parameters, problem: Problem) -> float:
    network = MLP(Parameters(SIZES, params.flat.astype(np.float64)))
    return float(evaluate(network, problem.X.astype(np.float64), problem.targets().astype(np.float64))[0][0])


def timed(arm: Arm, n_epochs: int, n_batches: int) -> float:
    """Microseconds per update and network."""
    started = perf_counter()
    arm.epochs(n_epochs)
    return (perf_counter() - started) / (n_epochs * n_batches * arm.width) * 1e6


def measure(problem: Problem, kinds: tuple[Kind, ...], n_rounds: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """({arm: microseconds in each round}, {arm: seconds of compilation})."""
    arms = {kind.name: kind.build(problem) for kind in kinds}
    check(arms, problem)
    turns = {}
    for name, arm in arms.items():
        seconds = timed(arm, 1, problem.n_batches) * 1e-6 * problem.n_batches * arm.width
        turns[name] = max(1, round(SECONDS / seconds))
    times: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for i in range(n_rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            times[name].append(timed(arms[name], turns[name], problem.n_batches))
    compilation = {name: arm.compile_seconds for name, arm in arms.items() if arm.compile_seconds}
    return {name: np.array(values) for name, values in times.items()}, compilation


def ratio(times: dict[str, np.ndarray], name: str, ours: str) -> float:
    """How many times as long `name` takes, as the median of the rounds."""
    return float(np.median(times[name] / times[ours]))


def short() -> int:
    """scikit-learn against ours; 1 when a ratio is below its floor."""
    kinds = tuple(kind for kind in KINDS if kind.name in ("harness", "scikit-learn"))
    failed = False
    for batch_size in SHORT_SIZES:
        times, _ = measure(problem(batch_size, "float64"), kinds, ROUNDS)
        own = ratio(times, "scikit-learn", "harness")
        failed |= own < FLOORS[batch_size]
        print(f"B = {batch_size:3d}: scikit-learn takes {own:.2f} × as long; floor {FLOORS[batch_size]}")
    return int(failed)
