"""A recorded cell trained again: the same bits are recognised, any other is found, named, and never executed.

The store is a folder with one run in each of its folders; a fresh cell of iris takes some ten milliseconds.
"""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from harness.app.composition import compose_cells
from harness.config.schema import Config, ConfigError
from harness.data.datasets import load
from harness.network.optimizers import SGD
from harness.runs.verification import verify
from harness.store.provenance import commit, environment
from harness.store.reading import FILES, config_from
from harness.training import tables
from harness.training.cell import Cell
from harness.training.checkpoints import next_checkpoint
from harness.training.clock import pinned_blas
from harness.training.identity import code_digest
from harness.training.loop import Budget
from harness.training.order import Passes


@lru_cache
def composed(*words: str) -> Config:
    """A small cell on iris (N = 90): 12 updates an epoch at B = 8, 36 in all."""
    composed = compose_cells(["dataset=iris", "batch_size=8", "epochs=3", "seeds=3", *words])
    return composed.cells[0][0]


@dataclass
class FolderStore:
    """What verification asks of a store: cells, download. `lines` is what it has said."""

    root: Path
    runs: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def cells(self, sweep: str) -> list[Any]:
        return [run for run in self.runs.values() if run.data.tags.get("sweep") == sweep]

    def download(self, run: Any, path: str, to: Path) -> Path:
        return Path(shutil.copy(self.root / run.info.run_id / path, to))

    def add(self, run_id: str, name: str, status: str = "FINISHED", **tags: str) -> Path:
        """A run without files; returns its folder."""
        info = SimpleNamespace(run_id=run_id, run_name=name, status=status)
        self.runs[run_id] = SimpleNamespace(info=info, data=SimpleNamespace(tags=tags))
        (self.root / run_id).mkdir()
        return self.root / run_id

    def record(self, config: Config, run_id: str = "one", budget: Budget | None = None, **tags: str) -> Path:
        """Train a cell and keep what a run keeps; returns its folder. budget: in place of the configuration's."""
        dataset = load(config.dataset)
        tags = {"data_digest": dataset.digest, "code": code_digest(), "mlflow.source.git.commit": commit() or ""} | tags
        folder = self.add(run_id, f"cell {run_id}", kind="cell", **tags)
        cell = Cell(config, dataset)
        config = cell.config
        cell.budget = budget or cell.budget
        for _ in cell.train():
            pass
        result = cell.result()
        tables.history(result, config).to_csv(folder / "history.csv", index=False)
        tables.fingerprints(result).to_csv(folder / "fingerprints.csv", index=False)
        (folder / "columns.csv").write_text(tables.columns_text(result), newline="")
        layers = enumerate(zip(result.parameters.W, result.parameters.b, strict=True))
        np.savez(
            folder / "weights.npz", **{k: v for i, (W, b) in layers for k, v in {f"W{i}": W, f"b{i}": b[:, 0]}.items()}
        )
        (folder / "config.yaml").write_text(yaml.safe_dump(asdict(config), sort_keys=False))
        with pinned_blas(1):  # as a run is recorded
            about = {**environment(), "launcher": "basic"}
        (folder / "environment.json").write_text(json.dumps(about))
        return folder

    def verify(self, run_id: str = "one") -> bool:
        self.lines = []
        return verify(self, self.runs[run_id], self.lines.append)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def change_csv(path: Path, change: Callable[[pd.DataFrame], Any]) -> None:
    """As text but for update and replica, so that nothing else changes. What `change` returns replaces the table."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False).astype({"update": int, "replica": int})
    changed = change(table)
    table = table if changed is None else changed
    table.to_csv(path, index=False)


# The same.


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    "words",
    [
        (),
        ("dtype=float32", "model.hidden=[]"),
        ("dataset.resample=true", "order=replacement", "optimizer=adam"),
        ("dataset=diabetes", "batch_size=full"),
        ("learning_rate=1", "target=0.3"),
        ("reduction=sum", "learning_rate=1000", "model.activation=relu"),
        ("learning_rate=1e300",),
        ("engine=per_example", "epochs=1", "seeds=2"),
        ("first_replica=3", "seeds=5", "target=0.3"),
    ],
    ids=" ".join,
)
def test_a_cell_trained_again_is_identical(store, words):
    """Also one whose replicas reach the target one after the other, and one that goes to infinity."""
    folder = store.record(composed(*words))
    assert store.verify() is True
    table = pd.read_csv(folder / "fingerprints.csv")
    n_replicas, last = table["replica"].nunique(), table["update"].max()
    expected = (
        f"identical bit for bit: cell one, {len(table)} fingerprints of {n_replicas} replicas up to update {last}"
    )
    assert store.lines == [expected]


def test_what_the_store_holds_is_trained_and_not_what_conf_says(store):
    """A learning rate that is in no file of conf/."""
    folder = store.record(composed("learning_rate=0.0123456789"))
    assert config_from(yaml.safe_load((folder / "config.yaml").read_text())).learning_rate == 0.0123456789
    assert store.verify()


def test_a_budget_in_seconds_is_repeated_as_its_updates(store):
    store.record(composed("epochs=null", "train_seconds=0.01"))
    assert store.verify(), store.lines
    assert store.lines[0].endswith("(its updates trained again, not its budget of 0.01 s)")


def test_the_checkpoints_of_a_budget_in_seconds_are_repeated_too(store):
    """The clock chose 9, off every grid: a replica at its target at 8 and 9 ended there, and must do so again."""
    budget = Budget(updates=11, extra_checkpoints=(9,))
    assert next_checkpoint(8, Passes(90, "keep", [(0, 8)])) == 10
    history = pd.read_csv(store.record(composed(), "first", budget) / "history.csv")
    costs = history.pivot(index="update", columns="replica", values="train_cost")
    leader = costs.loc[8].idxmin()
    assert costs[leader][6] > costs[leader][8] > costs[leader][9]
    target = costs[leader][8] * (1 + 1e-9)
    folder = store.record(composed("epochs=null", "train_seconds=1", f"target={target}"), budget=budget)
    ends = pd.read_csv(folder / "history.csv").groupby("replica").last()
    assert (ends["update"][leader], ends["outcome"][leader]) == (9, "reached")
    assert (ends["update"].drop(leader) > 9).all()
    assert store.verify(), store.lines


def test_every_finished_cell_of_a_sweep_is_verified(store):
    store.add("parent", "a sweep", kind="sweep")
    store.record(composed(), "one", sweep="parent")
    store.record(composed("reduction=sum"), "two", sweep="parent")
    store.add("three", "cell three", status="KILLED", kind="cell", sweep="parent")
    assert store.verify("parent") is True
    assert [line.split(",")[0] for line in store.lines] == [
        "identical bit for bit: cell one",
        "identical bit for bit: cell two",
        "2 of 2 finished cells are identical bit for bit",
    ]


# Not the same.


def test_a_fingerprint_changed_in_the_middle_is_found_where_it_is(store):
    folder = store.record(composed())

    def change(table: pd.DataFrame) -> None:
        row = table.query("update == 16 and replica == 1").index
        table.loc[row, "digest"] = "0123456789012345"  # decimal digits only, and not a number
        table.loc[row, "norm"] = repr(float(table.loc[row[0], "norm"]) * (1 + 1e-6))
        table.loc[table.query("update == 32 and replica == 0").index, "digest"] = "f" * 16

    change_csv(folder / "fingerprints.csv", change)
    assert store.verify() is False
    assert store.lines[0].startswith(
        "not identical: cell one, first at update 16, replica 1 (2 of 45 fingerprints differ)"
    )
    assert "‖θ‖ there off by 1e-06 (relative), training cost by 0 (relative)" in store.lines[0]
    assert store.lines[0].endswith("largest |Δθ| at the end 0")
    assert store.lines[1:] == ["  arithmetic: the same", "  environment: the same", "  code: the same"]


def test_a_training_that_went_another_way_is_found_at_the_next_fingerprint(store, monkeypatch):
    """When it was recorded, one bit of one weight of replica 2 flipped after update 21; the grid looks at 20 and 25."""
    config, count = composed(), 0
    step = SGD.inplace_step

    def flipping(self: SGD, theta: Any, grads: Any) -> None:
        nonlocal count
        step(self, theta, grads)
        if len(theta) == 2:  # the stack of replicas 1 and 2
            count += 1
            if count == 21:
                theta.view(np.uint64)[1, 7] ^= np.uint64(1)

    with monkeypatch.context() as patch:
        patch.setattr(SGD, "inplace_step", flipping)
        folder = store.record(config)
    assert count == 36
    assert store.verify() is False
    assert "first at update 25, replica 2 (" in store.lines[0]
    with np.load(folder / "weights.npz") as stored:
        W = stored["W0"]
    assert "largest |Δθ| at the end 0" not in store.lines[0]
    largest = float(store.lines[0].rpartition(" ")[2])
    assert 0 < largest < 1e-12 < np.abs(W).max()


def test_a_replica_that_ended_elsewhere_is_said_to_have(store):
    folder = store.record(composed())
    change_csv(folder / "fingerprints.csv", lambda table: table.query("update <= 20 or replica > 0"))
    assert store.verify() is False
    assert (
        "first at update 25, replica 0 (3 of 45 fingerprints differ): taken now only, because the replica ended at"
        in store.lines[0]
    )


def test_what_differs_in_the_environment_is_named(store):
    folder = store.record(composed(), code="0" * 16)
    about = json.loads((folder / "environment.json").read_text())
    numpy = about["packages"]["numpy"]
    about["packages"]["numpy"], about["packages"]["gone"], about["blas"][0]["architecture"] = "1.0.0", "2", "Abacus"
    about["launcher"] = "another"  # how it was launched is no part of the surroundings
    (folder / "environment.json").write_text(json.dumps(about))
    assert store.verify() is True, "the environment alone changes no bit"
    assert len(store.lines) == 1
    change_csv(folder / "fingerprints.csv", lambda table: table.update(pd.DataFrame({"digest": ["0" * 16]})))
    assert store.verify() is False
    architecture = environment()["blas"][0]["architecture"]
    assert store.lines[1:] == [
        "  arithmetic: the same",
        f"  packages.numpy: 1.0.0 -> {numpy}",
        "  packages.gone: 2 -> None",
        f"  blas.0.architecture: Abacus -> {architecture}",
        f"  code: {'0' * 16} -> {code_digest()}",
    ]


def test_another_machine_is_named_first_as_the_likely_reason(store):
    folder = store.record(composed())
    about = json.loads((folder / "environment.json").read_text())
    today = about["arithmetic"]["blas"]
    about["arithmetic"] |= {"blas": "openblas 0.1 Abacus"}
    (folder / "environment.json").write_text(json.dumps(about))
    assert store.verify() is True
    change_csv(folder / "fingerprints.csv", lambda table: table.update(pd.DataFrame({"digest": ["0" * 16]})))
    assert store.verify() is False
    why = f"likely reason: another machine or library (blas: openblas 0.1 Abacus -> {today})"
    assert store.lines[1:] == [f"  {why}", "  environment: the same", "  code: the same"]
    del about["arithmetic"]
    (folder / "environment.json").write_text(json.dumps(about))
    assert store.verify() is False
    assert store.lines[1] == "  arithmetic: not recorded then, so another machine may be the reason"


def test_reasons_that_cells_share_are_said_once(store):
    store.add("parent", "a sweep", kind="sweep")
    for run_id, words in (("one", ()), ("two", ("reduction=sum",)), ("three", ("batch_size=16",))):
        folder = store.record(composed(*words), run_id, sweep="parent", code="0" * 16)
        if run_id != "two":
            change_csv(folder / "fingerprints.csv", lambda table: table.update(pd.DataFrame({"digest": ["0" * 16]})))
    assert store.verify("parent") is False
    assert [line[:13] for line in store.lines] == [
        "not identical",
        "identical bit",
        "not identical",
        "  arithmetic:",
        "  environment",
        "  code: 00000",
        "1 of 3 finish",
    ]


@pytest.mark.parametrize("file", ["history.csv", "weights.npz", "columns.csv"])
def test_numbers_that_were_changed_afterwards_are_found(store, file):
    """The fingerprints are those of the training, so whoever changes another file is found too."""
    folder = store.record(composed())
    if file == "history.csv":
        change_csv(
            folder / file, lambda table: table.loc.__setitem__((table["update"] == 12, "validation_cost"), "0.5")
        )
        expected = "the parameters repeat, but validation_cost at update 12, replica 0 is not as stored: 0.5 -> "
    elif file == "columns.csv":
        text = (folder / file).read_text()
        (folder / file).write_text(text.replace("number,0,standardised,1", "date,0,standardised,1"))
        expected = 'the parameters repeat, but columns.csv is not as stored: "X[:, 1]",date,0,standardised,1,'
    else:
        with np.load(folder / file) as stored:
            arrays = dict(stored)
        arrays["b1"][2, 0] += 0.25
        np.savez(folder / file, **arrays)
        expected = "the parameters repeat, but the stored weights are others, largest |Δθ| at the end 0.25"
    assert store.verify() is False
    assert expected in store.lines[0]


def test_weights_that_are_not_finite_are_infinitely_far(store):
    folder = store.record(composed())
    with np.load(folder / "weights.npz") as stored:
        arrays = dict(stored)
    arrays["W0"][0, 0, 0] = np.nan
    np.savez(folder / "weights.npz", **arrays)
    assert store.verify() is False
    assert store.lines[0].endswith("largest |Δθ| at the end inf")


def test_other_data_are_found_before_anything_is_trained(store, tmp_path, monkeypatch):
    """The file that the cell was trained on has one other number in it."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60), "label": 30 * ["x", "y"]})
    table.to_csv(tmp_path / "mine.csv", index=False)
    config = composed("dataset=file", f"dataset.load.path={tmp_path / 'mine.csv'}", "dataset.load.target=label")
    store.record(config)
    assert store.verify()
    then = load(config.dataset).digest
    table.loc[17, "a"] += 1e-12
    table.to_csv(tmp_path / "mine.csv", index=False)
    monkeypatch.setattr(Cell, "train", None)
    assert store.verify() is False
    now = load(config.dataset).digest
    assert then != now
    assert store.lines == [f"not identical: cell one: other data, nothing trained: data {then} -> {now}"]


# Refused.


def refusal(store: FolderStore, run_id: str = "one") -> str:
    with pytest.raises(ConfigError) as refused:
        store.verify(run_id)
    assert store.lines == []
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> Path:
    """The files of one run."""
    return FolderStore(tmp_path_factory.mktemp("recorded")).record(composed("epochs=1", "seeds=2"))


@pytest.fixture
def copied(store: FolderStore, recorded: Path) -> Path:
    """The same in the test's own store, to be spoilt."""
    folder = store.add("one", "cell one", kind="cell", data_digest=load(composed().dataset).digest)
    shutil.copytree(recorded, folder, dirs_exist_ok=True)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_a_run_without_a_file_is_refused(store, copied, name):
    (copied / name).unlink()
    assert refusal(store).startswith(f"{name}: expected a file that run one left when it finished, got ")


def test_a_cell_of_a_sweep_without_a_file_is_a_line_and_the_others_go_on(store, copied, recorded):
    store.add("parent", "a sweep", kind="sweep")
    tags = store.runs["one"].data.tags
    tags["sweep"] = "parent"
    shutil.copytree(recorded, store.add("two", "cell two", **tags), dirs_exist_ok=True)
    (copied / "fingerprints.csv").unlink()
    assert store.verify("parent") is False
    assert store.lines[0].startswith("not verified: cell one: fingerprints.csv: expected")
    assert store.lines[1].startswith("identical bit for bit: cell two")
    assert store.lines[2] == "1 of 2 finished cells are identical bit for bit"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2\n", b"[]"])
def test_a_file_that_holds_something_else_is_refused(store, copied, name, content):
    """Except [] for environment.json: that is one that says nothing."""
    (copied / name).write_bytes(content)
    if (name, content) == ("environment.json", b"[]"):
        assert store.verify()
    else:
        assert refusal(store).startswith(f"{name}: expected ")


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["array of objects", "pickle", "npy"])
def test_a_pickle_is_refused_and_not_executed(store, copied, tmp_path, kind):
    executed = tmp_path / "executed"
    bomb = np.array([Bomb(executed)], dtype=object)
    path = copied / "weights.npz"
    if kind == "array of objects":
        np.savez(path, W0=bomb, b0=bomb)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(executed)))
    else:
        with path.open("wb") as file:
            np.save(file, bomb)
    assert refusal(store).startswith("weights.npz: expected a file as this version writes it, got ")
    assert not executed.exists()
    pickle.loads(pickle.dumps(Bomb(executed)))
    assert executed.exists(), "the bomb was no bomb"


def test_a_configuration_cannot_run_anything(store, copied, tmp_path):
    """Neither as YAML's own objects nor as a loader that is no loader."""
    path, executed = copied / "config.yaml", tmp_path / "executed"
    text = path.read_text()
    path.write_text(f"{text}study2: !!python/object/apply:pathlib.Path.touch [{executed}]\n")
    assert refusal(store).startswith("config.yaml: expected a file as this version writes it")
    path.write_text(text.replace("sklearn.datasets.load_iris", "os.system"))
    assert refusal(store).startswith("dataset.load._target_: expected sklearn.datasets.load_*")
    assert not executed.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: tree | {"momentun": 0.9}, "got 'unknown momentun'"),
        (lambda tree: tree["optimizer"].update(beta3=0.9), "got 'unknown optimizer.beta3'"),
        (lambda tree: tree.pop("engine"), "got 'missing engine'"),
        (lambda tree: tree["model"].update(width=tree["model"].pop("hidden")), "model.width; missing model.hidden'"),
    ],
    ids=["unknown", "unknown below", "missing", "renamed"],
)  # fmt: skip
def test_a_configuration_with_other_keys_is_refused(store, copied, change, message):
    tree = yaml.safe_load((copied / "config.yaml").read_text())
    changed = change(tree)
    (copied / "config.yaml").write_text(yaml.safe_dump(changed if "batch_size" in (changed or ()) else tree))
    told = refusal(store)
    assert told.startswith("config.yaml: expected the keys of this version (the run was made by one with other keys)")
    assert told.endswith(message)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("learning_rate", -1.0, "learning_rate: expected a finite number > 0, got -1.0"),
        ("batch_size", [8], "batch_size: expected an integer >= 1 or full, got [8]"),
        ("study", None, "config.yaml: study: expected a dict, got None"),
        ("dataset", "iris", "config.yaml: expected keys and values in dataset., got 'iris'"),
    ],
)
def test_a_configuration_with_a_bad_value_is_refused(store, copied, key, value, message):
    tree = yaml.safe_load((copied / "config.yaml").read_text())
    (copied / "config.yaml").write_text(yaml.safe_dump(tree | {key: value}))
    assert refusal(store) == message


def test_a_configuration_survives_being_written_and_read():
    for words in ((), ("optimizer=adam", "model=linear", "batch_size=full", "learning_rate=1e-7"), ("dataset=moons",)):
        config = composed(*words)
        assert config_from(yaml.safe_load(yaml.safe_dump(asdict(config)))) == config


def test_a_run_with_nothing_to_verify_is_refused(store):
    store.add("empty", "a sweep", kind="sweep")
    store.add("old", "cell old", kind="cell")
    assert refusal(store, "empty") == "verify: expected a sweep with finished cells, got 'empty'"
    assert refusal(store, "old").endswith("the tag data_digest (older versions wrote none), got 'cell old'")
