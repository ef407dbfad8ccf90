"""A part of a cell trains some of its replicas, with the bits that they have in the whole."""

import pandas as pd
import pytest
from configs import configured
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cell import COMPILED, draw_dataset

from harness.training import tables
from harness.training.cell import Cell


@pytest.mark.sample(3)
@pytest.mark.parametrize("changes", [{}, {"engine": "per_example"}, COMPILED, {"order": "once"}], ids=str)
@pytest.mark.parametrize("resample", [False, True])
@given(st.integers(1, 5), st.integers(1, 3), st.sampled_from([1, 8, "full"]))
@settings(max_examples=8)
def test_a_part_of_a_cell_has_the_bits_of_its_replicas_in_the_whole(resample, changes, first, n, batch_size):
    """Tables, weights and fingerprints of replicas first ... first + n − 1, whichever are trained beside them."""
    shared = {"batch_size": batch_size, "dataset_resample": resample, "learning_rate": 2.0, "target": 0.3, **changes}
    config, part = (configured(**shared, seeds=8), configured(**shared, seeds=first + n, first_replica=first))
    mine = range(first, first + n)
    found, whole = (_tables(Cell(one, draw_dataset()), mine) for one in (part, config))
    for name in whole:
        pd.testing.assert_frame_equal(found[name], whole[name], check_exact=True)


def _tables(cell: Cell, replicas: range) -> dict[str, pd.DataFrame]:
    for _ in cell.train():
        pass
    result = cell.result()
    weights = pd.DataFrame(result.parameters.flat).assign(replica=cell.config.replicas)
    found = {
        "history": tables.history(result, cell.config).drop(columns="train_seconds"),
        "replicas": tables.replicas(result, cell.config).drop(columns="to_target_seconds"),
        "fingerprints": tables.fingerprints(result),
        "weights": weights,
    }
    return {
        name: own[own["replica"].isin(replicas)].sort_values(list(own)[:2], ignore_index=True)
        for name, own in found.items()
    }


def test_the_first_replica_of_a_part_is_on_the_clock_and_observed():
    cell = Cell(configured(seeds=6, first_replica=4, diagnostics="cheap"), draw_dataset())
    records = list(cell.train())
    result = cell.result()
    assert [stack.replicas.tolist() for stack in cell.stacks()] == [[4], [5]]
    assert records[-1].train_seconds > 0
    assert set(tables.batch_costs(result)["replica"]) == {4}
    assert len(tables.diagnostics(result)) > 0
    assert tables.summary(result, tables.replicas(result, cell.config))["time/update_us"] > 0
