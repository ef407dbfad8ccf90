"""Scores beside what a constant prediction has, and what was done to the data as Markdown."""

import numpy as np
import pandas as pd
from markdown_it import MarkdownIt

from harness.report import about_data, score_sentences

ROWS = pd.DataFrame(
    {
        "dataset": ["a", "a", "b", "c"],
        "final/validation_accuracy": [0.91, 0.42, np.nan, np.nan],
        "baseline/validation_accuracy": [0.6, 0.6, np.nan, np.nan],
        "final/validation_balanced_accuracy": [0.8, np.nan, np.nan, np.nan],
        "baseline/validation_balanced_accuracy": [0.5, 0.5, np.nan, np.nan],
        "final/validation_r2": [np.nan, np.nan, -0.25, np.nan],
        "baseline/validation_r2": [np.nan, np.nan, 0.0, np.nan],
    }
)


def test_each_dataset_has_its_scores_beside_their_baselines():
    assert score_sentences(ROWS) == [
        "a: validation accuracy 0.42 to 0.91 over 2 cells (always the most frequent class: 0.6); "
        "validation balanced accuracy 0.8 (always the same class: 0.5).",
        "b: validation R² -0.25 (always the mean: 0).",
    ]


def test_without_scores_nothing_is_said():
    assert score_sentences(ROWS[["dataset"]]) == []
    assert score_sentences(ROWS[ROWS["dataset"] == "c"]) == []
    assert score_sentences(ROWS[:0]) == []


def test_names_of_columns_are_no_markdown():
    notes = ["left out: 'a*b*c', '<b>', '[x](http://y)', '`z`', 'a_b_c', '|', '\\\\'", "second"]
    text = about_data(notes)
    body = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [token for token in body if token.type == "inline"]
    assert [token.content and "".join(child.content for child in token.children) for token in inline] == [
        "Data",
        *notes,
    ]
    assert about_data([]) == ""
