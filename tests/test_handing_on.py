"""Files for those who cite, change or hand on the project say what its code says."""

import re
import tomllib
from pathlib import Path

import yaml

from harness import __version__

ROOT = Path(__file__).parents[1]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf8"))
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf8")
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf8"))["repos"]
CI = (ROOT / ".ci" / "run").read_text(encoding="utf8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))


def test_the_citation_has_the_version_and_the_licence_of_the_package():
    assert CITATION["version"] == __version__
    assert CITATION["license"] == PROJECT["project"]["license"]
    assert CITATION["authors"] == PROJECT["project"]["authors"]


def test_the_citation_counts_the_claims():
    studies = [yaml.safe_load(file.read_text(encoding="utf8"))["study"] for file in ROOT.glob("experiments/*.yaml")]
    claims = [claim for study in studies for claim in study["claims"]]
    assert f"a verdict on {len(claims)} claims" in CITATION["abstract"]


def test_the_change_log_begins_with_what_is_not_released():
    versions = re.findall(r"^## \[(.+?)\]", CHANGES, re.MULTILINE)
    assert versions[0] == "Unreleased"


def test_hooks_are_local_and_run_the_tools_of_ci():
    assert [repo["repo"] for repo in HOOKS] == ["local"]
    entries = [hook["entry"] for hook in HOOKS[0]["hooks"] if hook["language"] == "system"]
    lines = CI.splitlines()
    assert {"ruff", "mypy", "codespell"} == {entry.split()[0] for entry in entries}
    for entry in entries:
        words = [word for word in entry.split() if "fix" not in word]
        assert any(line.split()[: len(words)] == words for line in lines), entry


def test_ci_asks_for_the_usual_parts_of_a_project_and_each_exception_has_a_reason():
    assert "repo-review ." in CI.splitlines()
    assert all(len(reason) > 5 for reason in PROJECT["tool"]["repo-review"]["ignore"].values())
