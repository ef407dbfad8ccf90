"""The arrays that a pass over a batch writes into: made once, because a new array costs as much as filling it."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike

from harness.network.parameters import Array, operand

CACHE_LINE = 64  # bytes; arrays begin on one


class Memory:
    """One block of memory, as large as the largest pass needs; networks that never run at the same time may share it.

    buffers: those that were made in the block, by (R, B); forgotten when the block must grow.
    """

    def __init__(self) -> None:
        self.buffers: dict[tuple[int, int], Buffers] = {}
        self._block = np.empty(0, np.uint8)

    def arrays(self, shapes: Sequence[tuple[int, ...]], dtype: DTypeLike) -> list[Array]:
        """Uninitialised arrays side by side at the start of the block, so they overwrite those of the call before."""
        itemsize = np.dtype(dtype).itemsize
        ends = np.cumsum([-(-math.prod(shape) * itemsize // CACHE_LINE) * CACHE_LINE for shape in shapes]).tolist()
        if ends[-1] + CACHE_LINE > self._block.size:
            self.buffers.clear()
            self._block = np.empty(0, np.uint8)  # the old block is free before the new one is allocated
            self._block = np.empty(ends[-1] + CACHE_LINE, np.uint8)
        first = -self._block.ctypes.data % CACHE_LINE
        starts = [first, *(first + end for end in ends[:-1])]
        return [np.ndarray(shape, dtype, self._block, at) for shape, at in zip(shapes, starts, strict=True)]


class Buffers:
    """What one pass over a batch of B examples writes: Z of every layer, which becomes A, and delta of every layer.

    delta of the last layer takes the place of its Z. ones: the row that sums a batch. outer: see `OuterProduct`.
    """

    def __init__(self, sizes: Sequence[int], n_stack: int, n_examples: int, dtype: DTypeLike, memory: Memory) -> None:
        shapes = [(n_stack, n_examples, n) for n in (*sizes[1:], *sizes[1:-1])]
        arrays = [operand(V) for V in memory.arrays(shapes, dtype)]
        self.Z = arrays[: len(sizes) - 1]
        self.delta = [*arrays[len(sizes) - 1 :], self.Z[-1]]
        self.ones = np.ones((1, n_examples), dtype)
        single = n_examples == 1 and n_stack > 1
        self.outer = [OuterProduct(n_stack, *shape, dtype) for shape in pairwise(sizes)] if single else None


class OuterProduct:
    """dW = Aᵀ delta of a stack for a batch of one example: 3 times as fast as np.matmul, which uses a plain loop there.

    With a second row of zeros in A and delta BLAS does it, and adds 0 · 0 to every product. A pass writes A_row and
    delta_row, and multiplies A_T by delta.
    """

    def __init__(self, n_stack: int, n_in: int, n_out: int, dtype: DTypeLike) -> None:
        self.A, self.delta = np.zeros((n_stack, 2, n_in), dtype), np.zeros((n_stack, 2, n_out), dtype)
        self.A_row, self.delta_row, self.A_T = self.A[:, :1], self.delta[:, :1], self.A.mT
