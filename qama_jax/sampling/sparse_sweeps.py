"""Sweeps over single bits of a sparse problem, all bits of a step at once."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Int8

from qama_jax.problems.base import Bits, register_pytree
from qama_jax.problems.sparse import SparseCouplings
from qama_jax.sampling.sweeps import Choose


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class SparseSweeper:
    """A sparse problem arranged for sequential updates. States are int8 arrays [places, replicas] of 0 and 1.

    Bits of a step have one colour: they share no coupling, and move at once, each as if it were alone. A neighbour of
    a bit is a contiguous row of a byte for each replica. What stands at places without a bit is of no account.

    Attributes:
      neighbors: int32 [chunks, unroll, size], places of the neighbours; some chunks in a row belong to each step.
      weights: [chunks, unroll, size], their couplings; 0 where there is none.
      first_chunk: int32 [steps + 1], where the chunks of each step begin.
      linear: [steps, size].
      bits: int32 [steps, size], the bit at each place, -1 where there is none.
      places: int32 [n], the place of each bit.
    """

    neighbors: Int[Array, "chunks unroll size"]
    weights: Float[Array, "chunks unroll size"]
    first_chunk: Int[Array, "bounds"]
    linear: Float[Array, "steps size"]
    bits: Int[Array, "steps size"]
    places: Int[Array, "n"]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of steps, and of bits in one."""
        steps, size = self.linear.shape
        return steps, size

    def arrange(self, bits: Bits) -> Int8[Array, "places replicas"]:
        """From bits [replicas, n] to a state."""
        return bits.astype(jnp.int8).T[self.bits.reshape(-1)]

    def restore(self, state: Int8[Array, "places replicas"], shape: tuple[int, ...]) -> Bits:
        """From a state to bits [replicas, *shape]."""
        return state[self.places].T.reshape(-1, *shape)

    def sweep(
        self, state: Int8[Array, "places replicas"], inputs: Any, choose: Choose
    ) -> Int8[Array, "places replicas"]:
        """Visits every step once, in order.

        Args:
          state: where the sweep starts.
          inputs: arrays with a leading axis of steps, whose rows are passed to `choose`.
          choose: new bits of a step from its inputs, bits and field (how much bits at 1 lower the energy), all
            [replicas, size].

        Returns:
          The state after the sweep.
        """
        steps, size = self.shape
        chunks, unroll, _ = self.neighbors.shape

        def step(x, row):
            index, linear, inputs = row

            def add(chunk, total):
                neighbors, weights = self.neighbors[chunk], self.weights[chunk]
                for k in range(unroll):
                    neighbor = x.at[neighbors[k]].get(mode="promise_in_bounds").astype(total.dtype)
                    total = total + weights[k][:, None] * neighbor
                return total

            first, end = self.first_chunk[index], self.first_chunk[index + 1]
            field = add(first, jnp.broadcast_to(linear[:, None], (size, x.shape[1])))
            if chunks > steps:
                field = jax.lax.fori_loop(first + 1, end, add, field)
            bits = jax.lax.dynamic_slice_in_dim(x, index * size, size).astype(field.dtype)
            new = choose(inputs, bits.T, field.T).T.astype(x.dtype)
            return jax.lax.dynamic_update_slice_in_dim(x, new, index * size, axis=0), None

        return jax.lax.scan(step, state, (jnp.arange(steps, dtype=jnp.int32), self.linear, inputs))[0]


def sparse_sweeper(couplings: SparseCouplings, linear: Float[Array, "n"]) -> SparseSweeper:
    """A sweeper of the energy `-linearᵀx - ½ xᵀ couplings x`, with the diagonal left out."""
    bits, entries = couplings.steps, couplings.step_entries
    slots = jnp.arange(bits.size, dtype=jnp.int32).reshape(bits.shape)
    places = jnp.zeros(linear.size, jnp.int32).at[jnp.where(bits >= 0, bits, linear.size)].set(slots, mode="drop")
    neighbors = places[couplings.neighbors.reshape(-1)[entries]]
    weights = jnp.where(entries >= 0, couplings.weights.reshape(-1)[entries], 0)
    first_chunk = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(couplings.step_chunks, dtype=jnp.int32)])
    return SparseSweeper(neighbors, weights, first_chunk, linear[bits], bits, places)
