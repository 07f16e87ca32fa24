"""Sweeps over single bits, many at a time: what a sequential solver moves.

Bits of an attention problem are coupled where they share the head or the token, as cells of an H×N board share a row
or a column (the rook's graph). The diagonals of the board are therefore its colours: the bits `(t, color - t)`, one of
each head, share no edge and can be updated at once, each as if it were alone. Arrays are stored by colour ("skewed"),
so that a step of the sweep reads one contiguous row, and a sweep is one `jax.lax.scan`. There are N + H - 1 diagonals:
tokens enter the scan once and leave it once, and nothing wraps around. Dense problems are a board of one row.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qama_jax.problems.base import Bits, register_pytree
from qama_jax.problems.coupling import DenseCoupling, LowRankCoupling

# Chooses the new bits of a colour: (inputs, bits [replicas, heads], field [replicas, heads]) -> bits.
Choose = Callable[[Any, Float[Array, "replicas heads"], Float[Array, "replicas heads"]], Float[Array, "replicas heads"]]


def skew(values: Float[Array, "heads tokens ..."]) -> Float[Array, "colors heads ..."]:
    """Row `color` holds the entries `(t, color - t)`, 0 where there is no such token."""
    heads, tokens, *rest = values.shape
    padded = jnp.pad(values, [(0, 0), (0, heads)] + [(0, 0)] * len(rest))
    flat = padded.reshape(heads * (tokens + heads), *rest)[: heads * (tokens + heads - 1)]
    return jnp.swapaxes(flat.reshape(heads, tokens + heads - 1, *rest), 0, 1)


def unskew(values: Float[Array, "colors heads ..."]) -> Float[Array, "heads tokens ..."]:
    """The inverse of `skew`."""
    colors, heads, *rest = values.shape
    flat = jnp.swapaxes(values, 0, 1).reshape(heads * colors, *rest)
    padded = jnp.pad(flat, [(0, heads)] + [(0, 0)] * len(rest))
    return padded.reshape(heads, colors + 1, *rest)[:, : colors - heads + 1]


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class DenseRows:
    """Couplings as matrices. A sweep carries the products J s; a flip adds a row, O(N)."""

    rows: Float[Array, "colors heads colors"]

    @classmethod
    def from_matrix(cls, matrix: Float[Array, "heads tokens tokens"]) -> "DenseRows":
        by_row = skew(matrix)
        by_column = skew(jnp.moveaxis(by_row, 0, 2))
        return cls(jnp.swapaxes(by_column, 0, 2))

    def start(self, bits: Float[Array, "colors replicas heads"]) -> Float[Array, "replicas heads colors"]:
        return jnp.einsum("crh,chk->rhk", bits, self.rows, precision=jax.lax.Precision.HIGHEST)

    def inputs(self) -> tuple[Array, Array]:
        return jnp.arange(self.rows.shape[0]), self.rows

    def product(self, sums: Float[Array, "..."], inputs: Any, bits: Float[Array, "..."]) -> Float[Array, "..."]:
        del bits
        return jax.lax.dynamic_index_in_dim(sums, inputs[0], axis=2, keepdims=False)

    def update(self, sums: Float[Array, "..."], inputs: Any, change: Float[Array, "..."]) -> Float[Array, "..."]:
        return sums + change[..., None] * inputs[1][None]


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class LowRankRows:
    """Couplings by their factors, see `LowRankCoupling`. A sweep carries `Qᵀs` and `Σs`; a flip costs O(D)."""

    query: Float[Array, "colors heads head_dim"]
    projected: Float[Array, "colors heads head_dim"]
    shift: Float[Array, "heads"]
    curvature: Float[Array, "colors heads"]

    def start(self, bits: Float[Array, "colors replicas heads"]) -> tuple[Array, Array]:
        projection = jnp.einsum("crh,chd->rhd", bits, self.query, precision=jax.lax.Precision.HIGHEST)
        return projection, jnp.sum(bits, axis=0)

    def inputs(self) -> tuple[Array, Array, Array]:
        return self.query, self.projected, self.curvature

    def product(self, sums: Any, inputs: Any, bits: Float[Array, "replicas heads"]) -> Float[Array, "replicas heads"]:
        (projection, total), (_, projected, curvature) = sums, inputs
        full = jnp.sum(projection * projected[None], axis=-1) - self.shift[None] * total
        return full - curvature[None] * bits

    def update(self, sums: Any, inputs: Any, change: Float[Array, "replicas heads"]) -> Any:
        (projection, total), (query, _, _) = sums, inputs
        return projection + change[..., None] * query[None], total + change


@register_pytree
@dataclasses.dataclass(frozen=True, eq=False)
class Sweeper:
    """A problem arranged for sequential updates. States are arrays [colors, replicas, heads] of 0 and 1.

    Attributes:
      couplings: the couplings within each head.
      linear: [colors, heads].
      penalty: λ, what two heads pay for the same token; 0 for dense problems.
      exists: [colors, heads], where there is a bit that is not held fixed at 0.
    """

    couplings: DenseRows | LowRankRows
    linear: Float[Array, "colors heads"]
    penalty: Float[Array, ""]
    exists: Bool[Array, "colors heads"]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of colours, and of bits in one."""
        colors, heads = self.linear.shape
        return colors, heads

    def arrange(self, bits: Bits) -> Float[Array, "colors replicas heads"]:
        """From bits [replicas, *problem.shape] to a state."""
        colors, heads = self.shape
        by_head = bits.astype(self.linear.dtype).reshape(-1, heads, colors - heads + 1)
        arranged = jax.vmap(skew, out_axes=1)(by_head)
        return arranged * self.exists.astype(arranged.dtype)[:, None]

    def restore(self, state: Float[Array, "colors replicas heads"], shape: tuple[int, ...]) -> Bits:
        """From a state to bits [replicas, *shape]."""
        bits = jax.vmap(unskew, in_axes=1)(state)
        return bits.astype(jnp.int8).reshape(-1, *shape)

    def sweep(
        self, state: Float[Array, "colors replicas heads"], inputs: Any, choose: Choose
    ) -> Float[Array, "colors replicas heads"]:
        """Visits every colour once, in order.

        Args:
          state: where the sweep starts.
          inputs: arrays with a leading axis of colours, whose rows are passed to `choose`.
          choose: new bits of a colour from its inputs, bits and field (how much bits at 1 lower the energy).

        Returns:
          The state after the sweep.
        """
        _, replicas, heads = state.shape
        entering = self._heads_selecting(state)
        first = jnp.zeros((replicas, heads), state.dtype).at[:, 0].set(entering[0])
        following = jnp.roll(entering, -1, axis=0).at[-1].set(0)

        def step(carry, row):
            sums, selecting = carry
            couplings, linear, exists, entering, bits, inputs = row
            field = self.couplings.product(sums, couplings, bits) + linear[None]
            field = field - self.penalty * (selecting - bits)
            new = jnp.where(exists[None], choose(inputs, bits, field), 0)
            change = new - bits
            sums = self.couplings.update(sums, couplings, change)
            # The next colour has the token that head 0 had at head 1, and so on; one token enters.
            selecting = jnp.concatenate([entering[:, None], (selecting + change)[:, :-1]], axis=1)
            return (sums, selecting), new

        rows = (self.couplings.inputs(), self.linear, self.exists, following, state, inputs)
        _, new = jax.lax.scan(step, (self.couplings.start(state), first), rows)
        return new

    def _heads_selecting(self, state: Float[Array, "colors replicas heads"]) -> Float[Array, "colors replicas"]:
        """How many heads select each token, at the colour where the token enters."""
        heads = state.shape[2]
        entering = (jnp.pad(state[head:, :, head], ((0, head), (0, 0))) for head in range(heads))
        return functools.reduce(jnp.add, entering)


def make_rows(coupling: DenseCoupling | LowRankCoupling) -> DenseRows | LowRankRows:
    """The couplings of an attention problem as sweeps read them."""
    if isinstance(coupling, DenseCoupling):
        return DenseRows.from_matrix(coupling.matrix)
    query = jnp.swapaxes(coupling.query, 1, 2)
    projected = jnp.einsum("hnd,hde->hne", query, coupling.gram, precision=jax.lax.Precision.HIGHEST)
    return LowRankRows(skew(query), skew(projected), coupling.shift[:, 0], skew(coupling.curvature))
