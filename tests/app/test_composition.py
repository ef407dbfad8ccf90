"""From the words of a command line to configurations, and the one line that a mistake gets."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from math import prod
from pathlib import Path

import hydra
import pytest
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from joblib import cpu_count
from omegaconf import OmegaConf

from harness.app import composition, launchers
from harness.app.composition import checked_cells, compose_cells, to_config
from harness.app.launchers import ALL
from harness.app.session import BEHAVIOUR
from harness.config.schema import RULES, ConfigError, check, flatten

ROOT = Path(__file__).parents[2]


def compose(*words: str):
    """The configurations, and whether they are a sweep."""
    composed = compose_cells(words)
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


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "words",
    [
        ("batch_size=1,8,full", "learning_rate=1,0.1", "reduction=sum,mean"),
        ("dataset=iris,digits", "batch_size=8,16", "optimizer.weight_decay=0,0.1"),
        ("dataset=moons", "dataset.load.noise=0.1,0.2", "+dataset.load.shuffle=true,false"),
        ("epochs=null,3", "updates=5", "seeds=3,auto", "dtype='float32'"),
        ("model.hidden=[32],[16,8]", "batch_size=1,2", "dry_run=true,false"),
        ("batch_size=1,8", "learning_rate=${batch_size}"),
    ],
)
def test_words_that_are_read_once_make_the_cells_that_hydra_makes(monkeypatch, words):
    quick = compose("-m", *words)
    monkeypatch.setattr(composition._Plain, "of", lambda composed: None)
    assert quick == compose("-m", *words)
    assert all(
        type(v) is type(w)
        for a, b in zip(quick[0], compose("-m", *words)[0], strict=True)
        for v, w in zip(flatten(asdict(a)).values(), flatten(asdict(b)).values(), strict=True)
    )


def test_many_cells_are_converted_as_often_as_few(monkeypatch):
    asked = []
    monkeypatch.setattr(composition, "to_config", lambda composed: asked.append(composed) or to_config(composed))
    assert len(compose("-m", f"batch_size={','.join(map(str, range(1, 41)))}", "reduction=sum,mean")[0]) == 80
    assert len(asked) == 1


def test_a_sweep_is_the_product_in_the_order_of_the_words():
    configs, is_sweep = compose("-m", "batch_size=1,full", "reduction=sum,mean", "seed=0")
    assert is_sweep
    cells = [(c.batch_size, c.reduction) for c in configs]
    assert cells == [(1, "sum"), (1, "mean"), ("full", "sum"), ("full", "mean")]
    assert [c.seed for c in configs] == [0] * 4  # 0 is a seed


def test_every_cell_knows_the_overrides_that_make_it():
    composed = compose_cells(["-m", "batch_size=1,full", "epochs=2"])
    assert [overrides for _, overrides in composed.cells] == [
        ["batch_size=1", "epochs=2"],
        ["batch_size=full", "epochs=2"],
    ]
    assert composed.launcher.workers == 1


@pytest.mark.slow
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
    """Cells of the same groups are composed once; Hydra's own composition of each, one by one, is the oracle."""
    composed = compose_cells(["-m", *words])
    base = composed.session.load(RunMode.MULTIRUN)
    for config, overrides in composed.cells[::5]:
        assert config == to_config(composed.session.load_cell(base, overrides))
    assert len(composed.cells) >= 12


GRIDS = [
    ["batch_size=1,64", "learning_rate=${batch_size}"],
    ["+study.p={B:1,lr:0.1},{B:64,lr:1}", "batch_size=${study.p.B}", "learning_rate=${study.p.lr}"],
    ["model.hidden=[${seeds}],[3,4]", "learning_rate='${reference_batch_size}',0.5", "seeds=2,3"],
    ["dataset=iris,wine", "model=linear,mlp", "optimizer.weight_decay=0,0.1", "dataset.test_fraction=0.3"],
    ["batch_size=range(1,4)", "learning_rate=choice(0.1,1)", "optimizer=glob(m*)", "epochs=3"],
    ["+dataset.load.extra=1,2", "++seed=7", "order='none','once'", "batch_size=1,2", "batch_size=8"],
    ["+dataset.load={n_class:5},{n_class:2}", "dataset.load.n_class=3,4"],
]
# Files of experiments/ in the current folder, and command lines that choose them.
FILES = {
    "values": "seeds: 3",
    "others": "{seed: 5, optimizer: {weight_decay: 0.5}}",
    "my-study": "{study: {question: Why}, hydra: {mode: MULTIRUN, sweeper: {params: {batch_size: '1,2'}}}}",
    "inherits": "{defaults: [my-study, override /dataset: iris, _self_], seeds: 2}",
    "inherits_late": "{defaults: [_self_, my-study.yaml, values], seeds: 2}",
    "from_the_root": "{defaults: [/experiment/inherits], epochs: 7}",
}
CHOICES = [
    ["experiment=inherits", "-m"],
    ["experiment=inherits", "learning_rate=1,2"],
    ["experiment=inherits_late", "batch_size=3,4"],
    ["experiment=from_the_root"],
    ["experiment=my-study.yaml"],
    ["-m", "experiment=values,others", "batch_size=1,2"],
    ["-m", "experiment=glob([val*,oth*])"],
    ["-m", "experiment=choice(values,[values,others])"],
    *([["-m", "experiment=[my-study,others]"]] if hydra.__version__ < "1.4" else []),  # 1.4 refuses it itself
    ["-m", "optimizer=glob(*)"],
]
QUICK = (0, len(GRIDS))  # the first grid and the first choice
PLAIN_HYDRA = """
import json, sys
import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from harness.config import Config, shipped

ConfigStore.instance().store(name="schema", node=Config)
behaviour, commands = json.loads(sys.argv[1])
for i, command in enumerate(commands):
    app = hydra.main(config_path=str(shipped("conf")), config_name="config", **behaviour)
    sys.argv[1:] = command
    app(lambda config: print(json.dumps([i, OmegaConf.to_container(config, resolve=True)])))()
"""


@pytest.fixture(scope="module")
def plain_hydra(tmp_path_factory):
    """Of the number of a command, the configurations that an application with nothing but hydra.main and conf/ has.

    FILES are a group in a folder of the user.
    """
    folder = tmp_path_factory.mktemp("plain")
    (folder / "own" / "experiment").mkdir(parents=True)
    for name, text in FILES.items():
        (folder / "own" / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{text}")
    flags = ["--config-dir", "own", *(["-m"] if hydra.__version__ >= "1.4" else [])]  # beside a file's mode
    commands = [["-m", *grid] for grid in GRIDS] + [[*flags, *words] for words in CHOICES]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}

    @cache
    def ran(numbers):
        told = json.dumps([BEHAVIOUR, [commands[number] for number in numbers]])
        command = [sys.executable, "-c", PLAIN_HYDRA, told]
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300)
        assert not done.returncode, done.stderr
        jobs = [json.loads(line) for line in done.stdout.splitlines()]
        return {number: [config for i, config in jobs if i == place] for place, number in enumerate(numbers)}

    others = tuple(number for number in range(len(commands)) if number not in QUICK)
    return lambda number: ran(QUICK if number in QUICK else others)[number]


def each(first, words):
    """Parameters of the numbers of these commands; those that are not QUICK are slow."""
    numbers = range(first, first + len(words))
    marks = [() if number in QUICK else pytest.mark.slow for number in numbers]
    return [pytest.param(n, marks=mark, id=" ".join(w)) for n, mark, w in zip(numbers, marks, words, strict=True)]


@pytest.mark.sample(1)
@pytest.mark.xdist_group("plain hydra")
@pytest.mark.parametrize("number", each(0, GRIDS))
def test_the_cells_of_a_grid_are_the_jobs_of_plain_hydra(plain_hydra, number):
    cells = compose_cells(["-m", *GRIDS[number]]).cells
    assert [asdict(config) for config, _ in cells] == plain_hydra(number)
    assert len(cells) > 1


@pytest.fixture
def own_studies(tmp_path, monkeypatch):
    """experiments/ of the current folder, with FILES."""
    folder = tmp_path / "experiments"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.sample(1)
@pytest.mark.xdist_group("plain hydra")
@pytest.mark.parametrize("number", each(len(GRIDS), CHOICES))
def test_the_cells_of_a_chosen_study_are_the_jobs_of_plain_hydra(plain_hydra, own_studies, number):
    cells = compose_cells(CHOICES[number - len(GRIDS)]).cells
    assert [asdict(config) for config, _ in cells] == plain_hydra(number)
    assert len(cells) > 1


GRID = "{study: {grids: [{batch_size: '1,2'}]}}"
REFUSED_STUDIES = [
    (["-m", "experiment=three_methods,order"], "", "experiment", "studies NAME NAME"),
    (["experiment=three_methods,order"], "", "experiment", "studies NAME NAME"),
    (["experiment=glob(t*)"], "", "experiment", "studies NAME NAME"),
    (["-m", "experiment=glob(t*)"], "", "experiment", "studies NAME NAME"),
    (["-m", "experiment=values,my-study"], "", "experiment", "studies NAME NAME"),
    (["experiment=[order,my-study]"], "", "experiment", "studies NAME NAME"),
    (["experiment=bad", "-m"], "{study: {grids: [{experiment: 'order,noise'}]}}", "experiment", "studies NAME NAME"),
    (["-m", "experiment=glob(zzz*)"], "", "experiment", "a pattern that something matches"),
    (["-m", "dataset=glob(zzz*)"], "", "dataset", "a pattern that something matches"),
    (["+experiment=order"], "", "experiment", "experiment=order without +"),
    (["++experiment=order"], "", "experiment", "experiment=order without +"),
    (["-m", "+experiment=values,others"], "", "experiment", "experiment=values without +"),
    (["+dataset=iris"], "", "dataset", "dataset=iris without +"),
    (["+seed=3"], "", "seed", "seed=3 without +"),
    (["learning_rate=range(1,3)"], "", "learning_rate", "-m in front"),
    (["experiment="], "", "experiment", "three_methods"),
    (["experiment=experiments/order.yaml"], "", "experiment", "| order |"),
    (["experiment=null"], "", "command line", "~experiment"),
    (["study=order"], "", "study", "experiment=NAME"),
    (["experiment=my-other.yaml"], "", "experiment", "there is no file experiments/my-other.yaml"),
    (["-m", "study.grids=[{seed: 1}],[{seed: 2}]"], "", "study.grids", "one list"),
    (["-m", "study.grid=1"], "", "study.grid", "study.grids=["),
    (["study.grids=[{seed: 1}]"], "", "experiment", "-m in front"),
    (["experiments=order"], "", "experiments", "did you mean experiment?"),
    (["experiment=bad"], GRID, "experiment", "-m in front"),
    (["experiment=my-study", "hydra.mode=RUN"], "", "experiment", "-m in front"),
    (["experiment=bad", "-m"], "study: {grids: {batch_size: '1,2'}}", "study.grids", "a list of grids"),
    (["experiment=bad"], "seeds: [1", "experiments/bad.yaml", "YAML"),
    (["experiment=bad"], "- 1", "experiments/bad.yaml", "key: value"),
    (["experiment=bad"], "defaults: [nonsense]", "defaults of experiment/bad", "beside it"),
    (["experiment=bad"], "defaults: [dataset: iris]", "defaults of experiment/bad", "override /GROUP"),
    (["experiment=bad"], "defaults: [override dataset: iris]", "defaults", "override /dataset"),
    (["experiment=bad"], "defaults: [/dataset: iris]", "dataset", "override /dataset: iris"),
    (["experiment=bad"], "defaults: [three_methods, order]", "study.claims", "experiments/order.yaml"),
    (["experiment=bad"], "{defaults: [order], study: {claims: {X1: {says: x}}}}", "study.claims.X1", "a sentence"),
    (["experiment=three_methods", "++size=small"], "", "size", "size=small or size=full once"),
    (["-m", "experiment=three_methods", "size=small,full"], "", "size", "size=small or size=full once"),
    (["experiment=bad"], "{defaults: [three_methods], size: small}", "size", "size=small or size=full once"),
]  # fmt: skip


@pytest.mark.sample(6)
@pytest.mark.parametrize(("words", "file", "key", "allowed"), REFUSED_STUDIES)
def test_a_choice_of_studies_that_cannot_be_one_sweep_is_refused(own_studies, words, file, key, allowed):
    (own_studies / "bad.yaml").write_text(file)
    with pytest.raises(ConfigError) as caught:
        checked_cells(words)
    assert "\n" not in str(caught.value)
    assert caught.value.key == key
    assert allowed in caught.value.allowed


@pytest.mark.slow
def test_a_study_inherits_another_with_its_claims_and_grids(own_studies):
    (own_studies / "mine.yaml").write_text("{defaults: [three_methods, _self_], seeds: 2}")
    mine, original = (checked_cells([f"experiment={name}"]).cells for name in ("mine", "three_methods"))
    assert [asdict(config) for config, _ in mine] == [asdict(config) | {"seeds": 2} for config, _ in original]


def test_a_folder_of_the_user_names_its_package(own_studies):
    (own_studies.parent / "own" / "experiment").mkdir(parents=True)
    (own_studies.parent / "own" / "experiment" / "new.yaml").write_text("seeds: 2")
    with pytest.raises(ConfigError, match=r"experiment/new: expected `# @package _global_` in its first line"):
        compose_cells(["--config-dir", "own", "experiment=new"])


def test_a_study_pairs_its_values_by_interpolation(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    grid = '{batch_size: "1,64", learning_rate: "${batch_size}"}'
    text = f"study: {{grids: [{grid}]}}\nhydra: {{mode: MULTIRUN, sweeper: {{params: {{seed: '${{batch_size}}'}}}}}}"
    (tmp_path / "experiments" / "paired.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    configs, _ = compose("experiment=paired")
    assert [(c.batch_size, c.learning_rate, c.seed) for c in configs] == [(1, 1.0, 1), (64, 64.0, 64)]


@pytest.mark.parametrize(
    "words", [["learning_rate=${hydra:job.num}"], ["-m", "batch_size=1,2", "seed=${hydra:job.num}"]]
)
def test_what_depends_on_the_number_of_the_job_is_refused(words):
    """Only missing cells are launched, so that a job has another number when the command is repeated."""
    error = refusal(*words)
    assert error.key in ("learning_rate", "seed")
    assert "${KEY} of another key" in error.allowed


def test_also_inside_a_job_of_hydras(monkeypatch):
    """Where `hydra:` has values, as in a notebook that has run a job before."""
    monkeypatch.setattr(HydraConfig.instance(), "cfg", OmegaConf.create({"hydra": {"job": {"num": None}}}))
    error = refusal("learning_rate=${hydra:job.num}")
    assert error.key == "learning_rate"
    assert "${KEY} of another key" in error.allowed


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["hydra/launcher=basic,joblib"], "hydra/launcher"),
        (["hydra.job.name=a,b"], "hydra.job.name"),
        (["learning_rate=interval(0,1)"], "learning_rate"),
    ],
)
def test_what_a_grid_cannot_hold_is_refused(words, key):
    assert refusal("-m", *words).key == key


def test_a_launcher_with_workers_says_how_many():
    for n_jobs, workers in ((ALL, cpu_count()), (1, 1)):
        words = ["-m", "batch_size=1,2", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={n_jobs}"]
        assert checked_cells(words).launcher.workers == workers


@pytest.mark.parametrize(
    ("words", "key", "allowed"),
    [
        (["hydra/launcher=submitit_slurm"], "hydra/launcher", 'pip install -e ".[submitit]"'),
        (["hydra/launcher=ray"], "hydra/launcher", 'pip install -e ".[ray]"'),
        (["hydra/launcher=dask"], "hydra/launcher", "basic"),
        (["hydra/sweeper=optuna"], "hydra/sweeper", "basic"),
    ],
)
def test_a_plugin_that_is_not_there_is_refused_with_what_would_help(monkeypatch, words, key, allowed):
    monkeypatch.setattr(launchers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        checked_cells(["-m", "batch_size=1,2", *words])
    error = caught.value
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


GRIDS_OF_A_LINE = 'study.grids=[{batch_size: 8, learning_rate: "0.1,0.3"}, {batch_size: 64, learning_rate: "0.8"}]'


@pytest.mark.sample(2)
@pytest.mark.parametrize("plus", ["", "+", "++"])
@pytest.mark.parametrize("study", [[], ["experiment=three_methods", "dataset=iris"]], ids=["none", "of a study"])
def test_grids_of_a_command_line_follow_each_other(plus, study):
    cells = checked_cells(["-m", plus + GRIDS_OF_A_LINE, *study, "updates=7"]).cells
    assert [(c.batch_size, c.learning_rate) for c, _ in cells] == [(8, 0.1), (8, 0.3), (64, 0.8)]
    assert {c.updates for c, _ in cells} == {7}


def test_grids_of_a_command_line_are_no_study():
    assert all(c.seeds == "auto" and not c.study for c, _ in checked_cells(["-m", GRIDS_OF_A_LINE, "seeds=auto"]).cells)


def test_a_command_line_pairs_values_by_interpolation():
    cells, _ = compose("-m", "batch_size=1,8", "learning_rate=${batch_size}")
    assert [(c.batch_size, c.learning_rate) for c in cells] == [(1, 1.0), (8, 8.0)]


@pytest.mark.slow
def test_a_small_form_replaces_what_it_names():
    small = compose_cells(["-m", "experiment=three_methods", "size=small"]).cells
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


@pytest.mark.sample(12)
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
        (["first_replica=-1"], "first_replica", -1),
        (["first_replica=10"], "first_replica", 10),
        (["first_replica=1", "train_seconds=1"], "first_replica", 1),
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
    assert refusal("learning_rate = = 3").key == "learning_rate"


def test_every_key_has_a_rule():
    """A key without a rule would accept anything; these are checked elsewhere, or free."""
    (config,), _ = compose()
    without = set(flatten(asdict(config))) - set(RULES)
    assert {key for key in without if not key.startswith("dataset.load.")} == {"dataset.name"}
