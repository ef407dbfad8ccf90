"""From the words of a command line to configurations, and the one line that a mistake gets."""

from dataclasses import asdict
from math import prod
from pathlib import Path

import pytest
import yaml

from harness.app.command import _register
from harness.app.composition import compose_cells
from harness.config.schema import RULES, ConfigError, check, flatten

ROOT = Path(__file__).parents[2]


def compose(*words: str):
    """The configurations, and whether they are a sweep."""
    _register(words)
    composed = compose_cells(words, ROOT / "conf")
    return [config for config, _ in composed.cells], composed.multirun


def compose_and_check(*words: str) -> None:
    for config in compose(*words)[0]:
        check(config)


def refusal(*words: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        compose_and_check(*words)
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_defaults_are_one_cell():
    (config,), is_sweep = compose()
    check(config)
    assert not is_sweep
    assert (config.batch_size, config.reduction, config.seeds, config.model.hidden) == (64, "mean", 10, [32])


def test_a_sweep_is_the_product_in_the_order_of_the_words():
    configs, is_sweep = compose("-m", "batch_size=1,full", "reduction=sum,mean", "seed=0")
    assert is_sweep
    cells = [(c.batch_size, c.reduction) for c in configs]
    assert cells == [(1, "sum"), (1, "mean"), ("full", "sum"), ("full", "mean")]
    assert [c.seed for c in configs] == [0] * 4  # 0 is a seed


def test_every_cell_knows_the_overrides_that_make_it():
    composed = compose_cells(["-m", "batch_size=1,full", "epochs=2"], ROOT / "conf")
    assert [overrides for _, overrides in composed.cells] == [
        ["batch_size=1", "epochs=2"],
        ["batch_size=full", "epochs=2"],
    ]
    assert (composed.launcher, composed.n_jobs) == ("BasicLauncher", None)


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer=sgd,adam", "dataset=iris,moons", "batch_size=1,full", "model.hidden=[],[3,4]", "target=0.5",
         "+dataset.load.extra=7", "learning_rate=0.1,1"],
        ["experiment=three_methods", "size=small", "seed=1,2,3", "~study.question", "+hydra.job.env_set.WHOSE=mine"],
    ],
    ids=["groups and values", "a study"],
)  # fmt: skip
def test_values_set_on_a_composed_group_are_what_hydra_composes(words):
    """Cells of the same groups are composed once; Hydra's own composition of each, one by one, is the oracle.

    Also of what it adds for its launchers, which ask the same loader, and of the folders that only resolve with a time.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from harness.app.composition import _compose, _open, to_config

    _register(words)
    composed = compose_cells(["-m", *words], ROOT / "conf")
    hydra, overrides, _ = _open(["-m", *words], ROOT / "conf")
    try:
        base = _compose(hydra, overrides, RunMode.MULTIRUN)
        sweep_dir, loader = base.hydra.sweep.dir, hydra.config_loader
        for config, own in composed.cells[::5]:
            expected = ConfigLoaderImpl.load_sweep_config(loader, base, own)
            found = loader.load_sweep_config(base, own)
            assert OmegaConf.to_container(found) == OmegaConf.to_container(expected)
            assert (OmegaConf.is_struct(found), OmegaConf.is_readonly(found.hydra)) == (True, False)
            assert found.hydra.sweep.dir == expected.hydra.sweep.dir == sweep_dir
            assert config == to_config(expected)
    finally:
        GlobalHydra.instance().clear()
    assert len(composed.cells) >= 12


def test_a_launcher_with_workers_says_how_many():
    composed = compose_cells(["-m", "batch_size=1,2", "hydra/launcher=joblib"], ROOT / "conf")
    assert (composed.launcher, composed.n_jobs) == ("JoblibLauncher", -1)


@pytest.mark.parametrize(
    ("words", "key", "allowed"),
    [
        (["hydra/launcher=submitit_slurm"], "hydra/launcher", 'pip install -e ".[submitit]"'),
        (["hydra/launcher=dask"], "hydra/launcher", "basic"),
        (["hydra/sweeper=optuna"], "hydra/sweeper", "basic"),
    ],
)
def test_a_plugin_that_is_not_there_is_refused_with_what_would_help(words, key, allowed):
    error = refusal("-m", "batch_size=1,2", *words)
    assert error.key == key
    assert allowed in error.allowed


def test_groups_can_be_swept():
    configs, _ = compose("-m", "dataset=iris,wine", "model=linear", "optimizer=adam,nesterov")
    assert [(c.dataset.name, c.optimizer.name) for c in configs][:2] == [("iris", "adam"), ("iris", "nesterov")]
    for config in configs:
        check(config)


def test_a_study_brings_its_grid_and_the_command_line_wins():
    configs, is_sweep = compose("experiment=three_methods", "epochs=2")
    assert is_sweep
    assert {c.batch_size for c in configs} == {1, 64, "full"}
    assert {c.epochs for c in configs} == {2}
    replaced, _ = compose("experiment=three_methods", "batch_size=7,8")
    assert {c.batch_size for c in replaced} == {7, 8}


def test_the_grids_of_a_study_follow_each_other():
    """As many cells as their products, those of the first grid first."""
    text = (ROOT / "experiments" / "three_methods.yaml").read_text(encoding="utf8")
    grids = yaml.safe_load(text)["study"]["grids"]
    sizes = [prod(len(str(values).split(",")) for values in grid.values()) for grid in grids]
    cells = compose("experiment=three_methods")[0]
    assert len(cells) == sum(sizes) > max(sizes)
    assert {cell.batch_size for cell in cells[: sizes[0]]} == {grids[0]["batch_size"]}


def test_a_small_form_replaces_what_it_names():
    words = ["-m", "experiment=three_methods", "size=small"]
    _register(words)
    small = compose_cells(words, ROOT / "conf").cells
    assert len(small) < len(compose("experiment=three_methods")[0])
    assert {config.seeds for config, _ in small} == {3}


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_composes_and_says_what_it_asks(path):
    for config in compose(f"experiment={path.stem}")[0]:
        check(config)
        assert config.study["name"] == path.stem
        assert config.study["question"].endswith("?")


def test_off_is_a_word_on_the_command_line_and_needs_quotes_in_a_file():
    """YAML reads a bare off as false, and the refusal says so."""
    configs, _ = compose("-m", "diagnostics=off,cheap,full")
    assert [config.diagnostics for config in configs] == ["off", "cheap", "full"]
    assert "quotes" in refusal("diagnostics=false").allowed


@pytest.mark.parametrize("option", sorted(p.stem for p in (ROOT / "conf/optimizer").glob("[a-z]*.yaml")))
def test_every_optimizer_composes(option):
    (config,), _ = compose(f"optimizer={option}")
    check(config)
    assert config.optimizer.name == option


@pytest.mark.parametrize(
    ("words", "key", "received"),
    [
        (["batch_size=0"], "batch_size", 0),
        (["batch_size=1.5"], "batch_size", "1.5"),
        (["batch_size=some"], "batch_size", "some"),
        (["batch_size=true"], "batch_size", "true"),
        (["learning_rate=0"], "learning_rate", 0.0),
        (["learning_rate=-0.1"], "learning_rate", -0.1),
        (["learning_rate=inf"], "learning_rate", float("inf")),
        (["learning_rate=fast"], "learning_rate", "fast"),
        (["learning_rate=null"], "learning_rate", "null"),
        (["reduction=max"], "reduction", "max"),
        (["-m", "reduction=sum,max"], "reduction", "max"),
        (["epochs=null"], "epochs", None),
        (["epochs=0"], "epochs", 0),
        (["updates=2.5"], "updates", "2.5"),
        (["train_seconds=0"], "train_seconds", 0.0),
        (["seeds=0"], "seeds", 0),
        (["seed=-1"], "seed", -1),
        (["target=-1"], "target", -1.0),
        (["dtype=float16"], "dtype", "float16"),
        (["threads=0"], "threads", 0),
        (["diagnostics=some"], "diagnostics", "some"),
        (["order=random"], "order", "random"),
        (["model.hidden=[8,0]"], "model.hidden", [8, 0]),
        (["model.hidden=8"], "model.hidden", "8"),
        (["model.activation=gelu"], "model.activation", "gelu"),
        (["optimizer.weight_decay=-1"], "optimizer.weight_decay", -1.0),
        (["optimizer.momentum=0.9"], "optimizer.momentum", 0.9),  # sgd has none
        (["optimizer=adam", "optimizer.epsilon=null"], "optimizer.epsilon", None),
        (["dataset.test_fraction=1"], "dataset.test_fraction", 1.0),
        (["dataset.test_fraction=0.6", "dataset.validation_fraction=0.6"], "dataset.test_fraction", 1.2),
        (["batch_size=1,64"], "batch_size", "1,64"),
        (["~seed"], "seed", None),
        (["dataset=file"], "dataset.load.path", None),
    ],
)
def test_a_bad_value_is_refused_by_its_key(words, key, received):
    error = refusal(*words)
    assert (error.key, error.received) == (key, received)
    assert error.allowed


def test_nan_is_refused():
    assert str(refusal("learning_rate=nan")) == "learning_rate: expected a finite number > 0, got nan"


@pytest.mark.parametrize("words", [["batchsize=3"], ["-m", "batchsize=3,4"], ["+batchsize=3"]])
def test_an_unknown_key_is_refused_with_the_nearest_one(words):
    error = refusal(*words)
    assert error.key == "batchsize"
    assert "did you mean batch_size?" in error.allowed


@pytest.mark.parametrize(
    ("word", "known"), [("dataset=mnist", "digits"), ("model=cnn", "linear"), ("experiment=x", "three")]
)
def test_an_unknown_option_is_refused_with_the_known_ones(word, known):
    error = refusal(word)
    assert error.key == word.split("=")[0]
    assert known in error.allowed
    assert "_base" not in error.allowed


def test_nonsense_is_one_line_too():
    assert refusal("learning_rate = = 3").key == "command line"


def test_every_key_has_a_rule():
    """A key without a rule would accept anything; these are checked elsewhere, free, or a truth value to Hydra."""
    (config,), _ = compose()
    without = set(flatten(asdict(config))) - set(RULES)
    assert {key for key in without if not key.startswith("dataset.load.")} == {
        "dataset.name",
        "dataset.resample",
        "dry_run",
    }
