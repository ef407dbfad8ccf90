"""Each lesson runs without a warning, and the numbers that it tells are checked against something else."""

import importlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from examples import exports

pytest.importorskip("marimo", reason="no marimo (pip install -e '.[lessons]')")
pytestmark = pytest.mark.xdist_group("lessons")
EXAMPLES = exports.HERE


@pytest.fixture(scope="module")
def names():
    """Run a lesson, once, and give what its cells define."""
    ran = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        patch.setattr(sys, "argv", ["lesson"])

        def run(number):
            if number not in ran:
                (path,) = EXAMPLES.glob(f"lesson_{number}_*.py")
                _, ran[number] = importlib.import_module(path.stem).app.run()
            return ran[number]

        yield run


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class TestLesson1:
    def test_the_gradients_are_those_of_the_formula(self, names):
        found = names(1)
        for x, y, gradient in zip(found["X"], found["Y"][:, 0], found["per_example"], strict=True):
            delta = sigmoid(0.5 * x[0] - 0.5 * x[1]) - y
            np.testing.assert_allclose(gradient, [delta * x[0], delta * x[1], delta], rtol=1e-13)
        np.testing.assert_allclose(found["batch_gradient"], found["per_example"].sum(axis=0), rtol=1e-13)
        assert found["cosine"] == pytest.approx(1)

    def test_central_differences_agree_with_the_mean_of_the_gradients(self, names):
        np.testing.assert_allclose(names(1)["numeric"], names(1)["per_example"].mean(axis=0), rtol=1e-8)

    def test_sum_and_mean_agree_to_the_bit_then_to_rounding_then_not(self, names):
        found = names(1)
        assert found["whole"] == 0
        assert 0 < found["three"] < 1e-14
        assert found["ragged"] > 0.1

    def test_the_printed_sign_is_the_opposite_and_the_bias_step_is_seen_only_as_a_sum(self, names):
        found, costs = names(1), names(1)["bias_costs"]
        np.testing.assert_allclose(found["printed_sign"], -found["per_example"][:, 2], rtol=1e-12)
        assert costs["no rate"] == pytest.approx(costs["right"], abs=0.01)
        assert costs["no rate, sum"] > 10 * costs["right"]


class TestLesson2:
    def test_the_path_of_the_whole_set_is_gradient_descent(self, names):
        found = names(2)
        x, y, course = found["X"][:, 0], found["Y"][:, 0], found["courses"][256]
        (w, b), path = found["start"], [found["start"]]
        for _ in range(int(course.updates[-1])):
            delta = sigmoid(w * x + b) - y
            w, b = w - found["RATE"] * (delta * x).mean(), b - found["RATE"] * delta.mean()
            path.append((w, b))
        np.testing.assert_allclose(course.flat[:, 0], np.array(path)[course.updates], rtol=1e-9)

    @pytest.mark.slow
    def test_the_answer_on_the_clocks_is_what_the_text_says(self, names):
        reached = names(2)["reached"]
        assert names(2)["ahead"]["epochs"] == 1
        assert max(reached["updates"].values()) < 1.5 * min(reached["updates"].values())
        assert all(np.isfinite(value) for times in reached.values() for value in times.values())

    def test_the_cloud_follows_the_law_of_batches_without_replacement(self, names):
        """Against the covariance as NumPy computes it; 400 batches leave a tenth or so of scatter."""
        found = names(2)
        S = np.trace(np.cov(found["single"].T))
        for B, variance in found["spread"].items():
            assert found["law"][B] == pytest.approx(S / B * (1 - B / 256), rel=1e-9)
            assert variance == pytest.approx(found["law"][B], rel=0.25)

    def test_one_example_at_a_time_goes_on_moving(self, names):
        tail = names(2)["tail"]
        assert tail[1] > 10 * max(tail[64], tail[256])


class TestLesson3:
    def test_sum_at_a_rate_divided_by_the_batch_is_the_mean_to_the_bit(self, names):
        assert names(3)["apart"] == 0
        assert not np.array_equal(names(3)["mean"].flat, names(3)["total"].flat)

    def test_the_costs_under_the_pictures_are_those_of_the_weights(self, names):
        found = names(3)
        flat = found["mean"].flat[-1, 0]
        hidden = np.tanh(found["X"] @ flat[:32].reshape(2, 16) + flat[32:48])
        z, y = hidden @ flat[48:64] + flat[64], found["Y"][:, 0]
        cost = -(y * np.log(sigmoid(z)) + (1 - y) * np.log(sigmoid(-z))).mean()
        assert found["mean"].costs[-1, 0] == pytest.approx(cost)

    def test_a_rate_that_is_good_for_the_mean_breaks_the_sum(self, names):
        mean, total = names(3)["large_mean"].costs[:, 0], names(3)["large_sum"].costs[:, 0]
        assert mean[-1] < 0.1
        assert np.median(total[len(total) // 2 :]) > np.log(2)


class TestLesson4:
    def test_sum_and_mean_have_the_same_curves(self, names):
        assert names(4)["same"] == 0

    @pytest.mark.sample(1)
    @pytest.mark.parametrize("data", ["rings", "moons", "line"])
    def test_the_best_rate_rises_for_the_mean_and_not_for_the_sum(self, names, data):
        names(4)
        training = sys.modules["training"]
        best = {}
        for kind in ("mean", "sum"):
            for B in (1, 128):
                curve = training.u_curve(data, B, kind)
                best[kind, B] = curve["rates"][int(np.argmin(curve["median"]))]
        assert best["mean", 128] >= 8 * best["mean", 1]
        assert best["sum", 128] <= best["sum", 1]

    def test_a_move_of_a_slider_takes_less_than_a_second(self, names):
        names(4)
        began = time.process_time()
        sys.modules["training"].bands("moons", 1, 0.1, "mean")  # the most updates that a slider can ask for
        assert time.process_time() - began < 1

    def test_one_rate_for_all_and_the_best_rate_of_each_are_told_from_the_curves(self, names):
        found = names(4)
        for B, curve in found["curves"]["mean"].items():
            assert found["lowest"][B] == min(curve["median"]) <= found["at_one"][B]


class TestLesson5:
    def test_the_score_by_hand_is_the_one_of_the_table(self, names):
        assert names(5)["difference"] == 0
        assert len(names(5)["by_hand"]) == len(names(5)["cells"]) == 18

    @pytest.mark.slow
    def test_the_figure_over_lr_mean_puts_the_sum_where_the_mean_is(self, names):
        cells = names(5)["cells"]
        at_one = cells[cells["batch_size"] == 1].set_index(["lr_mean", "reduction"])["score"].unstack()
        assert (at_one["mean"] == at_one["sum"]).all()
        lines = names(5)["own_figure"]("lr_mean").axes[0].get_lines()
        assert len(lines) == 6
        assert not np.array_equal(lines[2].get_xdata(), lines[3].get_xdata())  # B = 8: mean, sum


@pytest.mark.slow
@pytest.mark.parametrize("lesson", exports.LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_as_a_script_without_a_warning(lesson, tmp_path):
    command = [sys.executable, "-W", "error", str(lesson)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_lesson_5_reads_a_sweep_of_the_store(tmp_path):
    """A training, then the lesson with the id that the command printed."""
    train = [sys.executable, "-m", "harness", "-m", "dataset=iris", "batch_size=8,64", "epochs=1", "seeds=2"]
    done = subprocess.run(train, cwd=tmp_path, capture_output=True, text=True, env=environment(), check=True)
    (run_id,) = set(re.findall(r"^Report: .*/([0-9a-f]{32})/", done.stderr, re.MULTILINE))
    code = (
        "import sys; from lesson_5_own_figure import app; _, names = app.run();"
        "print(names['cells']['batch_size'].tolist(), names['difference'])"
    )
    read = [sys.executable, "-c", code, "--run", run_id]
    env = environment(EXAMPLES)
    done = subprocess.run(read, cwd=tmp_path, capture_output=True, text=True, env=env, check=True)
    assert done.stdout.split("\n")[-2] == "[8.0, 64.0] 0.0"


def environment(*folders: Path) -> dict[str, str]:
    """The surroundings of a command, without stores of elsewhere; the code is the one of this checkout."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "HARNESS_"))}
    return kept | {"PYTHONPATH": os.pathsep.join(map(str, [*folders, EXAMPLES.parent]))}
