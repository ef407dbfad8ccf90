"""Bad command lines, each refused in one line with exit code 2, before a store is opened or anything is written."""

import sys

import hydra
import pytest

from harness.app import main

# Words are separated by two blanks.
LINES = r"""
batch_size
=
=1
a=
=a=
,
batch_size=,
batch_size=1,
-m  batch_size=1,,2
-m  batch_size=
batch_size==1
batch_size=[1
batch_size=[1,2]
batch_size={a:1}
batch_size={a:1
batch_size="1
batch_size='1
batch_size=1"
batch_size=(1)
batch_size=${
batch_size=${}
batch_size=${nothing}
batch_size=${oc.env:NOTHING}
-m  learning_rate=interval(0,1)
learning_rate=interval(0,1)
learning_rate=interval(0)
-m  learning_rate=range(3,1)
-m  learning_rate=range(a,b)
-m  learning_rate=range()
-m  learning_rate=choice()
batch_size=choice(1,2)
-m  batch_size=glob()
-m  dataset=glob(zz)
-m  dataset=glob(*,exclude=*)
-m  batch_size=sort(1,x)
-m  batch_size=sort(b,1)
-m  batch_size=sort()
-m  batch_size=tag(a,1,x)
batch_size=tag(a,1,2)
-m  batch_size=tag()
batch_size=cast()
batch_size=int(x)
batch_size=float(x)
-m  batch_size=int(1.5,x)
model.hidden=extend_list(x)
batch_size=foo(1)
batch_size=foo()
-m  batch_size=foo(1,2)
-m  batch_size=int(1,2,x)
~batch_size=1
~dataset=iris
~nothing
~
+
++
+batch_size=1
+model.x=1
+dataset.x=1
model=1
model=null
model=[]
model={}
model.hidden=1
model.hidden=x
model.hidden=[x]
model.hidden=[1.5]
model.hidden={a:1}
model.hidden=null
model.hidden[0]=0
model.hidden[5]=1
model.hidden[x]=1
model.activation=null
model.activation=[]
model.name=x
model@x=mlp
model@=mlp
@=1
dataset=
dataset=x
dataset=null
dataset=1
dataset=[]
dataset=[iris,wine]
dataset={}
dataset=_base
dataset=every_dataset
dataset=../config
dataset=/etc/passwd
dataset/x=1
dataset.load=1
dataset.load=null
dataset.load._target_=x
dataset.load._target_=os.system
dataset.load._target_=1
dataset.load.x=1
dataset.resample=x
dataset.validation_fraction=x
optimizer=x
optimizer=null
optimizer=
optimizer.name=x
optimizer.momentum=1
optimizer.momentum=x
learning_rate=
learning_rate=-1
learning_rate=nan
learning_rate=inf
learning_rate=x
learning_rate=null
learning_rate=true
learning_rate=[]
learning_rate=0,1
learning_rate=1e-400
learning_rate=0x10
learning_rate=1_0x
learning_rate=1,5
learning_rate=٣x
batch_size=1.0
batch_size=1e3
batch_size=null
batch_size=true
reduction=null
reduction=[sum]
reference_batch_size=0
reference_batch_size=x
epochs=1.5
epochs=x
epochs=inf
updates=x
train_seconds=-1
train_seconds=x
target=0
target=x
micro_batches=0
micro_batches=1.5
micro_batches=65
-m  batch_size=1,64  micro_batches=2
micro_batches=2  engine=compiled
accumulate=mean
seeds=-1
seeds=1.5
seeds=null
seeds_at_most=x
first_replica=-1
seed=x
seed=1.5
seed=null
engine=null
threads=1.5
dry_run=x
dry_run=null
size=small
experiment=x
-m  experiment=order,noise
hydra/launcher=x
hydra/launcher=null
hydra/sweeper=x
hydra/sweeper=optuna
hydra.launcher.x=1
hydra.mode=x
hydra.job.chdir=x
hydra.verbose={a
hydra=1
hydra=null
-m  hydra/launcher=joblib  hydra.launcher.n_jobs=x
-m  hydra.job.name=a,b
-m  hydra/launcher=basic,joblib
hydra.searchpath=[/nowhere]
--nothing
--config-name=x
--config-path=x
--config-dir=nowhere
--config-dir
--cfg
--cfg=x
--package=x
--info=x
--resolve
--multirun=1
-x
-z  seed=1
-m  -m  -x
--  seed=x
-
--seed=1
--batch_size  1
-m  batch_size=1  2
seed=1  verify
seed=1  verify  abc
verify
verify  x
verify  seed=1
verify  ../../x
report
report  x
report  --hlep
report  --paper
report  abcdef  --paper
report  abcdef  --paper  no/such/folder
report  abcdef  --papr  x
report  abcdef  --paper  a  --paper  b
report  --paper  x
query  x
query  --tabel  cells
query  --table
query  --table  cell
query  --table=
query  abcdef  --table  runs
query  --csv  --csv
query  --csv=1
query  -o
query  -o  .
query  -o  no/such/folder/x.csv
query  batch_size=1
query  abcdef
query
deliver  x
deliver  --hlep
studies  x
studies  seed=1
studies  noise  foo=1
studies  noise  order  batch_size=0
pack
pack  -o
pack  x
pack  -o  .
pack  -o  no/such/folder/x.zip
pack  x  -o  y.zip
pack  -o  x.zip  -o  y.zip
unpack
unpack  .
unpack  no-such-file.zip
unpack  x  y
load
train
sweep
help
run
VERIFY
seed  =  1
seed=  1x
seed  =1
seed:1
seed:  1
/seed=1
.seed=1
seed.=1
seed..x=1
seed[=1
seed]=1
[seed]=1
{seed}=1
seed/x=1
se  ed=1
se-ed=1
séed=1
η=1
seed=é
seed=日本
seed=😀
'seed=1
"seed=1
seed=1;x
seed=1&x
seed=1|x
seed=1#x
seed=!x
seed=@x
seed=%x
seed=^x
seed=*x
seed=?x
seed=:
seed=::
seed=a:b
seed={a:b}
seed=[a:b]
seed=]
seed=}
seed=)
seed=1)
seed=f(1)(2)
seed=f(a=1,a=2)
seed=f(a=)
seed=[[[[1]]]]
seed={a:{b:{c:1}}}
_target_=x
__class__=x
self=1
defaults=[]
config=x
dataset@dataset=iris  x
dataset:iris=wine
x:y=z
model.hidden=[100000,100000]
model.hidden=[100000,100000]  dry_run=true
seeds=1000000000
seeds=100000000000000000000000000
epochs=1000000000000
updates=100000000000000000000000000000000  epochs=null
-m  epochs=1,1000000000000
-m  batch_size=range(1,1000000000)
-m  batch_size=range(1,1000)  seed=range(1,1000)
-m  seed=range(0,1000000000000)
-m  seeds=auto  batch_size=8,16  epochs=10000000000000
threads=99999999999999999999999
~study
-m  ~study
~dataset
~dataset.load
~dataset.name
~model
~model.hidden
~optimizer.name
~size
~rerun
~dry_run
~hydra
~hydra/sweeper
~hydra.sweeper
~hydra.mode
~hydra.run.dir
~hydra.callbacks
-m  ~hydra/launcher
-m  ~hydra/sweeper
-m  ~hydra.launcher
-m  ~hydra.sweeper._target_
-m  ~hydra.overrides.task
-m  ~hydra.sweep.dir
-m  hydra.sweeper.params={batch_size: '1,2'}
-m  hydra.sweeper.params=1
-m  hydra.sweeper.params=[1]
-m  +hydra.sweeper.params.batch_size=[1]
-m  +hydra.sweeper.params.study.grids=8
-m  hydra.sweeper._target_=xBasicSweeper
-m  hydra.sweeper=1
-m  hydra.sweeper=null
-m  hydra.launcher=null
-m  hydra.launcher=1
-m  hydra.launcher=[]
-m  hydra.launcher._target_=x  dry_run=true
-m  hydra.launcher._target_=os.system  dry_run=true
+hydra.callbacks.x=1  dry_run=true
+hydra.callbacks.x={}  dry_run=true
+hydra.callbacks.x={_target_: os.system}  dry_run=true
+hydra.callbacks.x._target_=nothing.x  dry_run=true
hydra.callbacks=1
hydra.job=1
hydra.job.env_set=1
hydra.job.env_copy=[1]
hydra.run.dir=null
hydra.overrides.task=null
-m  hydra.overrides.task=[x]
hydra.searchpath=1
hydra.searchpath=[1]
-m  study.grids=[{hydra/launcher: joblib}]  dry_run=true
-m  study.grids=[{experiment: noise}]  dry_run=true
+study.x=x  dry_run=true
hydra.run.dir=/dev/null/x
hydra.output_subdir=/dev/null/x
-m  batch_size=8,16  hydra.sweep.dir=/dev/null/x
-m  batch_size=8,16  hydra.sweep.subdir=/dev/null/x
-m  study.grids=[{hydra.mode: RUN}]  dry_run=true
-m  study.grids=[{study.grids: 8}]  dry_run=true
-m  study.grids=[{dry_run: "true"}]
-m  study.grids=[{rerun: all}]  dry_run=true
-m  study.grids=[{experiment: 'noise,order'}]
-m  study.grids=[1]
-m  rerun=all,missing  dry_run=true
-m  dry_run=true,false
dataset.resample=-5
dataset.resample=1
-m  dataset.resample=true,2
dry_run=2
dataset=blocks  dataset.load.block=1.5
dataset=blocks  dataset.load.n_samples=0
""".strip("\n").splitlines()


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory):
    """An empty folder, which stays empty."""
    folder = tmp_path_factory.mktemp("nowhere")
    yield folder
    assert list(folder.iterdir()) == []


def refusal(line, nowhere, monkeypatch, capsys):
    monkeypatch.chdir(nowhere)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # a test before this one may have opened a store
    monkeypatch.setattr(sys, "argv", ["harness", *line.split("  ")])
    code = main()
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    return said.err


# Hydra 1.4 takes `params` of its sweeper as any other dictionary: added, it is the grid.
PARAMS = "hydra.sweeper.params={batch_size: '1,2'}"
ADDED = [f"-m  +{PARAMS}"] if hydra.__version__ < "1.4" else []


@pytest.mark.sample(40)
@pytest.mark.parametrize("line", [*LINES, *ADDED])
def test_a_bad_line_is_refused_in_one_line(line, nowhere, monkeypatch, capsys):
    told = refusal(line, nowhere, monkeypatch, capsys)
    assert told.startswith("harness: ")
    assert told.count("\n") == 1
    assert ": expected " in told
    assert ", got " in told


LONG = "a" * 5000
LONG_NAMES = [
    f"{LONG}=1",
    f"+{LONG}=1",
    f"~{LONG}",
    f"{LONG}/x=1",
    f"{LONG}@x=iris",
    f"dataset={LONG}",
    f"-m  dataset={LONG},iris",
    f"-m  study.grids=[{{dataset: {LONG}}}]",
    f"experiment={LONG}",
    f"hydra/launcher={LONG}",
    f"--config-dir={LONG}",
    f"hydra.run.dir={LONG}  dry_run=true",
    f"-m  hydra.sweep.dir={LONG}  dry_run=true",
    f"hydra.output_subdir={LONG}  dry_run=true",
    f"dataset=file  dataset.load.path={LONG}.csv",
    f"verify  {LONG}",
    f"studies  {LONG}",
    f"unpack  {LONG}",
    f"pack  -o  {LONG}",
    f"query  -o  {LONG}",
    f"query  --table  {LONG}",
    f"query  {LONG}",
    f"report  abcdef  --paper  {LONG}",
    f"pack  -o  {LONG[:300]}.zip",
    f"pack  -o  {LONG}/x.zip",
    f"seed={LONG}",
]


@pytest.mark.sample(8)
@pytest.mark.parametrize("line", LONG_NAMES, ids=lambda line: line.partition("aaa")[0])
def test_a_name_that_no_file_can_have_is_refused_in_one_line(line, nowhere, monkeypatch, capsys):
    told = refusal(line, nowhere, monkeypatch, capsys)
    assert told.count("\n") == 1
    assert ": expected " in told


def test_they_are_many():
    assert len(set(LINES)) >= 250


@pytest.mark.sample(8)
@pytest.mark.parametrize(
    ("line", "key", "way_out"),
    [
        ("-m  learning_rate=interval(0,1)", "learning_rate", "range(START,STOP,STEP)"),
        ("learning_rate=0.1,1", "learning_rate", "-m in front"),
        ("batch_size=foo(1)", "batch_size", "float, glob, int, interval"),
        ("-m  batch_size=range(1,1000000000)", "command line", "at most 100000 cells"),
        ("dataset=[iris,wine]", "dataset", "without brackets"),
        ("+model.x=1", "model.x", "--help"),
        ("seed=a b;c", "seed", "two pairs of quotes"),
        ("batch_size=${nothing}", "batch_size", "${KEY}"),
        ("seeds=1000000000", "memory of digits B=64", "fewer seeds"),
        ("hydra.searchpath=[/nowhere]", "hydra.searchpath", "--config-dir"),
        ("~study", "study", "~experiment leaves a study out"),
        (f"-m  {PARAMS}", "hydra.sweeper.params", "-m KEY=VALUES" if ADDED else "--help"),
        ("+hydra.callbacks.x=1", "hydra.callbacks.x", "_target_: MODULE.CLASS"),
        ("hydra.job.env_copy=[1]", "hydra.job.env_copy", "--cfg hydra"),
        ("-m  study.grids=[{hydra/launcher: joblib}]", "study.grids", "outside the grids"),
        ("-m  study.grids=[{experiment: noise}]", "experiment", "studies NAME NAME"),
        ("hydra.run.dir=/dev/null/x", "hydra.run.dir", "can be made"),
        ("dataset.resample=-5", "dataset.resample", "true | false"),
        ("-m  rerun=all,missing", "rerun", "one value for all cells"),
        ("-m  cells_per_job=auto,2", "cells_per_job", "one value for all cells"),
        ("-m  log_model=true,false", "log_model", "one value for all cells"),
        ("seed=1  verify  abcdef", "command line", "a verb stands first"),
    ],
)
def test_a_refusal_names_the_key_and_a_way_out(line, key, way_out, nowhere, monkeypatch, capsys):
    told = refusal(line, nowhere, monkeypatch, capsys)
    assert told.startswith(f"harness: {key}")
    assert way_out in told


def test_flags_may_stand_behind_overrides(nowhere, monkeypatch, capsys):
    """The grid is read, so its second cell is refused."""
    assert "got 0" in refusal("batch_size=8,0  -m", nowhere, monkeypatch, capsys)
