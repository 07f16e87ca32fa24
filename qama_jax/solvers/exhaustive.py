"""Exhaustive enumeration: the oracle for small problems."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from qama_jax.problems.base import Bits, Problem

_MAX_BITS = 24
_BITS_PER_BLOCK = 12


@dataclasses.dataclass(frozen=True)
class Exhaustive:
    """Computes the energy of every state and returns a lowest one; at most 24 bits. The key has no effect.

    Raises:
      ValueError: when solving a problem of more than 24 bits, or from a warm start.
    """

    num_reads = 1

    def sample(self, key: Key[Array, ""], problem: Problem, initial_bits: Bits | None) -> tuple[Bits, dict[str, Array]]:
        del key
        if initial_bits is not None:
            raise ValueError("initial_bits cannot be honoured: Exhaustive visits every state; leave them out")
        num_bits = math.prod(problem.shape)
        if num_bits > _MAX_BITS:
            raise ValueError(
                f"Exhaustive takes at most {_MAX_BITS} bits, the problem has {num_bits}: "
                f"2**{num_bits} states; use SimulatedBifurcation instead"
            )
        block_bits = min(num_bits, _BITS_PER_BLOCK)
        block = jnp.arange(2**block_bits, dtype=jnp.int32)

        def lowest_of_block(carry, index):
            states = index * 2**block_bits + block
            energies = jax.vmap(lambda state: problem.energy(problem.clamp(_to_bits(state, problem.shape))))(states)
            best = jnp.argmin(energies)
            state, energy = carry
            better = energies[best] < energy
            return (jnp.where(better, states[best], state), jnp.where(better, energies[best], energy)), None

        # Like the problem, so that `jax.shard_map` knows them to vary as it does.
        start = (
            jnp.zeros_like(problem.linear, dtype=jnp.int32, shape=()),
            jnp.full_like(problem.linear, jnp.inf, shape=()),
        )
        blocks = jnp.arange(2 ** (num_bits - block_bits), dtype=jnp.int32)
        (state, _), _ = jax.lax.scan(lowest_of_block, start, blocks)
        return _to_bits(state, problem.shape)[None], {}


def _to_bits(state: Int[Array, ""], shape: tuple[int, ...]) -> Bits:
    digits = (state >> jnp.arange(math.prod(shape), dtype=jnp.int32)) & 1
    return digits.astype(jnp.int8).reshape(shape)
