"""The hand-out: who is ahead, from tables made by hand; the page, from the sweep that it trains."""

import re

import numpy as np
import pandas as pd
import pytest

from examples import __main__ as command
from examples import handout


def replicas(**needed):
    """A table of replicas: of each cell `B..rate..` the updates to the target, NaN where it was not reached."""
    rows = []
    for cell, updates in needed.items():
        size, rate = map(int, re.findall(r"\d+", cell))
        for replica, value in enumerate(updates):
            seconds = value * {1: 1, 64: 2}[size]
            rows.append((replica, cell, size, rate, value, value * size, seconds))
    names = (
        "replica",
        "cell",
        "batch_size",
        "learning_rate",
        "to_target_updates",
        "to_target_epochs",
        "to_target_seconds",
    )
    return pd.DataFrame(rows, columns=names)


def test_the_best_cell_counts_what_was_not_reached():
    table = replicas(B1rate1=[10, 10, 10], B1rate2=[1, np.nan, np.nan], B64rate1=[5, 5, 5], B64rate2=[4, 4, np.nan])
    assert handout.best_cells(table) == {1: "B1rate1", 64: "B64rate2"}


def test_who_is_ahead_depends_on_the_clock_and_says_in_how_many_replicas():
    table = replicas(B1rate1=[10, 10, 3], B64rate1=[6, 7, 4])
    cells = handout.best_cells(table)
    assert handout.ahead(handout.to_target(table, cells, "updates")) == (64, 2, 3)
    assert handout.ahead(handout.to_target(table, cells, "seconds")) == (1, 3, 3)


def test_a_replica_that_did_not_arrive_is_behind():
    table = replicas(B1rate1=[3, 3, np.nan], B64rate1=[9, 9, 9])
    needed = handout.to_target(table, handout.best_cells(table), "updates")
    assert needed.loc[2, 1] == np.inf
    assert handout.ahead(needed) == (1, 2, 3)


@pytest.mark.parametrize(
    "words",
    ["handout /", "handout taken", "handout new/h.pdf", "handout h.docx", "handout folder.pdf", "handout taken/h.pdf",
     "html taken", "ipynb taken/new", "browser taken"],
)  # fmt: skip
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_trained(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    (tmp_path / "folder.pdf").mkdir()
    monkeypatch.setattr("sys.argv", ["examples", *words.split()])
    monkeypatch.setattr("harness.sweep", None)
    with pytest.raises(SystemExit) as ended:
        command.main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert words.split()[1] in said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.pdf", "taken"]


@pytest.mark.slow
def test_the_page_is_one_and_says_what_the_tables_say(tmp_path, monkeypatch):
    """On this data B = 1 needs the fewest epochs and B = N the fewest updates by far; seconds are the machine's."""
    import harness

    kept = []
    sweep = harness.sweep
    monkeypatch.setattr(harness, "sweep", lambda *grids, **settings: kept.append(sweep(*grids, **settings)) or kept[0])
    path = handout.write(tmp_path / "handout.pdf")
    data = path.read_bytes()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", data)) == 1
    (one,) = kept
    cells = handout.best_cells(one.replicas)
    by_hand = one.cells[one.cells["to_target/updates"].notna()]
    lowest = by_hand.loc[by_hand.groupby("batch_size")["to_target/updates"].idxmin()].set_index("batch_size")["cell"]
    assert cells == {int(size): cell for size, cell in lowest.items()}
    clocks = {clock: handout.ahead(handout.to_target(one.replicas, cells, clock)) for clock in handout.CLOCKS}
    assert clocks["epochs"] == (1, 10, 10)
    assert clocks["updates"] == (1437, 10, 10)
    said = " ".join(text.get_text() for text in handout.page(one).texts)
    for clock, found in clocks.items():
        assert f"B = {found.batch_size} per {clock[:-1]}" in said
        assert f"{clock}: B = {found.batch_size} in {found.n_lowest} of 10" in said.replace("\n", " ")


def test_without_marimo_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["examples", "html", str(tmp_path / "pages")])
    monkeypatch.setattr(command, "find_spec", lambda library: None)
    with pytest.raises(SystemExit, match="2"):
        command.main()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert 'pip install -e ".[lessons]"' in said
    assert not (tmp_path / "pages").exists()
