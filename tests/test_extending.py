"""docs/extending.md is followed to the letter: its files are written where it says, its commands are run there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import harness
from harness.app.command import configurations
from harness.config import ConfigError, check
from harness.data import load, load_stored
from harness.network import ACTIVATIONS, LOSSES, OPTIMIZERS, ExtensionError, extensions
from harness.training import Cell, code_digest, identify

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf8")
FILES = dict(re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
SMALL = ["epochs=2", "seeds=2"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files of the page, in the current folder."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one(*words):
    (config,) = configurations(list(words))
    check(config)
    return config


def signature(*words):
    config = one(*words)
    return identify(config, load(config.dataset)).signature


def test_the_page_has_a_file_and_a_command_for_everything_in_its_table():
    kinds = set(re.findall(r"^\| [\w ]+ \| `extensions/(\w+)/NAME.py`", PAGE, re.MULTILINE))
    assert kinds == {
        "activations", "losses", "optimizers", "learning_rate_rules", "schedules", "datasets", "figures",
    }  # fmt: skip
    assert kinds == {name.split("/")[1] for name in FILES if name.startswith("extensions/")}
    assert len(COMMANDS) == 9


@pytest.mark.drawn
@pytest.mark.slow
def test_every_command_of_the_page_runs(folder, project):
    own = type(project)(folder, "page", project.capsys)
    for line in COMMANDS:
        if line == "python check_gradient.py":
            done = subprocess.run([sys.executable, *shlex.split(line)[1:]], capture_output=True, text=True, check=True)
            assert float(done.stdout) < 1e-6
            continue
        words = shlex.split(line.removeprefix("python -m harness "))
        code, said = own.run(*words)
        assert code == 0, (line, said)
        assert "left out" not in said, said
    cells, sweeps = own.runs("cell"), own.runs("sweep")
    named = {value for run in cells for value in run.data.params.values()}
    assert {"leaky_relu", "log_cosh", "signum", "quadratic", "spirals"} <= named
    assert {run.data.params["learning_rate"] for run in cells if run.data.params["batch_size"] == "8"} > {"0.05"}
    assert "figures/spread.png" in own.files(sweeps[-2], "figures")
    assert sweeps[-1].data.tags["study"] == "leaky"
    assert "verdict.X1" in sweeps[-1].data.tags or any("X1" in key for key in sweeps[-1].data.tags)
    code, said = own.run("verify", cells[0].info.run_id)
    assert code == 0, said


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("activations/leaky_relu", ["model.activation=leaky_relu", "dataset=iris"]),
        ("losses/log_cosh", ["model.loss=log_cosh", "dataset=diabetes"]),
        ("optimizers/signum", ["optimizer=signum", "dataset=iris"]),
        ("schedules/quadratic", ["learning_rate_schedule=quadratic", "dataset=iris"]),
    ],
)
def test_a_changed_extension_is_another_cell(folder, kind, words):
    path, plain = folder / "extensions" / f"{kind}.py", ["dataset=iris"]
    before, others = signature(*words), signature(*plain)
    path.write_text(path.read_text() + "# a remark\n")
    extensions._from_file.cache_clear()  # as in a process that starts now
    assert signature(*words) != before
    assert signature(*plain) == others
    config = one(*plain)
    assert identify(config, load(config.dataset)).code == code_digest()


def test_a_process_runs_the_code_whose_digest_it_gave(folder):
    words = ["model.activation=leaky_relu", "dataset=iris"]
    before, leaky = signature(*words), ACTIVATIONS["leaky_relu"]
    (folder / "extensions/activations/leaky_relu.py").write_text("leaky_relu = 1")
    assert signature(*words) == before
    assert ACTIVATIONS["leaky_relu"] is leaky


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.activation=leaky_relu", "engine=compiled"], "engine: expected vectorized, because"),
        (["model.activation=leaky_relu", "engine=per_example"], "no code for model.activation=leaky_relu"),
        (["optimizer=signum", "engine=compiled"], "no code for optimizer.name=signum"),
        (["model.activation=leaky_relu", "log_model=true"], "log_model: expected false"),
        (["model.activation=../x"], "model.activation: expected sigmoid | tanh | relu | identity | leaky_relu, got"),
        (["model.loss=huber"], "model.loss: expected "),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(folder, words, message):
    pytest.importorskip("numba")
    with pytest.raises(ConfigError, match=re.escape(message)) as refused:
        one(*words)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("broken = (", "SyntaxError"),
        ("import nothing_like_it", "ModuleNotFoundError"),
        ("other = 1", "AttributeError"),
        ("broken = 1", "expected broken to be an Activation"),
        ("raise SystemError('a\\nb')", "SystemError: a b"),
    ],
)
def test_a_broken_extension_is_refused_before_anything_is_trained(folder, text, message):
    path = folder / "extensions" / "activations" / "broken.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as refused:
        one("model.activation=broken")
    assert "extensions/activations/broken.py" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("value", ["float('nan')", "100", "True"])
def test_a_rule_that_is_no_finite_number_is_refused_with_its_value(folder, value):
    (folder / "extensions" / "learning_rate_rules" / "bad.py").write_text(f"bad = {value}\n")
    form = "bad to be a number between -100 and 100, the exponent of B / reference_batch_size"
    with pytest.raises(ConfigError, match=f"expected {form}, got {eval(value)}"):
        one("learning_rate_rule=bad")


def test_a_schedule_is_for_every_engine(folder):
    """It runs before an update, not in it: the engines make the same of it."""
    import harness.network

    words = ["dataset=iris", "learning_rate_schedule=quadratic", "warm_up_epochs=1", "epochs=4", "seeds=2"]
    found = []
    for engine in ("vectorized", "per_example"):
        config = one(*words, f"engine={engine}")
        cell = Cell(config, load(config.dataset))
        list(cell.train())
        found.append(cell.result().parameters.flat)
    np.testing.assert_allclose(*found, rtol=0, atol=1e-12)
    at = harness.network.Moments(np.arange(3), np.array([0.0, 2.0, 4.0]), 4.0, 90, 0.0, (), 5.0)
    assert harness.network.SCHEDULES["quadratic"](at).tolist() == [1, 0.25, 0]


def test_a_schedule_that_raises_fails_its_cell_and_one_without_factors_is_refused(folder, project):
    schedules = folder / "extensions" / "schedules"
    (schedules / "raises.py").write_text("def raises(at):\n    return 1 / 0\n")
    (schedules / "falls.py").write_text("def falls(at):\n    return -at.epoch - 1\n")
    own = type(project)(folder, "schedule", project.capsys)
    for name, code, line in (
        ("raises", 1, "learning_rate_schedule: extensions/schedules/raises.py, line 2: ZeroDivisionError: division"),
        ("falls", 2, "learning_rate_schedule: expected falls to return a finite factor >= 0 for each of 1 update"),
    ):
        ended, said = own.run(f"learning_rate_schedule={name}", "dataset=iris", *SMALL)
        assert (ended, line in said) == (code, True), said
        assert "Traceback" not in said


def test_what_a_dataset_may_be_given_is_its_own(folder):
    with pytest.raises(ConfigError) as refused:
        one("dataset=spirals", "dataset.load.q=3")
    assert "(dataset=spirals has n_samples, turns, noise, random_state)" in str(refused.value)
    assert "+dataset" not in str(refused.value)
    (folder / "extensions" / "datasets" / "empty.py").write_text(
        "import numpy as np\n\n\ndef empty():\n    return np.empty((0, 2)), np.empty(0)\n"
    )
    with pytest.raises(ConfigError, match=r"at least one example, got '0 examples, 0 targets'"):
        load(one("dataset=empty").dataset)


def test_a_name_of_the_harness_is_refused(folder):
    (folder / "extensions" / "activations" / "tanh.py").write_text("tanh = None")
    with pytest.raises(ConfigError, match=r"tanh\.py: expected a name that the harness does not have"):
        one("model.activation=tanh")
    assert one("model.activation=relu").model.activation == "relu"


def test_a_loss_of_another_task_is_refused(folder):
    config = one("model.loss=log_cosh", "dataset=iris")
    with pytest.raises(ConfigError, match=r"model\.loss: expected null, softmax_cross_entropy or"):
        Cell(config, load(config.dataset))
    config = one("model.loss=sigmoid_cross_entropy", "dataset=iris")
    with pytest.raises(ConfigError, match=r"model\.loss"):
        Cell(config, load(config.dataset))


@pytest.mark.parametrize(
    ("dataset", "loss"),
    [("iris", "softmax_cross_entropy"), ("breast_cancer", "sigmoid_cross_entropy"), ("diabetes", "half_squared_error")],
)
def test_the_loss_of_the_task_by_its_name_is_the_same_cell_as_null(dataset, loss):
    assert signature(f"dataset={dataset}", f"model.loss={loss}") == signature(f"dataset={dataset}")
    config = one(f"dataset={dataset}", f"model.loss={loss}")
    assert Cell(config, load(config.dataset)).config.model.loss is None


def test_a_loss_of_a_regression_says_so_where_it_is_refused():
    config = one("dataset=iris", "model.loss=half_squared_error")
    with pytest.raises(ConfigError, match=r"for a classification, .* \(half_squared_error is for a regression\), got"):
        Cell(config, load(config.dataset))


def test_a_stored_configuration_names_what_is_here_and_no_path(folder):
    """Not another module, not a file, and no argument that could be a path."""
    config = one("dataset=spirals").dataset
    assert load_stored(config).X.shape == (400, 2)
    for target in ("extensions.missing", "extensions.datasets.spirals", "extensions./tmp/x", "os.system"):
        config.load["_target_"] = target
        with pytest.raises(ConfigError, match=r"dataset\.load\._target_"):
            load_stored(config)
    config.load |= {"_target_": "extensions.spirals", "noise": "/etc/passwd"}
    with pytest.raises(ConfigError, match=r"dataset\.load\.noise: expected numbers"):
        load_stored(config)


def test_nothing_is_imported_that_is_not_asked_for(folder):
    """Names are listed without running a file."""
    (folder / "extensions" / "activations" / "trap.py").write_text("raise SystemExit('was run')")
    assert "trap" in ACTIVATIONS.names()
    assert one("dataset=iris").model.activation == "sigmoid"
    assert list(ACTIVATIONS) == ["sigmoid", "tanh", "relu", "identity"]
    assert [*LOSSES, *OPTIMIZERS] == [
        "sigmoid_cross_entropy", "softmax_cross_entropy", "half_squared_error", "sgd", "momentum", "nesterov", "adam",
        "rmsprop",
    ]  # fmt: skip


def test_a_package_offers_an_extension_by_an_entry_point(tmp_path, monkeypatch):
    about = tmp_path / "more_harness-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: more-harness\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[harness.activations]\nleaky_relu = more_leaky:leaky_relu\n")
    (tmp_path / "more_leaky.py").write_text(FILES["extensions/activations/leaky_relu.py"])
    extensions._offered.cache_clear()
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        assert "leaky_relu" in ACTIVATIONS.names()
        plain = signature("dataset=iris")
        assert signature("dataset=iris", "model.activation=leaky_relu") != plain
        Z = np.array([-1.0, 2.0])
        ACTIVATIONS["leaky_relu"].inplace(Z)
        assert list(Z) == [-0.01, 2.0]
    extensions._offered.cache_clear()
    with pytest.raises(KeyError):
        ACTIVATIONS["leaky_relu"]


FIGURE = "from matplotlib.figure import Figure\n\n\ndef spread(data, answer):\n"


@pytest.mark.slow
@pytest.mark.drawn
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("    return 1 / 0\n", "ZeroDivisionError: division by zero"),
        ("    return 1\n", "TypeError: expected a matplotlib Figure or None, got int"),
        ("    f = Figure()\n    f.suptitle('$\\\\nonsense$')\n    return f\n", "ValueError: "),  # while it is drawn
        ("    return Figure(figsize=(0.001, 0.001))\n", "ValueError: "),
        ("    return Figure(figsize=(3, 200))\n", ""),  # as large as it is
    ],
    ids=["raises", "no figure", "not to be drawn", "empty", "tall"],
)
def test_a_figure_that_fails_costs_itself(folder, project, body, why):
    (folder / "extensions" / "figures" / "spread.py").write_text(FIGURE + body)
    own = type(project)(folder, "figure", project.capsys)
    code, said = own.run("-m", "dataset=iris", "batch_size=8,64", *SMALL)
    assert code == 0, said
    assert f"harness: the figure spread was left out: {why}" in said if why else "left out" not in said
    sweep = own.runs("sweep")[0]
    assert "report.html" in own.files(sweep)
    assert ("figures/spread.png" in own.files(sweep)) == (not why)


def test_a_dataset_that_raises_is_refused_in_one_line(folder, project):
    (folder / "extensions" / "datasets" / "boom.py").write_text("def boom():\n    return 1 / 0\n")
    code, said = type(project)(folder, "boom", project.capsys).run("dataset=boom")
    assert code == 2
    assert said == (
        "harness: dataset.load: expected extensions.boom to return (X, y) (extensions/datasets/boom.py, line 2), "
        "got 'ZeroDivisionError: division by zero'\n"
    )


@pytest.mark.slow
def test_an_activation_that_raises_fails_its_cells_in_one_line_and_no_others(folder, project):
    path = folder / "extensions" / "activations" / "err.py"
    path.write_text(
        "from harness.network import Activation\n\n\ndef fails(Z):\n    raise RuntimeError('so\\nit is')\n\n\n"
        "err = Activation(fails, fails)\n"
    )
    line = "harness: a cell failed: model.activation: extensions/activations/err.py, line 5: RuntimeError: so it is\n"
    own = type(project)(folder, "err", project.capsys)
    for words, n_finished in ([], 0), (["-m", "batch_size=8,64"], 2):
        code, said = own.run(*words, f"model.activation=err{',tanh' * bool(words)}", "dataset=iris", *SMALL)
        assert code == 1
        assert line in said
        assert "Traceback" not in said
        assert sum(run.info.status == "FINISHED" for run in own.runs("cell")) == n_finished
    with pytest.raises(RuntimeError, match="so\nit is"):  # a program gets the error itself, with its traceback
        harness.train("iris", activation="err", epochs=1, seeds=1)


def test_a_verb_that_meets_an_extension_that_raises_says_so_in_one_line(folder, project):
    (folder / "extensions" / "activations" / "late.py").write_text(
        "import os\n\nfrom harness.network import Activation\n\n\ndef passes(*arrays):\n"
        "    if os.path.exists('stop'):\n        raise RuntimeError('stopped')\n\n\nlate = Activation(passes, passes)\n"
    )
    own = type(project)(folder, "verb", project.capsys)
    assert own.run("model.activation=late", "dataset=iris", *SMALL)[0] == 0
    (folder / "stop").touch()
    code, said = own.run("verify", own.runs("cell")[0].info.run_id)
    assert code == 2
    fault = "harness: model.activation: extensions/activations/late.py, line 8: RuntimeError: stopped"
    assert said.splitlines()[-1] == fault
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib"])
def test_workers_find_the_files(folder, launcher):
    words = ["dataset=spirals", "model.activation=leaky_relu", "optimizer=signum", "batch_size=8,64", *SMALL]
    command = [sys.executable, "-m", "harness", "-m", *words, f"hydra/launcher={launcher}", "cells_per_job=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 cells trained" in done.stderr


def test_an_extension_error_is_one_line():
    with pytest.raises(KeyError):
        OPTIMIZERS["Not a name"]
    assert issubclass(ExtensionError, ValueError)
