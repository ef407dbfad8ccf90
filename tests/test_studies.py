"""Every study of experiments/: it says what it will measure, and its small form goes through to verdicts."""

import json
import re

import pytest

from harness import studies
from harness.tracking import Store
from harness.verdicts import Verdict

NAMES = studies.names()


def test_there_are_studies():
    assert "three_methods" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_study_fixes_what_would_support_and_refute_every_claim(name):
    study = studies.definition(name)
    assert study.name == name
    assert study.claims


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_small_form_ends_with_a_verdict_on_every_claim(project, name, tmp_path):
    code, said = project.run("studies", name, "size=small")
    assert code == 0, said
    (sweep,) = project.runs("sweep")
    found = json.loads(project.artifact(sweep, "findings.json").read_text(encoding="utf8"))["findings"]
    assert [row["claim"]["id"] for row in found] == list(studies.definition(name).claims)
    assert {row["verdict"] for row in found} <= {str(verdict) for verdict in Verdict}
    tags = {key: value for key, value in sweep.data.tags.items() if key.startswith(studies.TAG)}
    assert tags == {f"{studies.TAG}{row['claim']['id']}": row["verdict"] for row in found}
    for row in found:
        assert not re.search(r"\bnan\b", row["sentence"]), row["sentence"]
        assert row["picture"] is None or f"figures/{row['picture']}" in project.files(sweep, "figures")
    page = studies.write_page(Store(project.client, sweep.info.experiment_id, tmp_path), "small", tmp_path)
    text = page.read_text(encoding="utf8")
    for row in found:
        assert f"{row['claim']['id']}: {row['claim']['says']}" in text
        assert row["sentence"] in text
    for link in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (page.parent / link.replace("%20", " ")).read_bytes().startswith(b"\x89PNG")


def test_without_runs_every_claim_is_listed_without_a_verdict(project):
    code, said = project.run("studies")
    assert code == 0
    for name in NAMES:
        for claim in studies.definition(name).claims.values():
            assert f"  {claim.id:<5} {'-':<12} {claim.says}" in said


def test_a_study_that_does_not_exist_is_refused(project):
    code, said = project.run("studies", "nonsense")
    assert code == 2
    assert said.startswith("harness: studies: expected --all | ")
    assert said.count("\n") == 1


def test_small_is_a_size_of_studies(project):
    code, said = project.run("size=small")
    assert code == 2
    assert "size: expected small together with experiment=NAME only" in said


def test_a_study_whose_claims_say_too_little_is_refused_before_anything_is_written(project):
    code, said = project.run("-m", "experiment=three_methods", "study.claims.C4.refuted=''", "size=small")
    assert code == 2
    assert "study.claims.C4: expected a sentence for each of" in said
    assert project.client.get_experiment_by_name(project.experiment) is None
