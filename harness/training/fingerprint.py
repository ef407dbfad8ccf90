"""A replica's parameters at one update, as a digest and a norm: what a repetition of its training is compared with."""

import hashlib
import math
from typing import NamedTuple

import numpy as np

from harness.network import Array


class Fingerprint(NamedTuple):
    """norm: ‖θ‖₂, inf when the sum of the squares overflows."""

    replica: int
    digest: str
    norm: float


def fingerprint(replica: int, theta: Array) -> Fingerprint:
    """theta (P,): all weights and biases of the replica."""
    with np.errstate(over="ignore", invalid="ignore"):  # a diverged replica has a fingerprint too
        norm = math.sqrt(np.square(theta, dtype=np.float64).sum())
    return Fingerprint(replica, digest(theta), norm)


def digest(theta: Array) -> str:
    """blake2b, 16 hexadecimal digits, over the name of the dtype and the little-endian bytes of theta (P,).

    One bit of one parameter changes it, the sign of a zero too. NaN counts as one value: its bit pattern may differ
    between a stack and a replica alone.
    """
    plain = np.where(np.isnan(theta), np.array(np.nan, theta.dtype), theta)
    little_endian = np.ascontiguousarray(plain, dtype=plain.dtype.newbyteorder("<"))
    hashed = hashlib.blake2b(plain.dtype.name.encode(), digest_size=8)
    hashed.update(little_endian.data)
    return hashed.hexdigest()
