"""Python's names and values arrive in the configuration as they are; what is wrong is refused in one line."""

from dataclasses import asdict
from inspect import signature
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.api.keywords import FULL_NAMES, _text, full_name, keywords, words_of
from harness.api.training import planned
from harness.app.command import configurations
from harness.config.schema import Config, ConfigError, flatten


def one(**settings) -> Config:
    (config,) = configurations(["-m", *words_of({}, settings)])
    return config


def test_the_defaults_of_the_signature_are_those_of_the_configuration_files():
    defaults = flatten(asdict(one())) | {"dataset": "digits", "model": "mlp", "optimizer": "sgd"}
    shown = {name: parameter.default for name, parameter in signature(keywords).parameters.items()}
    of_parts = {name for name in shown if name in FULL_NAMES} | {"target_column"}
    assert {name for name in of_parts if shown[name] is not None} == set()
    assert {name: defaults[name] for name in shown if name not in of_parts} == {
        name: value for name, value in shown.items() if name not in of_parts
    }


def test_every_setting_of_a_cell_has_a_keyword():
    of_commands = {"study", "size", "rerun", "dry_run", "cells_per_job", "log_model"}
    keys = {key for key in flatten(asdict(one())) if "." not in key} - of_commands
    assert keys | {"dataset", "model", "optimizer", "target_column", *FULL_NAMES} == set(signature(keywords).parameters)


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        ({"batch_size": np.int64(8)}, "batch_size", 8),
        ({"learning_rate": np.float64(1e-5)}, "learning_rate", 1e-5),
        ({"milestones": (2, 4), "batch_size_schedule": "step"}, "milestones", [2, 4]),
        ({"learning_rate": 0.1 + 0.2}, "learning_rate", 0.1 + 0.2),
        ({"hidden": (64, 32)}, "model.hidden", [64, 32]),
        ({"model.hidden": np.array([16])}, "model.hidden", [16]),
        ({"hidden": []}, "model.hidden", []),
        ({"model": "linear", "hidden": None}, "model.hidden", []),
        ({"resample": np.True_}, "dataset.resample", True),
        ({"epochs": None, "updates": 5}, "epochs", None),
        ({"optimizer": "adam", "beta1": None}, "optimizer.beta1", 0.9),
        ({"diagnostics": "off"}, "diagnostics", "off"),
        ({"dataset": "blobs", "dataset.load.n_samples": 300}, "dataset.load.n_samples", 300),
        ({"dataset": "blobs", "dataset.load.centers": [[0.5, 1], [2, 3]]}, "dataset.load.centers", [[0.5, 1], [2, 3]]),
        (
            {"dataset": "file", "dataset.load.path": r"C:\a, b\it's=[x].csv"},
            "dataset.load.path",
            r"C:\a, b\it's=[x].csv",
        ),
    ],
)
def test_a_value_arrives_as_it_is(settings, key, value):
    assert flatten(asdict(one(**settings)))[key] == value


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])).filter(lambda text: "${" not in text))
@example("null")
@example("nan")
@example("true")
@example("e5")
@example("infinite")
@example("float64")
def test_text_is_only_text(text):
    """Quotes, commas, brackets and backslashes are not grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (parsed,) = OverridesParser.create().parse_overrides([f"key={_text('key', text)}"])
    assert parsed.value() == text


def test_a_grid_is_the_product_of_its_values():
    grid = {"batch_size": [1, "full"], "model.hidden": [[32], [64, 32]], "learning_rate": np.array([0.1, 1])}
    found = configurations(["-m", *words_of(grid, {"seeds": 3})])
    cells = [(config.batch_size, config.model.hidden, config.learning_rate, config.seeds) for config in found]
    assert cells == [(B, hidden, rate, 3) for B in (1, "full") for hidden in ([32], [64, 32]) for rate in (0.1, 1)]


@pytest.mark.sample(10)
@pytest.mark.parametrize(
    ("grid", "settings", "message"),
    [
        ({}, {"epoch": 3}, r"epoch: expected a known keyword \(did you mean epochs\? help\(harness.train\)"),
        ({"batchsize": [1]}, {}, r"batchsize: expected a known keyword \(did you mean batch_size\?"),
        ({}, {"rerun": "all"}, r"rerun: expected a known keyword \(rerun belongs to the command line"),
        ({}, {"size": "small"}, r"size: .* belongs to the command line: python -m harness size=..."),
        ({}, {"dry_run": True}, "dry_run: .* belongs to the command line"),
        ({}, {"lr": 0.1}, r"lr: .*did you mean learning_rate\?"),
        ({}, {"bs": 4}, r"bs: .*did you mean batch_size\?"),
        ({}, {"batch": 4}, r"batch: .*did you mean batch_size\?"),
        ({}, {"optim": "adam"}, r"optim: .*did you mean optimizer\?"),
        ({}, {"learning_rate": np.ones(3)}, r"learning_rate: expected one value .* got an array of shape \(3,\)"),
        ({}, {"batch_size": pd.DataFrame({"a": [1, 2]})}, r"one value .* got a DataFrame of shape \(2, 1\)"),
        ({}, {"hidden": np.ones((90, 40))}, r"model.hidden: expected a list of integers .{,250}$"),
        (
            {"dataset": [(np.ones((90, 4)), np.ones(90))]},
            {},
            r"dataset: expected the name of a dataset in a grid \(data from Python is a keyword: dataset=\(X, y\)\), "
            r"got \(an array of shape \(90, 4\), an array of shape \(90,\)\)$",
        ),
        ({}, {"threads": 4096}, "threads: expected at most .*, the cores of this machine, got 4096"),
        ({}, {"hydra.job.name": "x"}, "hydra.job.name: expected a known keyword"),
        ({}, {"model.hiden": [3]}, r"model.hiden: expected a known key \(did you mean model.hidden\?"),
        ({}, {"batch_size": [1, 64]}, r"batch_size: expected one value \(harness.sweep trains a cell for each"),
        ({}, {"batch_size": 0}, "batch_size: expected an integer >= 1 or full, got 0"),
        ({}, {"seeds": 2.5}, "seeds: expected an integer >= 1, or auto in a sweep, got '2.5'"),
        ({}, {"learning_rate": float("inf")}, "learning_rate: expected a finite number > 0, got inf"),
        ({}, {"learning_rate": object}, "learning_rate: expected a number, text, a truth value"),
        ({}, {"dataset": "irs"}, "dataset: expected blobs .* got 'irs'"),
        ({}, {"optimizer": 3}, "optimizer: expected a name"),
        ({}, {"optimizer": "adam", "momentum": 0.5}, "optimizer.momentum: expected null"),
        ({}, {"epochs": None}, "epochs: expected a budget"),
        ({}, {"target": "price"}, r"target: expected a cost per example \(target_column names the column to predict\)"),
        ({"batch_size": 64}, {}, "batch_size: expected a list of values in the grid"),
        ({"reduction": "sum"}, {}, "reduction: expected a list of values in the grid"),
        ({"batch_size": []}, {}, "batch_size: expected at least one value in the grid"),
        ({"batch_size": [1]}, {"batch_size": 2}, "batch_size: expected each key once"),
        ({}, {"hidden": [3], "model.hidden": [3]}, "model.hidden: expected each key once"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(grid, settings, message):
    with pytest.raises(ConfigError, match=message) as refused:
        planned([grid], settings.pop("dataset", "digits"), settings)
    assert "\n" not in str(refused.value)
    assert refused.value.__cause__ is None  # nothing of Hydra's is shown above it


def test_full_names():
    assert full_name("hidden") == full_name("model.hidden") == "model.hidden"
    assert full_name("weight_decay") == "optimizer.weight_decay"
    assert full_name("+dataset.load.as_frame") == "+dataset.load.as_frame"


def test_an_application_of_hydras_stays_as_it_is():
    """`harness.train` may be called inside of one."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    conf = str(Path(__file__).parents[2] / "conf" / "model")
    with hydra.initialize_config_dir(conf, version_base="1.3"):
        before = GlobalHydra.instance().hydra
        one(batch_size=3)
        assert GlobalHydra.instance().hydra is before
        assert hydra.compose("linear").hidden == []
