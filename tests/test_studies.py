"""Every study of experiments/: it says what it will measure, and its small form goes through to verdicts."""

import json
import re

import pytest

from harness import studies
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
def test_the_small_form_ends_with_a_verdict_on_every_claim(project, name):
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
