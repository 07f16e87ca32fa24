"""What the machine allows the layer: the least time that its products and its memory traffic take."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.timing import interleave

# Forward and backward: products of N·D² a head, and passes over an array of the batch such as the queries.
_PRODUCTS, _PASSES = 9, 16


class Peaks(NamedTuple):
    """What large operations reach here: floating-point operations and bytes in a second."""

    flops: float
    bytes: float


def measure_peaks(repeats: int) -> Peaks:
    """The rates of a product of large matrices and of a copy, both in float32, each the best of `repeats`."""
    matrix, array = jnp.ones((2048, 2048)), jnp.ones((2048, 8192))
    multiply, copy = jax.jit(lambda matrix: matrix @ matrix), jax.jit(lambda array: array + 1)
    seconds = interleave({"product": lambda: multiply(matrix), "copy": lambda: copy(array)}, repeats)
    return Peaks(2 * len(matrix) ** 3 / min(seconds["product"]), 2 * array.nbytes / min(seconds["copy"]))


def limit(peaks: Peaks, shape: Sequence[int]) -> float:
    """Seconds that forward and backward take at least, in float32: the larger of products and traffic.

    Args:
      peaks: of this machine.
      shape: batch, tokens, heads and head_dim.
    """
    batch, tokens, heads, head_dim = shape
    numbers = batch * tokens * heads * head_dim
    return max(_PRODUCTS * 2 * numbers * head_dim / peaks.flops, _PASSES * 4 * numbers / peaks.bytes)
