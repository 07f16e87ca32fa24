"""Coefficients as integers, whose sums are exact."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qama_jax.problems.base import Problem
from qama_jax.problems.ising import Ising

# Of the bits of an integer, those that are left to the sum of up to 500 coefficients, and to its sign.
_CARRY_BITS = 10


class IntegerCoefficients(NamedTuple):
    """Coefficients of the energy `Σ_i linear_i v_i + Σ_{i<j} pairs_ij v_i v_j`, in two digits each.

    A coefficient is `first · 2^digit_bits + second` units, rounded to one. The largest is at most 2^(2 digit_bits)
    units, 2^42 in float32, so that sums of whole numbers that the type holds are exact.
    """

    pairs: Int[Array, "digits n n"]
    linear: Int[Array, "digits n"]


def digit_bits(dtype: jnp.dtype) -> int:
    """Bits of a digit in integers of this type, or of the size of a floating-point type: 21 of 32 bits, 53 of 64."""
    return 8 * dtype.itemsize - 1 - _CARRY_BITS


def integer_coefficients(problem: Problem) -> IntegerCoefficients:
    """Integers over the spins of an Ising problem, where they stay integers; for others over bits in a row."""
    if isinstance(problem, Ising):
        matrix, linear = problem.as_matrix() / 4, problem.biases
    else:
        exists = problem.clamp(jnp.ones(problem.shape, jnp.int8)).reshape(-1).astype(problem.dtype)
        matrix = problem.as_matrix() * exists[:, None] * exists[None]
        linear = problem.linear.reshape(-1) * exists
    pairs = jnp.triu(matrix, 1)
    _, exponent = jnp.frexp(jnp.maximum(jnp.max(jnp.abs(pairs)), jnp.max(jnp.abs(linear))))
    bits = digit_bits(linear.dtype)

    def digits(numbers: Float[Array, "..."]) -> Int[Array, "digits ..."]:
        # Powers of two round nothing, nor does what is left of the first digit.
        scaled = jnp.ldexp(numbers, bits - exponent)
        first = jnp.rint(scaled)
        return jnp.stack([first, jnp.rint(jnp.ldexp(scaled - first, bits))]).astype(f"int{8 * linear.dtype.itemsize}")

    return IntegerCoefficients(digits(-pairs), digits(-linear))
