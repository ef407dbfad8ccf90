"""What a sweep of cells that are all there asks of the store and of the parser does not grow with their number."""

from collections import Counter

import pandas as pd
import pytest

from harness.runs import parent as sweep
from harness.store import Store, searching
from harness.store.client import Client
from harness.store.rows import Tables
from harness.store.searching import FEW

SMALL = ["-m", "dataset=iris", "updates=2", "seeds=2", "batch_size=8"]


@pytest.fixture
def counted(monkeypatch):
    """How often each of these was called."""
    calls = Counter()

    def count(owner, name):
        own = getattr(owner, name)

        def called(*arguments, **options):
            calls[name] += 1
            return own(*arguments, **options)

        monkeypatch.setattr(owner, name, called)

    for owner, name in ((pd, "read_csv"), (Store, "_page"), (Store, "_download"), (Client, "set_tag")):
        count(owner, name)
    return calls


def calls_of_a_second_command(project, counted, n_cells: int) -> Counter:
    rates = [f"{0.001 * (k + 1):.3f}" for k in range(n_cells)]
    assert project.run(*SMALL, f"learning_rate={','.join(rates)}")[0] == 0
    counted.clear()
    code, said = project.run(*SMALL, f"learning_rate={','.join(reversed(rates))}")  # else it was answered before
    assert code == 0
    assert f"{n_cells} of {n_cells} cells trained ({n_cells} found finished in the store)" in said
    return Counter(counted)


@pytest.mark.slow
def test_the_second_command_asks_as_often_for_many_cells_as_for_few(project, counted, monkeypatch):
    monkeypatch.setattr(sweep, "figures", lambda *about: {})
    few = calls_of_a_second_command(project, counted, 2)
    many = calls_of_a_second_command(project, counted, FEW + 4)
    assert few["read_csv"] >= 2
    assert many <= few


@pytest.mark.slow
@pytest.mark.parametrize("tables", [True, False])
def test_cells_that_are_not_among_the_newest_are_found_too(project, monkeypatch, tables):
    if not tables:  # as with a server
        monkeypatch.setattr(Tables, "of", lambda uri: None)
    monkeypatch.setattr(searching, "FEW", 1)
    monkeypatch.setattr(searching, "NEWEST", 1)
    assert project.run(*SMALL, "learning_rate=0.1,0.2,0.3,0.4")[0] == 0
    code, said = project.run(*SMALL, "learning_rate=0.1,0.2,0.5")
    assert code == 0
    assert "3 of 3 cells trained (2 found finished in the store)" in said
