"""Where conf/ and experiments/ are found, and which study a name is."""

import pytest

from harness.config import folders
from harness.config.folders import judge_file, shipped, study_file, study_names
from harness.config.schema import ConfigError


@pytest.fixture
def local(tmp_path, monkeypatch):
    """experiments/ of the current folder, empty."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments"
    folder.mkdir()
    return folder


def test_an_installed_package_has_its_folders_inside_and_a_checkout_beside(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "harness"
    monkeypatch.setattr(folders, "PACKAGE", package)
    (package.parent / "conf").mkdir(parents=True)  # of a checkout, or of somebody else's package
    assert shipped("conf") == package.parent / "conf"
    (package / "conf").mkdir(parents=True)
    assert shipped("conf") == package / "conf"


def test_the_studies_are_those_of_the_harness_and_of_the_current_folder(local):
    (local / "mine.yaml").write_text("seeds: 2")
    assert {"mine", "three_methods"} <= set(study_names())
    assert study_file("mine") == local / "mine.yaml"
    assert study_file("three_methods") == shipped("experiments") / "three_methods.yaml"


def test_a_study_with_the_name_of_another_is_refused_unless_it_is_a_copy(local):
    original = shipped("experiments") / "three_methods.yaml"
    for suffix in (".yaml", ".py"):
        (local / f"three_methods{suffix}").write_bytes(original.with_suffix(suffix).read_bytes())
    assert study_file("three_methods") == original
    (local / "three_methods.py").write_text("def judge(evidence): ...")
    with pytest.raises(ConfigError, match=r"experiments/three_methods\.yaml: expected a name that no study"):
        study_file("three_methods")


@pytest.mark.parametrize("name", ["nonsense", "../conf/config", "*"])
def test_a_name_leads_to_a_study_and_nowhere_else(local, name):
    """The name of a study is read from a store, which may be anybody's, and its module is run."""
    with pytest.raises(ConfigError, match=r"experiment: expected .*three_methods"):
        judge_file(name)


def test_a_study_without_a_judge_is_refused(local):
    (local / "mine.yaml").write_text("seeds: 2")
    with pytest.raises(ConfigError, match=r"experiments/mine\.py"):
        judge_file("mine")
