"""What machine code is made of: vectors of numbers in registers, e^x.

LLVM has vectors of any width; Numba has no type for them, but lets one be added. A vector is a register of the
processor. Products of small matrices run three times as fast with vectors as in plain loops, which load and store a sum
for each product; a call of BLAS costs more than it saves. Numba would call the C library for each exponential; written
out, they become SIMD: a quarter of the time, same error of 1 ulp.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import register_model
from numba.np.arrayobj import make_array, populate_array
from numpy.typing import DTypeLike, NDArray

from harness.compiled.compiler import compiled, has_feature, operation

# Of a vector: as wide as a register.
BYTES = 64 if has_feature("avx512f") else 32
LINE = 64  # bytes of the cache


def aligned(n: int, dtype: DTypeLike) -> NDArray[Any]:
    """n zeros that begin with a line of the cache: a vector that lies across two takes twice as long to load."""
    raw = np.zeros(n * np.dtype(dtype).itemsize + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : len(raw) - LINE + start].view(dtype)


class Vector(types.Type):
    def __init__(self, number: Any) -> None:
        self.number, self.size = number, 8 * BYTES // number.bitwidth
        super().__init__(name=f"Vector({number})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: Any) -> None:
        number = ir.DoubleType() if vector.number == types.float64 else ir.FloatType()
        super().__init__(manager, vector, ir.VectorType(number, vector.size))


@operation(lambda _, array: types.intp(array))
def lanes_of(context: Any, _: Any, signature: Any, __: Any) -> Any:
    """How many numbers of the array are a vector: known when it is compiled, which array.itemsize is not."""
    return context.get_constant(types.intp, Vector(signature.args[0].dtype).size)


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any, vector: Any) -> Any:
    """To the vector that begins at array[i], the first two arguments."""
    data = make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(data, [arguments[1]]), context.get_value_type(vector).as_pointer())


def _in_row(builder: Any, data: Any, vector: Any, start: Any, stride: Any, r: Any, column: int = 0) -> Any:
    """Pointer to the vector that begins at data[start + r stride + column]."""
    i = builder.add(builder.add(start, builder.mul(stride, r)), start.type(column))
    return builder.bitcast(builder.gep(data, [i]), vector.as_pointer())


def _place(context: Any, builder: Any, kind: Any, places: Any, i: Any) -> Any:
    """places[i], or i where places is None."""
    if not isinstance(kind, types.Array):
        return i
    return builder.load(builder.gep(make_array(kind)(context, builder, places).data, [i]))


@operation(lambda _, places, i: types.intp(places, types.intp))
def place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """places[i], or i where places is None."""
    return _place(context, builder, signature.args[0], *arguments)


def _fused(builder: Any, summand: Any, a: Any, other: Any) -> Any:
    """summand + a · other, rounded once where the processor can."""
    return builder.fadd(summand, builder.fmul(a, other, flags=("contract",)), flags=("contract",))


def _spread(builder: Any, number: Any, vector: Any) -> Any:
    """A vector of the same number everywhere."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


def _below(builder: Any, n: Any, vector: Any) -> Any:
    """Which numbers of a vector are its first n."""
    places = ir.VectorType(ir.IntType(64), vector.count)
    return builder.icmp_signed("<", ir.Constant(places, list(range(vector.count))), _spread(builder, n, places))


@operation(lambda _, array, i: Vector(array.dtype)(array, types.intp))
def load(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """array[i], array[i + 1], …"""
    pointer = _pointer(context, builder, signature, arguments, signature.return_type)
    return builder.load(pointer, align=signature.args[0].dtype.bitwidth // 8)


@operation(lambda _, array, i, vector: types.void(array, types.intp, vector))
def store(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """array[i], array[i + 1], … <- vector."""
    pointer = _pointer(context, builder, signature, arguments, signature.args[2])
    builder.store(arguments[2], pointer, align=signature.args[0].dtype.bitwidth // 8)
    return context.get_dummy_value()


@operation(lambda _, array, i, n: Vector(array.dtype)(array, types.intp, types.intp))
def load_first(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """array[i], …, array[i + n − 1], 0, …: what lies beyond is not read."""
    vector = context.get_value_type(signature.return_type)
    pointer = _pointer(context, builder, signature, arguments, signature.return_type)
    align, mask = ir.IntType(32)(signature.args[0].dtype.bitwidth // 8), _below(builder, arguments[2], vector)
    kind = ir.FunctionType(vector, [pointer.type, align.type, mask.type, vector])
    name = f"llvm.masked.load.v{vector.count}{vector.element.intrinsic_name}.p0"
    function = builder.module.declare_intrinsic(name, fnty=kind)
    return builder.call(function, [pointer, align, mask, ir.Constant(vector, None)])


@operation(lambda _, array, i: array.dtype(array, types.intp))
def number_at(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """array[i] without the question whether i is negative."""
    data = make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.load(builder.gep(data, [arguments[1]]))


@operation(lambda _, array, start, stop: array(array, types.intp, types.intp))
def between(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """array[start:stop], 0 <= start <= stop; Numba's own takes a tenth of a second to compile."""
    array = make_array(signature.args[0])
    whole, part = array(context, builder, arguments[0]), array(context, builder)
    data, shape = builder.gep(whole.data, [arguments[1]]), [builder.sub(arguments[2], arguments[1])]
    return populate_array(part, data, shape, [whole.itemsize], whole.itemsize, None)._getvalue()


@operation(lambda _, array, i: types.void(array, types.intp))
def prefetch(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Tell the cache that array[i] will be read soon; i may lie beyond the end."""
    data, number = make_array(signature.args[0])(context, builder, arguments[0]).data, ir.IntType(32)
    address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
    function = builder.module.declare_intrinsic("llvm.prefetch.p0", fnty=kind)
    builder.call(function, [address, number(0), number(3), number(1)])
    return context.get_dummy_value()


@operation(lambda _, vector, a, other: vector(vector, a, other))
def plus(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """vector + a · other, rounded once where the processor can; a is a number or a vector."""
    vector, a, other = arguments
    if signature.args[1] != signature.args[0]:
        a = _spread(builder, a, vector.type)
    return _fused(builder, vector, a, other)


@operation(
    lambda _, array, i, row, out, to, out_row: types.void(array, types.intp, types.intp, out, types.intp, types.intp)
)
def transpose_square(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """out[to + c out_row + r] <- array[i + r row + c], a square of as many rows as a vector has numbers.

    Of rows d apart, the squares of d numbers off the diagonal are exchanged: d = 1, 2, 4, …
    """
    array, out = (make_array(signature.args[k])(context, builder, arguments[k]).data for k in (0, 3))
    kind, align = Vector(signature.args[0].dtype), signature.args[0].dtype.bitwidth // 8
    vector, n, d, (_, i, row, _, to, out_row) = context.get_value_type(kind), kind.size, 1, arguments
    starts = [_in_row(builder, array, vector, i, row, row.type(r)) for r in range(n)]
    rows = [builder.load(start, align=align) for start in starts]
    while d < n:
        above = [c if not c & d else n + c - d for c in range(n)]
        below = [c + d if not c & d else n + c for c in range(n)]
        masks = [ir.Constant(ir.VectorType(ir.IntType(32), n), places) for places in (above, below)]
        for r in range(n):
            if not r & d:
                pair = rows[r], rows[r + d]
                rows[r], rows[r + d] = (builder.shuffle_vector(*pair, mask) for mask in masks)
        d *= 2
    for r in range(n):
        builder.store(rows[r], _in_row(builder, out, vector, to, out_row, row.type(r)), align=align)
    return context.get_dummy_value()


def tile(rows: int, n_vectors: int) -> Callable[..., Any]:
    """C_r = S_r + factor Σ_k A_rk B_k, k < n, of so many rows and vectors that the sums stay in registers.

    C_r = C[c + r width …], S_r = S[s + r s_row …], B_k = B[b + k width …], A_rk = A[at + r' row + k' step], where r' =
    r_places[r], or r where that is None, and k' alike. Written by hand, it would take Numba longer to compile.
    """
    integer = types.intp

    @operation(
        lambda _, C, c, width, S, s, s_row, factor, A, at, r, r_places, row, k_places, step, n, B, b: types.void(
            C, integer, integer, S, integer, integer, C.dtype, A, integer, integer, r_places, integer, k_places,
            integer, integer, B, integer,
        )
    )  # fmt: skip
    def add_tile(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, c, width, _, s, s_row, factor, _, at, first, r_places, row, k_places, step, n, _, b = arguments
        arrays = ((signature.args[i], arguments[i]) for i in (0, 3, 7, 15))
        C, S, A, B = (make_array(kind)(context, builder, array).data for kind, array in arrays)
        number, lanes = signature.args[0].dtype, Vector(signature.args[0].dtype).size
        vector, align = context.get_value_type(Vector(number)), number.bitwidth // 8

        starts = []
        for r in range(rows):
            r_place = _place(context, builder, signature.args[10], r_places, builder.add(first, row.type(r)))
            starts.append(builder.add(at, builder.mul(row, r_place)))
        zero = ir.Constant(vector, None)
        sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(n_vectors)] for _ in range(rows)]
        with cgutils.for_range(builder, n) as loop:
            columns = [_in_row(builder, B, vector, b, width, loop.index, v * lanes) for v in range(n_vectors)]
            B_k = [builder.load(column, align=align) for column in columns]
            k = builder.mul(step, _place(context, builder, signature.args[12], k_places, loop.index))
            for start, of_row in zip(starts, sums, strict=True):
                a = _spread(builder, builder.load(builder.gep(A, [builder.add(start, k)])), vector)
                for own, other in zip(of_row, B_k, strict=True):
                    builder.store(_fused(builder, builder.load(own), a, other), own)
        factors = _spread(builder, factor, vector)
        for r, of_row in enumerate(sums):
            for v, own in enumerate(of_row):
                summand = builder.load(_in_row(builder, S, vector, s, s_row, s.type(r), v * lanes), align=align)
                moved = _fused(builder, summand, factors, builder.load(own))
                builder.store(moved, _in_row(builder, C, vector, c, width, c.type(r), v * lanes), align=align)
        return context.get_dummy_value()

    return add_tile


@operation(lambda _, a: Vector(a)(a))
def filled(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """a, a, …"""
    return _spread(builder, arguments[0], context.get_value_type(signature.return_type))


@operation(lambda _, vector: vector.number(vector))
def total(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Σ of its numbers, in the order that suits the processor."""
    (vector,), zero = arguments, ir.Constant(context.get_value_type(signature.return_type), -0.0)
    kind = ir.FunctionType(zero.type, [zero.type, vector.type])
    name = f"llvm.vector.reduce.fadd.v{vector.type.count}{zero.type.intrinsic_name}"
    function = builder.module.declare_intrinsic(name, fnty=kind)
    return builder.call(function, [zero, vector], fastmath=("reassoc",))


@operation(lambda _, vector, n, other: vector(vector, types.intp, other))
def first(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """The first n numbers of a vector; the others are those of another."""
    vector, n, other = arguments
    return builder.select(_below(builder, n, vector.type), vector, other)


@operation(lambda _, vector, other: vector(vector, other))
def larger(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Number by number the larger one; of NaN and another, either."""
    return builder.select(builder.fcmp_ordered(">", *arguments), *arguments)


@operation(lambda _, vector: vector.number(vector))
def largest(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """The largest of its numbers, halving the vector: LLVM's own asks at every step what is NaN."""
    (vector,), n = arguments, arguments[0].type.count
    while n > 1:
        n //= 2
        low, high = (ir.Constant(ir.VectorType(ir.IntType(32), n), [*range(at, at + n)]) for at in (0, n))
        one, other = builder.shuffle_vector(vector, vector, low), builder.shuffle_vector(vector, vector, high)
        vector = builder.select(builder.fcmp_ordered(">", one, other), one, other)
    return builder.extract_element(vector, ir.IntType(32)(0))


def exponential(
    number: Any, integer: Any, mantissa: int, bias: int, limits: tuple[float, float], ln2: tuple[float, float], n: int
) -> Callable[..., Any]:
    """x -> e^x = 2^k e^r with k = round(x / log 2), |r| <= ½ log 2, and n + 1 terms of the Taylor series of e^r.

    Adding 1.5 · 2^mantissa rounds to an integer that sits in the low bits of the sum, from where it is shifted into the
    exponent. log 2 comes as a sum of two numbers, of which k times the first is exact. NaN goes through.
    """
    rounder, log2_e, ln2_high, ln2_low = (number(c) for c in (1.5 * 2.0**mantissa, 1 / np.log(2), *ln2))
    lowest, highest = (number(limit) for limit in limits)
    series = tuple(number(1 / math.factorial(i)) for i in range(n, -1, -1))

    @compiled
    def exp(x: Any) -> Any:
        x = lowest if x < lowest else (highest if x > highest else x)
        shifted = x * log2_e + rounder
        k = shifted - rounder
        r = (x - k * ln2_high) - k * ln2_low
        e_r = series[0]
        for c in series[1:]:
            e_r = e_r * r + c
        return e_r * integer((number(shifted).view(integer) + bias) << mantissa).view(number)

    return exp


FDLIBM, CEPHES = (6.93147180369123816490e-01, 1.90821492927058770002e-10), (0.693359375, -2.12194440e-4)
exp64 = exponential(np.float64, np.int64, 52, 1023, (-708, 709), FDLIBM, 13)
exp32 = exponential(np.float32, np.int32, 23, 127, (-87, 88), CEPHES, 7)


@compiled
def inplace_exp(z: Any) -> None:
    """z <- e^z, z (n,); below -708 (-87 in single precision) as at it, above 709 (88) likewise: never 0, never inf."""
    if lanes_of(z) == BYTES // 8:
        for i in range(z.size):
            z[i] = exp64(z[i])
    else:
        for i in range(z.size):
            z[i] = exp32(z[i])
