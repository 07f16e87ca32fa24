"""Sweeps over single bits of a sparse problem, all bits of a step at once."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from qama_jax.problems.base import Bits, register_pytree
from qama_jax.problems.sparse import SparseCouplings, gather_products
from qama_jax.sampling.sweeps import Choose


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class SparseSweeper:
    """A sparse problem arranged for sequential updates. States are arrays [steps, replicas, size] of 0 and 1.

    Bits of a step have one colour: they share no coupling, and move at once, each as if it were alone. Inside of a
    sweep replicas come last, so that a neighbour of a bit is a contiguous row.

    Attributes:
      neighbors: int32 [steps, width, size + extra], places of the neighbours in the order of the steps.
      weights: [steps, width, size + extra], their couplings; 0 where there is none.
      owners: int32 [steps, extra], of the lists after the first `size`, the bit within the step.
      linear: [steps, size].
      exists: [steps, size], where there is a bit.
      bits: int32 [steps, size], which it is.
      places: int32 [n], where in the order of the steps each bit is.
    """

    neighbors: Int[Array, "steps width lists"]
    weights: Float[Array, "steps width lists"]
    owners: Int[Array, "steps extra"]
    linear: Float[Array, "steps size"]
    exists: Bool[Array, "steps size"]
    bits: Int[Array, "steps size"]
    places: Int[Array, "n"]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of steps, and of bits in one."""
        steps, size = self.linear.shape
        return steps, size

    def arrange(self, bits: Bits) -> Float[Array, "steps replicas size"]:
        """From bits [replicas, n] to a state."""
        rows = bits.astype(self.linear.dtype).T[self.bits]
        return jnp.swapaxes(jnp.where(self.exists[..., None], rows, 0), 1, 2)

    def restore(self, state: Float[Array, "steps replicas size"], shape: tuple[int, ...]) -> Bits:
        """From a state to bits [replicas, *shape]."""
        return self._by_bit(state)[self.places].T.astype(jnp.int8).reshape(-1, *shape)

    def sweep(
        self, state: Float[Array, "steps replicas size"], inputs: Any, choose: Choose
    ) -> Float[Array, "steps replicas size"]:
        """Visits every step once, in order.

        Args:
          state: where the sweep starts.
          inputs: arrays with a leading axis of steps, whose rows are passed to `choose`.
          choose: new bits of a step from its inputs, bits and field (how much bits at 1 lower the energy).

        Returns:
          The state after the sweep.
        """
        steps, replicas, size = state.shape

        def step(x, row):
            start, neighbors, weights, owners, linear, exists, inputs = row
            field = gather_products(neighbors, weights, owners, x) + linear[:, None]
            bits = jax.lax.dynamic_slice_in_dim(x, start, size)
            new = jnp.where(exists[:, None], choose(inputs, bits.T, field.T).T, 0)
            return jax.lax.dynamic_update_slice_in_dim(x, new, start, axis=0), None

        starts = size * jnp.arange(steps, dtype=jnp.int32)
        rows = (starts, self.neighbors, self.weights, self.owners, self.linear, self.exists, inputs)
        x, _ = jax.lax.scan(step, self._by_bit(state), rows)
        return jnp.swapaxes(x.reshape(steps, size, replicas), 1, 2)

    def _by_bit(self, state: Float[Array, "steps replicas size"]) -> Float[Array, "places replicas"]:
        return jnp.swapaxes(state, 1, 2).reshape(-1, state.shape[1])


def sparse_sweeper(couplings: SparseCouplings, linear: Float[Array, "n"]) -> SparseSweeper:
    """Of the energy `-linearᵀx - ½ xᵀ couplings x`, the diagonal left out."""
    n = linear.size
    exists = couplings.steps >= 0
    bits = jnp.maximum(couplings.steps, 0)
    size = bits.shape[1]
    places = (
        jnp.zeros(n, jnp.int32)
        .at[jnp.where(exists, couplings.steps, n)]
        .set(jnp.arange(bits.size, dtype=jnp.int32).reshape(bits.shape), mode="drop")
    )
    # The first list of each bit has the bit's number.
    lists = jnp.concatenate([couplings.steps, couplings.step_lists], axis=1)
    used, lists = lists >= 0, jnp.maximum(lists, 0)
    neighbors = jnp.moveaxis(places[couplings.neighbors][:, lists], 0, 1)
    weights = jnp.where(used[:, None], jnp.moveaxis(couplings.weights[:, lists], 0, 1), 0)
    owners = jnp.concatenate([jnp.arange(n, dtype=jnp.int32), couplings.owners])
    within = (places[owners] % size)[lists[:, size:]]
    return SparseSweeper(neighbors, weights, within, linear[bits], exists, bits, places)
