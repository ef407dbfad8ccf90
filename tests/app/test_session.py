"""Hydra as the harness uses it: flags, studies and folders of the user, and the two private names."""

import ast
import re
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.experimental.callback import Callback

from harness.app import main, verbs
from harness.app.composition import compose_cells
from harness.app.session import BEHAVIOUR, VERBS, Session, flags
from harness.config import ConfigError, shipped
from harness.store.journal import Journal

PACKAGE = Path(__file__).parents[2] / "harness"


def test_two_private_names_of_hydra_are_used_each_in_one_function():
    found = []
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf8")
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        imports = [(f.name, node) for f in functions for node in ast.walk(f) if isinstance(node, ast.ImportFrom)]
        private = [
            (name, alias.name) for name, node in imports if "hydra._" in str(node.module) for alias in node.names
        ]
        assert len(re.findall(r"hydra\._(?!_)", text)) == len(private), path
        found += private
    assert sorted(found) == [("_context", "Callbacks"), ("flags", "get_args_parser")]


def test_flags_are_read_by_the_private_parser_of_hydra():
    """Without `get_args_parser` no command line could be read: it tells flags from overrides, in any order."""
    found = flags(["seed=1", "-m", "batch_size=1,2", "--config-dir", "mine"])
    assert (found.overrides, found.multirun, found.config_dir) == (["seed=1", "batch_size=1,2"], True, "mine")
    assert not found.is_question
    assert all(flags(words.split()).is_question for words in ("--help", "--cfg job", "-i", "-sc query=bash"))


@pytest.mark.filterwarnings("ignore:hydra.utils.instantiate.. resolved:UserWarning")  # 1.4: whoever names code runs it
def test_callbacks_of_the_configuration_are_made_by_a_private_class_of_hydra(tmp_path, monkeypatch):
    """Without `Callbacks` no job could start: run_job and every launcher call them."""
    called = []
    moments = ("on_run_start", "on_run_end", "on_multirun_start", "on_multirun_end", "on_job_start", "on_job_end")
    record = {name: lambda self, name=name, **options: called.append(name) for name in moments}
    module = ModuleType("callbacks_of_a_test")
    module.Recorder = type("Recorder", (Callback,), record)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)

    def record_job(number, config):
        called.append(number)

    words = [f"+hydra.callbacks.mine._target_={module.__name__}.Recorder"]
    assert Session(words).run(lambda config: config.batch_size) == 64
    assert called == ["on_run_start", "on_job_start", "on_job_end", "on_run_end"]
    called.clear()
    Session(["-m", *words]).launch(
        [partial(record_job, 1), partial(record_job, 2)], lambda jobs: [job() for job in jobs]
    )
    jobs = ["on_job_start", 1, "on_job_end", "on_job_start", 2, "on_job_end"]
    assert called == ["on_multirun_start", *jobs, "on_multirun_end"]


@pytest.mark.parametrize(
    ("words", "way_out"),
    [
        (["--config-name", "mine"], "--config-dir FOLDER"),
        (["--config-path", "mine"], "--config-dir FOLDER"),
        (["--experimental-rerun", "mine"], "verify RUN_ID"),
        (["--package", "mine"], "--cfg job"),
        (["--resolve"], "--cfg job"),
    ],
)
def test_a_flag_that_would_be_passed_over_is_refused(words, way_out):
    with pytest.raises(ConfigError) as refused:
        flags(["-m", "batch_size=1,2", *words])
    assert refused.value.key == words[0]
    assert way_out in refused.value.allowed
    assert not flags([]).is_question


@pytest.mark.parametrize("question", ["--help", "--cfg=job"])
def test_a_question_about_another_configuration_is_refused(question):
    with pytest.raises(ConfigError, match="--config-name: expected"):
        flags([question, "--config-name=x"])


def test_questions_are_refused_in_one_line_too(project):
    code, said = project.run("--cfg", "job", "seed=x")
    assert code == 2
    assert said == "harness: seed: expected an integer >= 0, got 'x'\n"


@pytest.fixture
def own_folder(tmp_path):
    """A folder for --config-dir, with a dataset `mine`."""
    (tmp_path / "dataset").mkdir()
    text = (shipped("conf") / "dataset" / "iris.yaml").read_text(encoding="utf8")
    (tmp_path / "dataset" / "mine.yaml").write_text(text.replace("name: iris", "name: mine"))
    return tmp_path


def test_options_of_a_folder_of_the_user_are_found(own_folder):
    ((config, _),) = compose_cells(["--config-dir", str(own_folder), "dataset=mine"]).cells
    assert config.dataset.name == "mine"


def test_a_file_that_conf_has_too_is_refused(own_folder):
    (own_folder / "dataset" / "mine.yaml").rename(own_folder / "dataset" / "digits.yaml")
    with pytest.raises(ConfigError, match=r"--config-dir: expected files whose names .* got '.*digits\.yaml'"):
        compose_cells(["--config-dir", str(own_folder)])
    with pytest.raises(ConfigError, match=r"--config-dir: expected a folder that exists"):
        compose_cells(["--config-dir", str(own_folder / "nowhere")])


def test_a_study_of_the_current_folder_is_an_option_of_experiment(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    text = "defaults: [override /dataset: iris]\nhydra: {mode: MULTIRUN, sweeper: {params: {batch_size: '1,2'}}}"
    (tmp_path / "experiments" / "my-own.yaml").write_text(f"{text}\nsmall: {{seeds: 2}}\n")
    monkeypatch.chdir(tmp_path)
    for words, seeds in (([], 10), (["size=small"], 2)):
        cells = compose_cells(["experiment=my-own", *words]).cells
        assert [(c.dataset.name, c.batch_size, c.seeds) for c, _ in cells] == [("iris", B, seeds) for B in (1, 2)]


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("line", "offered", "left_out"),
    [
        ("harness ", {"deliver", "pack", "query", "report", "studies", "unpack", "verify", "batch_size="}, {"_base"}),
        ("harness studies three", {"three_methods"}, {"verify", "batch_size="}),
        ("harness query --ta", {"--table", "--csv", "--json", "-o"}, {"verify", "batch_size=", "cells"}),
        ("harness query abc --table ", {"cells", "replicas", "histories", "answers", "runs"}, {"--table"}),
        ("harness report ", {"--paper"}, {"--table", "verify"}),
        ("harness report --paper ", set(), {"--paper", "--json"}),
        ("harness verify ", set(), {"verify", "three_methods", "batch_size="}),
        ("harness seed=1 ", {"batch_size="}, {"verify"}),
        ("harness dataset=", {"dataset=iris"}, {"dataset=_base", "dataset=every_dataset"}),
    ],
)
def test_a_shell_completes_verbs_and_studies(project, monkeypatch, line, offered, left_out):
    monkeypatch.setenv("COMP_LINE", line)
    code, said = project.run("-sc", "query=bash")
    assert code == 0
    assert offered <= set(said.split())
    assert not left_out & set(said.split())


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_says_in_one_line_what_it_does(project, verb, flag):
    code, said = project.run(verb, flag)
    assert code == 0
    assert said.startswith(f"python -m harness {verb}")
    assert said.count("\n") == 1


def test_completion_without_the_line_of_a_shell_is_refused_in_one_line(project, monkeypatch):
    monkeypatch.delenv("COMP_LINE", raising=False)
    code, said = project.run("-sc", "query=bash")
    assert code == 2
    assert said.startswith("harness: --shell-completion: expected install=bash; ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["report", "abcdef"],
        ["query"],
        ["query", "abcdef"],
        ["verify", "abcdef"],
        ["pack", "-o", "runs.zip"],
        ["deliver"],
    ],
)
def test_a_verb_about_runs_makes_no_store(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "argv", ["harness", *words])
    code, said = main(), capsys.readouterr()
    assert code == 2
    assert "expected the address of a store, or a current folder that holds one (mlflow.db)" in said.err
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_list_of_studies_makes_no_store(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "argv", ["harness", "studies"])
    assert main() == 0
    assert "(not run yet)" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_waits_is_delivered_to_a_new_store_in_place_of_one_that_was_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    waits = Journal.create(Path("mlruns", "undelivered"), store="sqlite:////elsewhere/mlflow.db")
    waits.append("tags", tags={"a": "b"})
    waits.release()
    monkeypatch.setattr(sys, "argv", ["harness", "deliver"])
    assert main() == 0
    assert Path("mlflow.db").exists()


def test_help_lists_no_file_that_cannot_be_chosen(project):
    with pytest.raises(SystemExit):
        project.run("--help")
    said = project.capsys.readouterr().out
    assert "optimizer: adam, momentum, nesterov, rmsprop, sgd\n" in said
    assert "dataset: blobs, blocks, " in said
    assert "every_" not in said


def test_the_verbs_are_known_before_their_imports():
    assert sorted(verbs.VERBS) == sorted(VERBS)


def test_a_study_in_a_folder_of_the_user_may_not_have_the_name_of_another(own_folder):
    (own_folder / "experiment").mkdir()
    (own_folder / "experiment" / "order.yaml").write_text("# @package _global_\nseeds: 2\n")
    with pytest.raises(ConfigError, match=r"--config-dir: expected files whose names .* got '.*order\.yaml'"):
        compose_cells(["--config-dir", str(own_folder)])


def test_an_application_of_hydra_may_ask_for_cells(tmp_path):
    with initialize_config_dir(str(tmp_path), **BEHAVIOUR):
        outer = GlobalHydra.instance().hydra
        assert len(compose_cells(["-m", "batch_size=1,2"]).cells) == 2
        assert GlobalHydra.instance().hydra is outer
    GlobalHydra.instance().clear()
