"""Answers in plain words, made from verdicts by setting."""

from harness.inference import Verdict
from harness.report.answers import joined, where


def test_names_are_joined_as_in_a_sentence():
    assert [joined(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_each_name_stands_with_its_verdict():
    found = {"iris": Verdict.REFUTED, "wine": Verdict.SUPPORTED, "digits": Verdict.SUPPORTED}
    assert where(found) == "on wine and digits yes, on iris no"
    half = {"5 %": Verdict.UNRESOLVED, "10 %": Verdict.CONDITIONAL}
    assert where(half, "by ") == "by 10 % in part, by 5 % not decided"


def test_names_that_speak_for_themselves_need_no_word_before():
    found = {"per update": Verdict.SUPPORTED, "per example": Verdict.REFUTED}
    assert where(found, "") == "per update yes, per example no"
    assert where({"wine": Verdict.UNRESOLVED}) == "on wine not decided"
