"""Exhaustive enumeration: the oracle for small problems."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from qama_jax.problems.base import Bits, Problem, is_concrete
from qama_jax.problems.enumeration import lowest_state
from qama_jax.problems.integers import IntegerCoefficients, digit_bits, integer_coefficients
from qama_jax.problems.ising import Ising
from qama_jax.problems.quadratic import Quadratic
from qama_jax.solvers.base import Solution

_MAX_BITS = 24
_BLOCK_BITS = 12


@dataclasses.dataclass(frozen=True)
class Exhaustive:
    """Computes the energy of every state and returns a lowest one; at most 24 bits. The key has no effect.

    States are compared in exact arithmetic. Where a `Qubo` or `Ising` was made from numbers that its floats do not
    hold, such as integers above 2^24, and is no argument of a transformation, these numbers themselves are compared, on
    the host. Elsewhere, under `jax.jit` and `jax.vmap`, the problem's numbers are those of its arrays.

    Raises:
      ValueError: when solving a problem of more than 24 bits, or from a warm start.
    """

    num_reads = 1

    def sample(self, key: Key[Array, ""], problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, Array]]:
        del key
        _check(problem, initial_bits)
        num_bits = math.prod(problem.shape)
        coefficients = integer_coefficients(problem)
        split = min(num_bits, _BLOCK_BITS)
        integer, unit_bits = coefficients.linear.dtype, digit_bits(coefficients.linear.dtype)

        def states(numbers: Int[Array, "k"], size: int) -> Int[Array, "k size"]:
            bits = _binary(numbers, size).astype(integer)
            return 2 * bits - 1 if isinstance(problem, Ising) else bits

        # The first variables run through all of their states in each block, the others stand still.
        block = states(jnp.arange(2**split, dtype=jnp.int32), split)

        def of_block(digit: IntegerCoefficients) -> Int[Array, "states"]:
            return _energies(block, digit.pairs[:split, :split], digit.linear[:split])

        def with_rest(digit: IntegerCoefficients, rest: Int[Array, "1 rest"]) -> Int[Array, "states"]:
            between = _products(digit.pairs[:split, split:], rest[0])
            return _products(block, between) + _energies(rest, digit.pairs[split:, split:], digit.linear[split:])

        alone = jax.vmap(of_block)(coefficients)

        def lowest_of_block(carry: Any, index: Int[Array, ""]) -> tuple[Any, None]:
            rest = states(index[None], num_bits - split)
            first, second = alone + jax.vmap(with_rest, in_axes=(0, None))(coefficients, rest)
            high, low = first + (second >> unit_bits), second & (2**unit_bits - 1)
            place = jnp.argmin(jnp.where(high == jnp.min(high), low, jnp.iinfo(integer).max)).astype(jnp.int32)
            found = index * 2**split + place, high[place], low[place]
            _, best_high, best_low = carry
            lower = (found[1] < best_high) | ((found[1] == best_high) & (found[2] < best_low))
            return jax.tree.map(lambda new, old: jnp.where(lower, new, old), found, carry), None

        # Like the problem, so that `jax.shard_map` knows them to vary as it does.
        zero = jnp.zeros_like(problem.linear, dtype=jnp.int32, shape=())
        start = zero, zero.astype(integer) + jnp.iinfo(integer).max, zero.astype(integer)
        blocks = jnp.arange(2 ** (num_bits - split), dtype=jnp.int32)
        (state, _, _), _ = jax.lax.scan(lowest_of_block, start, blocks)
        return _binary(state[None], num_bits).astype(jnp.int8).reshape(1, *problem.shape), {}

    def runs_on_host(self, problem: Problem) -> bool:
        """See `HostSolver`: where floats hold the problem's numbers only rounded."""
        return (
            isinstance(problem, Quadratic)
            and all(map(is_concrete, jax.tree.leaves(problem)))
            and math.prod(problem.shape) <= _MAX_BITS
            and problem.is_rounded
        )

    def solve_on_host(self, problem: Quadratic, initial_bits: Any) -> Solution:
        """See `HostSolver`."""
        _check(problem, initial_bits)
        terms = problem.terms()
        bits = lowest_state(terms)
        energy = jnp.asarray(np.asarray(terms.energies(bits[None]), np.float64), problem.dtype)
        return Solution(jnp.asarray(bits), energy[0], jnp.asarray(bits[None]), energy, {})


def _check(problem: Problem, initial_bits: Any) -> None:
    if initial_bits is not None:
        raise ValueError("initial_bits cannot be honoured: Exhaustive visits every state; leave them out")
    num_bits = math.prod(problem.shape)
    if num_bits > _MAX_BITS:
        raise ValueError(
            f"Exhaustive takes at most {_MAX_BITS} bits, the problem has {num_bits}: "
            f"2**{num_bits} states; use SimulatedBifurcation instead"
        )


def _binary(numbers: Int[Array, "k"], size: int) -> Int[Array, "k size"]:
    """Binary digits, the lowest first."""
    return (numbers[:, None] >> jnp.arange(size, dtype=numbers.dtype)[None]) & 1


def _products(matrix: Int[Array, "k n"], vector: Int[Array, "n"]) -> Int[Array, "k"]:
    """Not as a dot, which accelerators lack for integers."""
    return jnp.sum(matrix * vector[None], axis=1, dtype=matrix.dtype)


def _energies(states: Int[Array, "k n"], pairs: Int[Array, "n n"], linear: Int[Array, "n"]) -> Int[Array, "k"]:
    of_pairs = jnp.sum(states[:, :, None] * states[:, None, :] * pairs[None], axis=(1, 2), dtype=states.dtype)
    return of_pairs + _products(states, linear)
