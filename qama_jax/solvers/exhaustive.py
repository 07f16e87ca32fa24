"""Exhaustive enumeration: the oracle for small problems."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from qama_jax.problems.base import Bits, Problem, is_concrete
from qama_jax.problems.enumeration import lowest_state
from qama_jax.problems.ising import Ising
from qama_jax.problems.quadratic import Quadratic
from qama_jax.solvers.base import Solution

_MAX_BITS = 24
_BLOCK_BITS = 12

# Of the bits of an integer, those that keep apart the sum of up to 300 coefficients, and its sign.
_CARRY_BITS = 10


class _Digits(NamedTuple):
    """Coefficients of the energy `Σ_i linear_i v_i + Σ_{i<j} pairs_ij v_i v_j` as integers, in two digits each.

    A coefficient is `(first · 2^bits + second)` units, rounded to one, which is 2^(2 bits) times smaller than the
    largest coefficient: whole numbers of the problem's type are whole numbers of units, and their sums exact.
    """

    pairs: Int[Array, "digits n n"]
    linear: Int[Array, "digits n"]


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
        unit_bits, digits = _digits(problem)
        split = min(num_bits, _BLOCK_BITS)
        integer = digits.linear.dtype
        spins = isinstance(problem, Ising)

        def states(numbers: Int[Array, "..."], size: int) -> Int[Array, "... size"]:
            bits = (numbers[..., None] >> jnp.arange(size, dtype=jnp.int32)) & 1
            return (2 * bits - 1 if spins else bits).astype(integer)

        block = states(jnp.arange(2**split, dtype=jnp.int32), split)

        @jax.vmap
        def of_block(digit: _Digits) -> Int[Array, "states"]:
            return _pair_sums(block, digit.pairs[:split, :split]) + _sums(block, digit.linear[:split])

        @jax.vmap
        def within(digit: _Digits, rest: Int[Array, "rest"]) -> Int[Array, "states"]:
            alone = _pair_sums(rest[None], digit.pairs[split:, split:]) + _sums(rest[None], digit.linear[split:])
            return _sums(block, _sums(digit.pairs[:split, split:], rest)) + alone

        constant = of_block(digits)

        def lowest_of_block(carry: Any, index: Int[Array, ""]) -> tuple[Any, None]:
            rest = states(index, num_bits - split)
            first, second = constant + within(digits, jnp.stack([rest, rest]))
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
        digits_of_state = (state >> jnp.arange(num_bits, dtype=jnp.int32)) & 1
        return digits_of_state.astype(jnp.int8).reshape(1, *problem.shape), {}

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


def _digits(problem: Problem) -> tuple[int, _Digits]:
    """The coefficients over spins for an Ising problem, whose integers stay integers there, else over bits."""
    if isinstance(problem, Ising):
        matrix, linear = problem.as_matrix() / 4, problem.biases
    else:
        exists = problem.clamp(jnp.ones(problem.shape, jnp.int8)).reshape(-1).astype(problem.dtype)
        matrix = problem.as_matrix() * exists[:, None] * exists[None]
        linear = problem.linear.reshape(-1) * exists
    pairs = -jnp.triu(matrix, 1)
    largest = jnp.maximum(jnp.max(jnp.abs(pairs)), jnp.max(jnp.abs(linear)))
    integer = jnp.dtype(f"int{8 * linear.dtype.itemsize}")
    unit_bits = jnp.iinfo(integer).bits - _CARRY_BITS - 1

    _, exponent = jnp.frexp(largest)

    def split(coefficients: Float[Array, "..."]) -> Int[Array, "digits ..."]:
        # Powers of two round nothing, nor does what is left of the first digit.
        scaled = jnp.ldexp(coefficients, unit_bits - exponent)
        first = jnp.rint(scaled)
        second = jnp.rint(jnp.ldexp(scaled - first, unit_bits))
        return jnp.stack([first, second]).astype(integer)

    return unit_bits, _Digits(split(pairs), split(-linear))


def _sums(states: Int[Array, "states n"], coefficients: Int[Array, "n"]) -> Int[Array, "states"]:
    return jnp.sum(states * coefficients[None], axis=1, dtype=states.dtype)


def _pair_sums(states: Int[Array, "states n"], pairs: Int[Array, "n n"]) -> Int[Array, "states"]:
    return jnp.sum(states[:, :, None] * states[:, None, :] * pairs[None], axis=(1, 2), dtype=states.dtype)
