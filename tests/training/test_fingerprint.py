"""Fingerprints: the same bits, the same digest; one bit off, another one; and a record has them where it should."""

import hashlib
import struct
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

import harness.training.cell
from harness.app.composition import compose_cells
from harness.config.schema import Config
from harness.data.datasets import load
from harness.training import tables
from harness.training.cell import Cell, CellResult
from harness.training.checkpoints import Outcome, is_geometric
from harness.training.loop import Fingerprint, digest, fingerprint


@lru_cache
def composed(*words: str) -> Config:
    """A small cell on iris (N = 90)."""
    return compose_cells(["dataset=iris", "epochs=4", "seeds=4", *words]).cells[0][0]


def trained(*words: str) -> CellResult:
    config = composed(*words)
    cell = Cell(config, load(config.dataset))
    for _ in cell.train():
        pass
    return cell.result()


def taken(result: CellResult) -> dict[tuple[int, int], Fingerprint]:
    """(update, replica) -> fingerprint."""
    return {(record.update, f.replica): f for record in result.records for f in record.fingerprints}


@pytest.mark.parametrize(("dtype", "code"), [("float64", "d"), ("float32", "f")])
def test_the_digest_is_blake2b_of_the_dtype_and_the_little_endian_numbers(dtype, code):
    """Once more, with the standard library alone; a big-endian machine would hold the same numbers the other way."""
    numbers = [1.5, -0.0, 3e-30, 2.25]
    packed = dtype.encode() + struct.pack(f"<4{code}", *numbers)
    expected = hashlib.blake2b(packed, digest_size=8).hexdigest()
    assert len(expected) == 16
    assert digest(np.array(numbers, dtype)) == expected
    assert digest(np.array(numbers, np.dtype(dtype).newbyteorder(">"))) == expected


@pytest.mark.parametrize(("dtype", "bits"), [(np.float64, np.uint64), (np.float32, np.uint32)])
def test_every_single_bit_of_a_weight_counts(dtype, bits):
    theta = np.array([0.5, 1.25, -2.0], dtype)
    n_bits = 8 * theta.itemsize
    seen = {digest(theta)}
    for bit in range(n_bits):
        flipped = theta.copy()
        flipped.view(bits)[1] ^= bits(1 << bit)
        seen.add(digest(flipped))
    assert len(seen) == 1 + n_bits


def test_the_dtype_and_the_order_of_the_weights_count():
    assert digest(np.zeros(4, np.float32)) != digest(np.zeros(2, np.float64))
    assert digest(np.array([1.0, 2.0])) != digest(np.array([2.0, 1.0]))


def test_all_nans_are_one():
    """Sign and payload of a NaN depend on the instruction that made it."""
    theta = np.array([1.0, np.nan, 2.0])
    other = theta.copy()
    other.view(np.uint64)[1] ^= np.uint64((1 << 63) | 1)
    assert theta.tobytes() != other.tobytes()
    assert digest(theta) == digest(other)
    assert digest(theta) != digest(np.array([1.0, np.inf, 2.0]))


def test_a_row_of_a_stack_has_the_digest_of_the_replica_alone():
    """Whether it lies side by side with others, or with gaps between its numbers."""
    stack = np.random.default_rng(0).normal(size=(3, 50))
    assert digest(stack[1]) == digest(stack[1].copy()) == digest(np.asfortranarray(stack)[1])
    assert fingerprint(1, stack[1]) == fingerprint(1, stack[1].copy())


@pytest.mark.parametrize(
    ("theta", "norm"),
    [([3.0, 4.0], 5.0), ([1e200, 0.0], np.inf), ([np.inf, 0.0], np.inf), ([np.nan, 1.0], np.nan), ([0.0], 0.0)],
)
def test_the_norm_is_euclidean_and_never_a_warning(theta, norm):
    assert fingerprint(7, np.array(theta))[::2] == pytest.approx((7, norm), nan_ok=True)


def test_single_precision_is_summed_in_double():
    """(10^25)² is beyond float32."""
    assert fingerprint(0, np.array([1e25], np.float32)).norm == pytest.approx(1e25)


def test_a_record_has_them_at_zero_on_the_geometric_grid_and_at_the_end():
    """B = 16: six updates an epoch, so updates 12 and 18 are checkpoints off the grid, and 24 is the end."""
    result = trained("batch_size=16")
    assert {12, 18} < {record.update for record in result.records}
    grid = {u for u in range(25) if u == 0 or is_geometric(u, 10)}
    assert set(taken(result)) == {(u, r) for u in grid | {24} for r in range(4)}
    assert not {12, 18, 24} & grid


def test_a_replica_that_ends_between_has_its_last():
    """At a checkpoint off the grid, each has the fingerprint of the weights that it leaves, and nobody else has one."""
    result = trained("batch_size=16", "epochs=30", "learning_rate=1", "target=0.2")
    ends = {
        int(r): record.update
        for record in result.records
        for r, outcome in zip(record.replica, record.outcome, strict=True)
        if outcome is Outcome.REACHED
    }
    assert len(ends) == 4
    assert any(not is_geometric(update, 10) for update in ends.values())
    found = taken(result)
    for r, update in ends.items():
        assert found[update, r] == fingerprint(r, result.parameters.flat[r])
        assert max(u for u, replica in found if replica == r) == update
    assert {(u, r) for u, r in found if u and not is_geometric(u, 10)} == {
        (u, r) for r, u in ends.items() if not is_geometric(u, 10)
    }


def test_a_replica_that_diverged_has_its_last_too():
    result = trained("learning_rate=1000", "reduction=sum", "model.activation=relu", "seeds=3")
    table = tables.fingerprints(result)
    diverged = [r for record in result.records for r, o in zip(record.replica, record.outcome, strict=True) if o]
    assert sorted(map(int, diverged)) == [0, 1, 2]
    last = table.groupby("replica").last()
    assert last["digest"].tolist() == [digest(flat) for flat in result.parameters.flat]


@pytest.mark.parametrize(
    "words", [(), ("dtype=float32",), ("dataset.resample=true",), ("learning_rate=1e300",)], ids=str
)
def test_a_replica_has_the_same_in_every_company(monkeypatch, words):
    """One stack of five, five alone, and the first three of them; also while they go to pieces."""
    monkeypatch.setattr(harness.training.cell, "CACHE_BYTES", 1 << 40)
    together, fewer = taken(trained("seeds=6", *words)), taken(trained("seeds=3", *words))
    monkeypatch.setattr(harness.training.cell, "CACHE_BYTES", 0)
    alone = taken(trained("seeds=6", *words))
    assert same(together) == same(alone)
    assert same(fewer) == {key: value for key, value in same(together).items() if key[1] < 3}


def same(found: dict[tuple[int, int], Fingerprint]) -> dict[tuple[int, int], tuple[Any, ...]]:
    """NaN as text, so that it equals itself."""
    return {key: (f.digest, repr(f.norm)) for key, f in found.items()}


def test_the_table_has_a_row_for_each():
    result = trained("seeds=2")
    table = tables.fingerprints(result)
    assert list(table) == ["update", "replica", "digest", "norm"]
    rows = {(int(row.update), int(row.replica)): (row.digest, row.norm) for row in table.itertuples()}
    assert rows == {key: (f.digest, f.norm) for key, f in taken(result).items()}
    assert table["update"].is_monotonic_increasing
    assert {len(text) for text in table["digest"]} == {16}
    assert table.query("replica == 0")["digest"].nunique() == table["update"].nunique()
