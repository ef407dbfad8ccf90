"""From a judge to a note, a file, a picture and a page; and what becomes of a judge that is not thorough."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from synthetic import cell, evidence

from harness.analysis import Ratio
from harness.analysis.study import BATCH_SIZE, Finding, Panel, Series, judge_of, judged, study_from
from harness.config.schema import ConfigError
from harness.inference.intervals import Interval
from harness.inference.verdicts import Verdict
from harness.report import findings, study_pages
from harness.report.findings import finding_figure
from harness.report.markdown import held, verdicts_along

TEXTS = {
    "says": "Two is more than one.",
    "source": "Peano",
    "measure": "Counting.",
    "supported": "so.",
    "refuted": "not.",
}
TREE = {"name": "made_up", "question": "Is it so?", "claims": {"A1": TEXTS, "A2": {**TEXTS, "says": "One is none."}}}


@pytest.fixture(scope="module")
def found():
    sizes = np.array([1, 64, 1024])
    lines = [
        Series("digits", sizes, 100.0 / sizes, 80.0 / sizes, 130.0 / sizes),
        Series("wine", sizes, np.array([np.inf, 2.0, 1.0])),
        Series("1/B", sizes, 100.0 / sizes, kind="reference"),
    ]
    named = Panel("Named", "", "ratio", [Series("a", [0, 1], [1.0, 2.0], kind="marks")], log="", names=["sum", "mean"])
    effect = Interval(0.5, 0.4, np.inf)
    return [
        Finding("A2", Verdict.REFUTED, "One is one."),
        Finding(
            "A1", Verdict.SUPPORTED, "2 > 1.", "× one", effect, 10, [Panel("By B", BATCH_SIZE, "updates", lines), named]
        ),
    ]


def test_findings_come_in_the_order_of_the_claims(found):
    ordered = judged(study_from(TREE), lambda _: found, evidence(cell(1), cell(64)))
    assert [finding.claim for finding in ordered] == ["A1", "A2"]


def test_a_judge_that_leaves_a_claim_out_is_an_error(found):
    with pytest.raises(ValueError, match="judges"):
        judged(study_from(TREE), lambda _: found[:1], evidence(cell(1), cell(64)))


def test_nothing_is_concluded_from_a_grid_with_holes(found):
    holed = evidence(cell(1), cell(64))
    holed.data.cells.loc[1, "status"] = "FAILED"
    verdicts = {finding.verdict for finding in judged(study_from(TREE), lambda _: found, holed)}
    assert verdicts == {Verdict.UNRESOLVED}


@pytest.mark.parametrize("text", TEXTS)
def test_a_claim_that_does_not_say_what_decides_is_refused(text):
    with pytest.raises(ConfigError, match=f"study.claims.A1.*{text}"):
        study_from({**TREE, "claims": {"A1": {**TEXTS, text: ""}}})


def test_what_is_compared_exactly_is_said_in_one_of_two_words():
    assert study_from({**TREE, "claims": {"A1": {**TEXTS, "exact": "cells"}}}).claims["A1"].exact == "cells"
    with pytest.raises(ConfigError, match=r"study\.claims\.A1\.exact: expected cells \| again"):
        study_from({**TREE, "claims": {"A1": {**TEXTS, "exact": True}}})


@pytest.mark.parametrize("key", TREE)
def test_a_study_without_a_question_is_refused(key):
    with pytest.raises(ConfigError, match=f"study.{key}"):
        study_from({**TREE, key: None})


RUN = {"command": "python -m harness -m experiment=made_up", "cells": "2", "seconds": 90}


def test_note_file_and_pages_say_the_same(found):
    study = study_from(TREE)
    text = findings.note(study, found)
    assert "| A1: Two is more than one. | **supported** | 2 > 1. | 0.5 [0.4, inf] × one |" in text
    kept = findings.records(study, found) | RUN
    page = study_pages.study_page(kept)
    assert "(2 cells, 1.5 minutes one after the other)" in page
    assert "## A1: Two is more than one.\n\n**Supported.** Yes, in these runs.\n\nThe claim: Two is more" in page
    assert "2 > 1. Effect: 0.5 [0.4, inf] × one. 10 replicas." in page
    assert "![Supported, A1](made_up/claim%20A1.png)" in page
    assert "![Refuted, A2]" not in page
    assert "- Refuted if not.\n- Source: Peano." in page
    index = study_pages.index([kept])
    assert "changed.md" not in index
    assert "](findings/changed.md)" in study_pages.index([kept], changed=True)
    assert "| **[Is it so?](findings/made_up.md)** |  |  |" in index
    link = "[A1](findings/made_up.md#a1-two-is-more-than-one)"
    assert f"| Two is more than one. | Yes, in these runs. | **supported** {link} |" in index


def test_of_many_claims_one_of_each_study_comes_first(found):
    kept = findings.records(study_from(TREE), found) | RUN
    many = [kept | {"study": f"made_up_{i:02}"} for i in range(11)] + [kept | {"study": "sum_vs_mean"}]
    first, _, table = study_pages.index(many).partition("## All questions")
    assert first.count("\n- [One is none.](findings/") == 12
    assert first.index("(findings/sum_vs_mean.md#a2-one") < first.index("(findings/made_up_00.md#a2-one")
    assert "No, not in these runs. (**refuted**)" in first
    assert table.count("| **refuted** [A2](") == 12
    assert "## In five minutes" not in study_pages.index(many[:2])
    known = {path.stem: path for path in (Path(__file__).parents[2] / "experiments").glob("*.yaml")}
    for name, claim in study_pages.MAIN.items():
        assert claim in yaml.safe_load(known[name].read_text(encoding="utf8"))["study"]["claims"]


def test_numbers_of_a_finding_are_a_table_of_its_page(found):
    rows = [("data", "ratio | [95 %]"), ("digits", "0.5 [0.4, 0.6]")]
    along = {"the margin": {0.05: Verdict.UNRESOLVED, 0.1: Verdict.SUPPORTED, 0.2: Verdict.SUPPORTED}}
    judged_ones = [found[0], replace(found[1], rows=rows, along=along)]
    page = study_pages.study_page(findings.records(study_from(TREE), judged_ones) | RUN)
    assert "\n\n| data | ratio \\| [95 %] |\n|---|---|\n| digits | 0.5 [0.4, 0.6] |\n\n" in page
    changing = "| the verdict, by | is |\n|---|---|\n| the margin | 0.05 unresolved; 0.1 to 0.2 supported |\n"
    assert changing in page
    section = findings.numbers(judged_ones)
    assert section.startswith("### Numbers of the claims\n\n| A1: data | ratio")
    assert changing.replace("| the", "| A1: the", 1) in section + "\n"
    assert findings.numbers(found) == ""


def test_a_claim_that_is_as_for_another_says_what_that_says():
    other = {**TEXTS, "measure": "As for A1, but backwards.", "supported": "As for A1.", "refuted": "as for A9."}
    claim = study_from({**TREE, "claims": {"A1": {**TEXTS, "measure": "Counting\n  twice."}, "A2": other}}).claims["A2"]
    assert claim.measure == "As for A1 (Counting twice), but backwards."
    assert claim.supported == "so."
    assert claim.refuted == "as for A9."  # there is none


PLAIN = {"question": "More?", "supported": "Yes, it is.", "refuted": "No, it is not."}


@pytest.mark.parametrize(
    ("verdict", "own", "answer"),
    [
        (Verdict.SUPPORTED, "", "Yes, it is."),
        (Verdict.REFUTED, "", "No, it is not."),
        (Verdict.CONDITIONAL, "", "In some settings yes, in others no."),
        (Verdict.UNRESOLVED, "", "These runs do not decide it."),
        (Verdict.CONDITIONAL, "For numbers, not for sets.", "For numbers, not for sets."),
    ],
)
def test_an_answer_in_plain_words_is_that_of_the_verdict(verdict, own, answer):
    study = study_from({**TREE, "claims": {"A1": {**TEXTS, "plain": PLAIN}}})
    found = [Finding("A1", verdict, "2 > 1.", plain=own)]
    assert findings.plain(study.claims["A1"], found[0]) == answer
    kept = findings.records(study, found) | RUN
    assert f"| More? | {answer} | **{verdict}** [A1](findings/made_up.md#a1-more) |" in study_pages.index([kept])
    assert f"## A1: More?\n\n**{verdict.capitalize()}.** {answer}" in study_pages.study_page(kept)


@pytest.mark.parametrize("texts", [{"unresolved": "Who knows."}, {"yes": "So."}, {"refuted": ""}, "So."])
def test_an_answer_belongs_to_a_verdict_that_decides(texts):
    with pytest.raises(ConfigError, match=r"study\.claims\.A1\.plain: expected a sentence for question \|"):
        study_from({**TREE, "claims": {"A1": {**TEXTS, "plain": texts}}})


def test_a_sweep_of_an_older_version_has_general_answers(found):
    kept = findings.records(study_from(TREE), found) | RUN
    for row in kept["findings"]:
        del row["plain"], row["tables"], row["claim"]["plain"]
    assert "| One is none. | No, not in these runs. | **refuted** [A2]" in study_pages.index([kept])
    assert "Two is more than one." in study_pages.study_page(kept)


def test_studies_come_in_the_order_of_a_beginners_questions():
    kept = [
        {"study": name, "question": f"{name}?", "findings": [], **RUN}
        for name in ("errata", "mine", "three_methods", "a_users")
    ]
    found = re.findall(r"findings/(\w+)\.md\)", study_pages.index(kept))
    assert found == ["three_methods", "errata", "a_users", "mine"]


def test_the_figure_shows_what_is_known_and_leaves_out_the_rest(found):
    figure = finding_figure("A1: two is more", "supported.", found[1].panels)
    by_size, named = figure.axes
    digits, wine, reference, *beyond = by_size.lines
    assert len(digits.get_xdata()) == 3
    assert list(wine.get_xdata()) == [64, 1024]
    assert [(list(one.get_xdata()), list(one.get_ydata())) for one in beyond if len(one.get_xdata())] == [
        ([1], [by_size.get_ylim()[1]])  # infinity is at the upper edge
    ]
    assert reference.get_marker() == "None"
    assert [tick.get_text() for tick in named.get_xticklabels()] == ["sum", "mean"]
    figure.savefig(io.BytesIO())


def test_a_line_that_becomes_infinite_ends_at_the_upper_edge_and_so_do_open_limits():
    own = Series("a", [0, 1, 2, 3], [4.0, 2.0, np.inf, np.inf], [3.0, 1.0, 1.0, np.inf], [5.0, np.inf, np.inf, np.inf])
    figure = finding_figure("t", "", [Panel("p", "epochs", "cost", [own], log="y")])
    (axes,) = figure.axes
    top = axes.get_ylim()[1]
    assert 5 < top < 50
    _, leaving, mark = axes.lines
    assert (list(leaving.get_xdata()), list(leaving.get_ydata())) == ([1, 2], [2, top])
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([2], [top])
    assert [bar[:, 1].tolist() for bar in axes.collections[-1].get_segments()] == [[2, top]]


def test_a_panel_without_a_number_says_so():
    figure = finding_figure("t", "", [Panel("p", "x", "y", [Series("a", [1.0], [np.nan])])])
    assert "nothing to show" in [text.get_text() for text in figure.axes[0].texts]


def test_the_verdict_stands_before_a_claim_in_a_title(found):
    study = study_from(TREE)
    assert findings.caption(study, found[0]) == ("Refuted: One is none.", "A2. One is one.")
    plain = study_from({**TREE, "claims": {"A2": {**TEXTS, "plain": PLAIN}}})
    assert findings.caption(plain, found[0])[1] == "A2. No, it is not."


def test_a_judge_is_a_file_beside_the_claims(tmp_path):
    (tmp_path / "mine.py").write_text("def judge(evidence):\n    yield 'a finding'\n", encoding="utf8")
    assert list(judge_of("mine", tmp_path)(None)) == ["a finding"]


def test_verdicts_along_a_free_constant_are_told_in_runs():
    parts = {
        1.25: Verdict.REFUTED,
        2: Verdict.UNRESOLVED,
        3: Verdict.SUPPORTED,
        4: Verdict.SUPPORTED,
        5: Verdict.SUPPORTED,
    }
    assert verdicts_along(parts) == "1.25 refuted; 2 unresolved; 3 to 5 supported"
    assert verdicts_along({2: Verdict.REFUTED}) == "2 refuted"


@pytest.mark.parametrize(
    ("ratio", "bands", "said"),
    [
        (Ratio(Interval(1, 0.8, 1.25), 10, 20), [(0.9, 1.1)], "1 [0.8, 1.25] (about 110 seeds would tell more)"),
        (
            Ratio(Interval(1, 0.8, 1.25), 10, 10),
            [(0.9, 1.1), (0.5, 2)],
            "1 [0.8, 1.25] (about 55 seeds would tell more)",
        ),
        (Ratio(Interval(1, 0.99, 1.01), 10, 20), [(0.9, 1.1)], "1 [0.99, 1.01]"),
        (Ratio(Interval(1, 0.8, 1.25), 10, 20, "extend it"), [(0.9, 1.1)], "1 [0.8, 1.25] (extend it)"),
        (Ratio(Interval(1, 0.8, 1.25), 10, 20), [], "1 [0.8, 1.25]"),
        (Ratio(Interval(np.nan, 0, np.inf), 10, 20), [(0.9, 1.1)], "unknown"),
    ],
    ids=["open", "one of two bands", "decided", "edge", "shown only", "both lost"],
)
def test_a_ratio_says_what_would_tell_more(ratio, bands, said):
    assert held(ratio, *bands) == said
