"""Data runs no code: each loader that scikit-learn has with each argument that it has is allowed here, or refused."""

import inspect
import os
import pickle
import socket
from pathlib import Path

import pytest
import sklearn.datasets

from harness.config import ConfigError, DatasetConfig
from harness.data import load, load_stored
from harness.data.loaders import ARGUMENTS, OWN, READ_FILE, check_arguments, functions, resolve

EVERY = {
    name: list(inspect.signature(getattr(sklearn.datasets, name)).parameters)
    for name in dir(sklearn.datasets)
    if name.startswith(("load_", "make_", "fetch_", "dump_", "get_", "clear_"))
}
REFUSED_LOADERS = {  # name -> why
    "clear_data_home": "deletes a folder",
    "dump_svmlight_file": "writes a file",
    "get_data_home": "makes a folder",
    "fetch_20newsgroups": "texts",
    "fetch_20newsgroups_vectorized": "sparse; its `remove` becomes a part of a pickle's path",
    "fetch_file": "any address, any folder",
    "fetch_rcv1": "sparse",
    "fetch_species_distributions": "no targets",
    "load_files": "any folder",
    "load_sample_image": "an image",
    "load_sample_images": "images",
    "load_svmlight_file": "any path",
    "load_svmlight_files": "any path",
    "make_biclusters": "no targets",
    "make_checkerboard": "no targets",
    "make_low_rank_matrix": "no targets",
    "make_sparse_coded_signal": "no targets",
    "make_sparse_spd_matrix": "no targets",
    "make_spd_matrix": "no targets",
}
REFUSED_ARGUMENTS = {
    "data_home": "the folder of pickled caches",
    "read_csv_kwargs": "anything that pandas takes",
    "slice_": "objects",
}


def config(target: object, **arguments: object) -> DatasetConfig:
    return DatasetConfig("mine", "classification", {"_target_": target, **arguments}, 0.1, 0.1, False)


def refused(key: str, call, *arguments) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    assert caught.value.key == key
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1500
    return str(caught.value)


def test_every_loader_of_this_scikit_learn_has_been_judged():
    """A new one is refused until somebody has read what it does."""
    assert EVERY.keys() - ARGUMENTS.keys() - REFUSED_LOADERS.keys() == set()
    assert ARGUMENTS.keys() & REFUSED_LOADERS.keys() == set()


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_argument_of_an_allowed_loader_has_been_judged(name):
    """Likewise; and the list names no argument twice."""
    listed = ARGUMENTS[name].split()
    assert len(listed) == len(set(listed))
    assert set(EVERY[name]) - set(listed) - REFUSED_ARGUMENTS.keys() == set()
    assert set(listed) & REFUSED_ARGUMENTS.keys() == set()


@pytest.mark.parametrize("name", [*REFUSED_LOADERS, "load_of_tomorrow", "os.system", "_base.load_iris"])
def test_other_loaders_are_refused(name):
    message = refused("dataset.load._target_", resolve, f"sklearn.datasets.{name}")
    assert functions() in message


@pytest.mark.parametrize("target", ["load_iris", "sklearn.datasets", "harness.data.loaders.resolve", 3, None, ["x"]])
def test_other_names_are_refused(target):
    refused("dataset.load._target_", resolve, target)


@pytest.mark.parametrize(
    ("name", "argument"), [(name, argument) for name in ARGUMENTS for argument in [*EVERY[name], "tomorrow"]]
)
def test_each_argument_is_allowed_with_plain_values_or_refused(name, argument):
    target = f"sklearn.datasets.{name}"
    function = resolve(target)
    if argument not in ARGUMENTS[name].split():
        assert argument in REFUSED_ARGUMENTS or argument == "tomorrow"
        refused(f"dataset.load.{argument}", check_arguments, target, function, {argument: None})
        return
    for plain in (None, True, 3, 0.5, "active", "BNG(page-blocks,nominal,295245)", [1, 2.5], [[1, 2], [3, 4]], []):
        check_arguments(target, function, {argument: plain})
    for odd in ("/etc", "../x", "..", "a\\b", "http://h/", "C:x", "x\0", "x\n", ["../x"], {"a": 1}, object(), len):
        if argument != "target_column":  # compared with the names of columns
            refused(f"dataset.load.{argument}", check_arguments, target, function, {argument: odd})


def test_the_place_of_downloads_has_a_way_out():
    target = "sklearn.datasets.fetch_covtype"
    assert "SCIKIT_LEARN_DATA" in refused("dataset.load.data_home", load, config(target, data_home="/tmp/x"))


def test_the_projects_own_loaders_take_their_own_arguments():
    for target in OWN:
        function = resolve(target)
        check_arguments(target, function, dict.fromkeys(inspect.signature(function).parameters))
        refused("dataset.load.tomorrow", check_arguments, target, function, {"tomorrow": 1})


# What the issue planted.


class Bomb:
    """Unpickled, it leaves a file as proof."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("loader", [load, load_stored])
@pytest.mark.parametrize(
    ("target", "file", "arguments"),
    [
        ("fetch_california_housing", "cal_housing_py3.pkz", {}),
        ("fetch_olivetti_faces", "olivetti_py3.pkz", {}),
        ("fetch_covtype", "covertype/samples_py3", {}),
        ("fetch_species_distributions", "species_coverage_py3.pkz", {}),
        ("fetch_20newsgroups_vectorized", "x_py3.pkl", {"remove": ["/../x"]}),
    ],
)
def test_a_planted_cache_is_not_unpickled(tmp_path, loader, target, file, arguments):
    cache = tmp_path / "artifacts" / file
    cache.parent.mkdir(parents=True)
    cache.write_bytes(pickle.dumps(Bomb(tmp_path / "proof")))
    with pytest.raises(ConfigError):
        loader(config(f"sklearn.datasets.{target}", data_home=str(tmp_path / "artifacts"), **arguments))
    assert not (tmp_path / "proof").exists()


def test_the_bomb_would_go_off(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "proof")))
    assert (tmp_path / "proof").exists()


@pytest.mark.parametrize("name", ["../../x", "..", "a/b", "a?b", "a#b", "%2e%2e/x"])
def test_the_name_of_an_openml_dataset_is_no_path(name):
    refused("dataset.load.name", load, config("sklearn.datasets.fetch_openml", name=name))


# Configurations from a store.


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("fetch_california_housing", {}),
        ("fetch_california_housing", {"n_retries": 10**9, "delay": 3600}),
        ("fetch_openml", {"name": "mnist_784", "version": 1}),
        ("fetch_openml", {"data_id": 554, "n_retries": 10**9, "delay": 3600}),
        ("fetch_lfw_people", {}),
        ("fetch_kddcup99", {}),
    ],
)
def test_nothing_is_downloaded_for_a_stored_configuration(monkeypatch, tmp_path, target, arguments):
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address) or [])
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    message = refused("dataset.load", load_stored, config(f"sklearn.datasets.{target}", **arguments))
    assert "nothing is downloaded for a run of a store" in message
    assert asked == []


def test_what_is_in_the_users_folder_serves_a_stored_configuration(monkeypatch, tmp_path):
    import joblib
    import numpy as np

    joblib.dump(np.random.default_rng(0).uniform(1, 2, size=(40, 9)), tmp_path / "cal_housing_py3.pkz")
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    own = config("sklearn.datasets.fetch_california_housing")
    own.task = "regression"
    assert load_stored(own).X.shape == (40, 8)


def test_after_a_stored_configuration_the_process_may_open_addresses_again(monkeypatch):
    import urllib.request

    before = getattr(urllib.request, "_opener", None)
    load_stored(config("sklearn.datasets.load_iris"))
    assert getattr(urllib.request, "_opener", None) is before


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=lambda make: make.__name__)
def test_a_stored_path_that_is_no_ordinary_file_is_not_opened(tmp_path, make):
    make(tmp_path / "x.csv")
    refused("dataset.load.path", load_stored, config(READ_FILE, path=str(tmp_path / "x.csv")))


@pytest.mark.parametrize("path", ["//host/share/x.csv", r"\\host\share\x.csv", "x\0.csv", 0, None, ["x.csv"]])
def test_a_stored_path_that_is_no_path_of_this_machine_is_not_opened(path):
    refused("dataset.load.path", load_stored, config(READ_FILE, path=path))


def test_a_stored_link_leads_to_an_ordinary_file_or_nowhere(tmp_path):
    (tmp_path / "own.csv").write_text("a,b\n" + "1,x\n2,y\n" * 20)
    (tmp_path / "link.csv").symlink_to(tmp_path / "own.csv")
    assert load_stored(config(READ_FILE, path=str(tmp_path / "link.csv"))).class_names == ("x", "y")
    (tmp_path / "terminal.csv").symlink_to("/dev/tty")
    refused("dataset.load.path", load_stored, config(READ_FILE, path=str(tmp_path / "terminal.csv")))
    refused("dataset.load.path", load_stored, config(READ_FILE, path=str(tmp_path / "absent.csv")))
