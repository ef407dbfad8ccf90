"""Bundled datasets and their parts that are kept are those that scikit-learn gives."""

import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.preprocessing import StandardScaler

from harness.config import ConfigError, DatasetConfig, kept
from harness.data import bundled, datasets, load, split_each
from harness.data.preparation import Scaler

CONFIG = DatasetConfig("d", None, {}, 0.2, 0.2, resample=True)
CASES = [
    *((name, {}) for name in bundled.LOADERS.values()),
    ("digits", {"n_class": 2}),
    ("diabetes", {"scaled": False}),
    ("iris", {"as_frame": True}),
]
SEEDS = [np.random.SeedSequence(seed) for seed in range(3)]


def of(name, options):
    return replace(CONFIG, name=name, load={"_target_": f"sklearn.datasets.load_{name}", **options})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "kept")
    return tmp_path / "kept"


@pytest.fixture
def without_scikit_learn(monkeypatch):
    """To be called when it may no longer be asked."""

    def refuse(*_):
        raise AssertionError("asked again")

    def begin():
        monkeypatch.setattr(datasets, "_load", refuse)
        monkeypatch.setattr(sys.modules["harness.data.splits"], "_parts", refuse)

    return begin


def drawn(dataset, seeds=SEEDS, fractions=(0.2, 0.2)):
    return list(split_each(dataset, *fractions, seeds, "float64"))


def bits(split):
    scalers = [split.transformer, *([split.target_scaler] if split.target_scaler else [])]
    parts = [getattr(part, V) for part in (split.train, split.validation, split.test) for V in "XY"]
    of_scalers = [getattr(scaler, name) for scaler in scalers for name in ("mean_", "scale_")]
    return [(V.dtype, V.shape, V.tobytes()) for V in (*parts, *of_scalers, split.rows, split.sort_key)]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_they_are_as_they_came(name, options, folder, without_scikit_learn):
    fresh = datasets._load(of(name, options))
    wanted = [bits(split) for split in drawn(fresh)]  # not kept: the configuration was not asked for by `load`
    assert not folder.exists()
    drawn(load(of(name, options)))
    without_scikit_learn()
    dataset = load(of(name, options))
    assert {**vars(dataset), "X": 0, "y": 0, "kept_as": ""} == {**vars(fresh), "X": 0, "y": 0}
    assert [type(note) for note in dataset.notes] == [type(note) for note in fresh.notes]
    for own, theirs in ((dataset.X, fresh.X), (dataset.y, fresh.y)):
        assert (own.dtype, own.strides, own.tobytes()) == (theirs.dtype, theirs.strides, theirs.tobytes())
    assert [bits(split) for split in drawn(dataset)] == wanted


def test_other_options_fractions_and_seeds_are_asked_for_anew():
    every = {name: load(of("digits", {"n_class": n})) for name, n in (("two", 2), ("three", 3))}
    assert [len(dataset.class_names) for dataset in every.values()] == [2, 3]
    two = every["two"]
    first, more = drawn(two, SEEDS[:1]), drawn(two)
    assert bits(first[0]) == bits(more[0])
    assert len({split.rows.tobytes() for split in more}) == 3
    assert len(drawn(two, fractions=(0.1, 0.3))[0].rows) == len(more[0].rows)
    assert not np.array_equal(drawn(two, fractions=(0.1, 0.3))[0].validation.X, more[0].validation.X)


@pytest.mark.parametrize("n_bytes", [0, -60])
def test_a_damaged_file_is_made_anew(n_bytes, folder, without_scikit_learn):
    wanted = [bits(split) for split in drawn(load(of("iris", {})))]
    files = sorted(folder.iterdir())
    assert [file.name.partition("-")[0] for file in files] == ["dataset_iris", "parts_iris"]
    whole = [file.read_bytes() for file in files]
    for file in files:
        file.write_bytes(file.read_bytes()[:n_bytes])
    assert [bits(split) for split in drawn(load(of("iris", {})))] == wanted
    assert sorted(folder.iterdir()) == files
    without_scikit_learn()
    assert [bits(split) for split in drawn(load(of("iris", {})))] == wanted
    assert list(map(len, whole)) == [len(file.read_bytes()) for file in files]


def test_arrays_of_another_digest_are_not_used(folder):
    dataset = load(of("iris", {}))
    (file,) = folder.iterdir()
    bundled._write_dataset(file, replace(dataset, X=dataset.X + 1))
    with pytest.raises(ValueError, match="iris"):
        bundled._read_dataset(file)
    assert load(of("iris", {})).X.tobytes() == dataset.X.tobytes()


def test_another_version_makes_its_own(folder, monkeypatch):
    load(of("iris", {}))
    before = list(folder.iterdir())
    bundled._versions.cache_clear()
    monkeypatch.setattr(bundled, "version", lambda library: "0")
    try:
        load(of("iris", {}))
    finally:
        bundled._versions.cache_clear()
    after = list(folder.iterdir())
    assert len(before) == len(after) == 1
    assert before != after


def test_only_so_many_parts_are_kept(monkeypatch, folder):
    monkeypatch.setattr(bundled, "MOST_PARTS", 4)
    dataset = load(of("iris", {}))
    for start in range(0, 9, 3):
        drawn(dataset, [np.random.SeedSequence(start + i) for i in range(3)])
    drawn(dataset, [np.random.SeedSequence(start) for start in range(20, 25)])  # too many: the others stay
    (file,) = folder.glob("parts_*")
    assert len(bundled._read_parts(file, len(dataset.y))) == 3


def test_a_refused_argument_is_refused_each_time(folder):
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"dataset\.load\.data_home"):
            load(of("iris", {"data_home": "x"}))
    assert not folder.exists()


def test_data_that_are_made_are_not_kept(folder):
    made = replace(CONFIG, load={"_target_": "sklearn.datasets.make_moons", "random_state": 0})
    drawn(load(made))
    assert not folder.exists()


def test_where_nothing_can_be_written_all_is_made(monkeypatch, tmp_path):
    (file := tmp_path / "file").write_text("")
    monkeypatch.setattr(kept, "FOLDER", file)
    first, second = ([bits(split) for split in drawn(load(of("iris", {})))] for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_a_second_command_does_not_import_scikit_learn(tmp_path):
    code = (
        "import sys; from harness.config import kept; from pathlib import Path; kept.FOLDER = Path(sys.argv[1]);"
        "from harness.runs import load_dataset; from harness.training import draw_sets; import harness;"
        "from harness.app import configurations;"
        "[config] = configurations(['dataset=digits', 'seeds=2']);"
        "draw_sets(config, load_dataset(config.dataset));"
        "print(sorted({'sklearn', 'scipy', 'pandas'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    run = partial(subprocess.run, command, capture_output=True, text=True, check=True)
    assert "sklearn" in run().stdout
    assert run().stdout == "[]\n"


@given(st.data())
def test_a_scaler_transforms_as_scikit_learn_does(data):
    shape = data.draw(array_shapes(min_dims=2, max_dims=2))
    numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
    fitted_on, others = (data.draw(arrays(np.float64, shape, elements=numbers)) for _ in range(2))
    scaler = StandardScaler().fit(fitted_on)
    assert Scaler.fitted(fitted_on).transform(others).tobytes() == scaler.transform(others).tobytes()
