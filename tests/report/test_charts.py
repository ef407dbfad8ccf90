"""Charts that hold no numbers are kept: a page is the same whether Bokeh made them now or before."""

import pandas as pd
import pytest

from harness.config import kept
from harness.report import charts


def cells(**columns):
    n = max(map(len, columns.values()))
    same = {"setting": ["digits"], "task": ["a"], "batch_size": [8], "learning_rate": [0.1], "reduction": ["mean"]}
    named = {"label": list("abcdefgh"[:n]), "score": [0.1 * (i + 1) for i in range(n)]}
    return pd.DataFrame(named | {key: values * n for key, values in same.items()} | columns)


VARIED = {
    "batch sizes": cells(batch_size=[1, 64]),
    "rates": cells(learning_rate=[0.1, 0.2]),
    "three keys": cells(
        batch_size=[1, 8] * 2, learning_rate=[0.1, 0.2, 0.4, 0.8], reduction=["sum"] * 2 + ["mean"] * 2
    ),
}


@pytest.mark.sample(1)
@pytest.mark.parametrize("varied", VARIED)
def test_what_was_kept_is_what_bokeh_makes(tmp_path, monkeypatch, varied):
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "kept")
    first = charts.charts(VARIED[varied]), charts.javascript()
    n_kept = len(list((tmp_path / "kept").iterdir()))
    assert n_kept == 2 - (varied == "three keys")
    with monkeypatch.context() as patch:
        if n_kept == 2:
            patch.setattr(charts, "_made", None)
        assert (charts.charts(VARIED[varied]), charts.javascript()) == first
    monkeypatch.setattr(charts, "version", lambda name: "another")
    assert (charts.charts(VARIED[varied]), charts.javascript()) == first
    assert len(list((tmp_path / "kept").iterdir())) == n_kept
