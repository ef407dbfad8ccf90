"""Mistakes at the command line that people make: the refusal says what to type instead."""

import sys

import pytest

from harness.app import main
from harness.app.composition import checked_cells
from harness.config import did_you_mean, nearest

# A line, and what its refusal says.
MISTAKES = r"""
--batch_size=64                        -> --batch_size: expected key=value without dashes, or a flag (did you mean batch_size=64?
--batch-size 64                        -> did you mean batch_size=64?
--lr 0.1                               -> did you mean learning_rate=0.1?
--epochs                               -> did you mean epochs=VALUE?
--epochs -m seed=1                     -> did you mean epochs=VALUE?
--dry-run                              -> did you mean dry_run=true?
--multirn batch_size=1,8               -> did you mean --multirun?
--verbose                              -> --help and --hydra-help list them
lr=0.1                                 -> did you mean learning_rate?
LR=0.1                                 -> did you mean learning_rate?
batch=64                               -> did you mean batch_size?
BATCH_SIZE=64                          -> did you mean batch_size?
batch-size=64                          -> did you mean batch_size?
optimiser=adam                         -> did you mean optimizer?
momentun=0.9                           -> did you mean optimizer.momentum?
layers=[8]                             -> did you mean model.hidden?
model.cost=mse                         -> did you mean model.loss?
launcher=joblib                        -> did you mean hydra/launcher?
hydra.launcher.n_jobs=2                -> hydra/launcher=joblib has n_jobs
optimizer=Adam                         -> did you mean adam?
dataset=Iris                           -> did you mean iris?
dataset=mnist                          -> regression | wine, got 'mnist'
hydra/launcher=jobllib                 -> did you mean joblib?
experiment=three_method                -> did you mean three_methods?
help                                   -> did you mean --help?
version                                -> did you mean --version?
verfy abc                              -> did you mean verify abc?
train batch_size=64                    -> did you mean python -m harness batch_size=64?
sweep batch_size=1,8                   -> did you mean python -m harness -m batch_size=1,8?
seed=auto                              -> -m seeds=auto
model.hidden=8,8                       -> in brackets: model.hidden=[8,8]
dataset.test=0.2                       -> did you mean dataset.test_fraction?
batch_size 64                          -> did you mean batch_size=64?
batch_size = 64                        -> did you mean batch_size=64?
batch_size                             -> did you mean batch_size=VALUE?
epochs: 3                              -> did you mean epochs=3?
epochs==3                              -> one equals sign: epochs=3
-m batch_size=1, 64                    -> a list without blanks, and with a value at its end: 1,64
-m batch_size=[1,64]                   -> several values: -m batch_size=1,64
-m batch_size=1..64                    -> several values: -m batch_size=1,8,64, or each one: -m batch_size=range(1,65)), got
-m batch_size=1-64                     -> each one: -m batch_size=range(1,65)
-m batch_size=1:64                     -> each one: -m batch_size=range(1,65)
-m batch_size=8:64:8                   -> each one: -m batch_size=range(8,65,8)
-m batch_size=1,2..4                   -> several values: -m batch_size=2,3,4, or each one: -m batch_size=range(2,5)
batch_size=1..64                       -> several values: -m batch_size=1,8,64
-m learning_rate=1e-3..1e-1            -> several values: -m learning_rate=0.001,0.01,0.1), got
-m learning_rate=1e-3-1e-1             -> several values: -m learning_rate=0.001,0.01,0.1), got
-m learning_rate=0.1:1                 -> several values: -m learning_rate=0.1,0.32,1), got
-m seed=1-3                            -> each one: -m seed=range(1,4)
seeds=1..10                            -> seeds=10
-m batch_size=(1,64)                   -> several values: -m batch_size=1,64), got
-m batch_size=1;64                     -> several values: -m batch_size=1,64), got
-m reduction=sum|mean                  -> several values: -m reduction=sum,mean), got
-m reduction=[sum,mean]                -> several values: -m reduction=sum,mean), got
-m batch_size=64..1                    -> each one: -m batch_size=range(1,65)
batch_size=0..3                        -> an integer >= 1 or full, got '0..3'
reduction=1..3                         -> expected sum | mean, got '1..3'
learning_rate=1/3                      -> a finite number > 0, got
model.hidden=[8..16]                   -> a list of integers >= 1, or [], got
threads=4096                           -> the cores of this machine, got 4096
-m threads=1,4096                      -> the cores of this machine, got 4096
-m threads=4096 hydra/launcher=joblib  -> the cores of this machine, got 4096
model.hidden=[1.5]                     -> a list of integers >= 1, or [], got
epochs=1e2                             -> did you mean 100?
learning_rate=0,1                      -> a decimal a point: 0.1
batch_size=1,64                        -> needs -m in front), got
~batch_size                            -> a value: batch_size=...
dataset.name=iris                      -> did you mean dataset=iris?
-m dataset.name=wine,iris              -> did you mean dataset=wine?
optimizer.name=adam                    -> did you mean optimizer=adam?
report                                 -> an address ends in it
report abcdef --papr x                 -> did you mean --paper?
query --tabel cells                    -> did you mean --table?
query --table cell                     -> did you mean cells?
qury                                   -> did you mean query?
studies --al                           -> did you mean --all?
studies three_method                   -> did you mean three_methods?
ui --prt 5000                          -> it takes a free port
-h foo                                 -> key=value (a verb stands first, flags begin with -), got 'foo'
"""  # noqa: E501
PAIRS = [[part.strip() for part in line.split("->")] for line in MISTAKES.strip().splitlines()]


@pytest.mark.sample(24)
@pytest.mark.parametrize(("line", "hint"), PAIRS)
def test_a_mistake_is_answered_by_what_to_type(line, hint, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(sys, "argv", ["harness", *line.split()])
    assert main() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("harness: ")
    assert hint in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_ones_own_is_taken():
    (config, _), = checked_cells(["dataset=blobs", "dataset.name=mine"]).cells  # fmt: skip
    assert config.dataset.name == "mine"
    (config, _), = checked_cells(["dataset.name=iris", "dataset=iris"]).cells  # fmt: skip
    assert config.dataset.load["_target_"] == "sklearn.datasets.load_iris"


def test_words_that_resemble_nothing_have_no_hint():
    assert nearest("split", ["batch_size", "model.hidden"]) == ""
    assert did_you_mean("verbose", ["batch_size"]) == ""
