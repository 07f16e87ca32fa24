"""A causal window and a memory of chunks, each with a softmax of its own, in a mixture that each head learns."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from qama_jax.readouts.dropout import Dropout
from qama_jax.readouts.memory import Branch, MemoryReadout
from qama_jax.readouts.selection import attend, attention_weights, hidden
from qama_jax.readouts.window import attend_window


@dataclasses.dataclass(frozen=True)
class MixedMemoryReadout(MemoryReadout):
    """The window and the memory of `MemoryReadout`, mixed as `MixedReadout` mixes: O(N (C + r + m) D).

        o_i = softmax over the window of i + g_t · softmax over the remembered keys that i sees

    Each of the two is normalised on its own. The weights g_t, one per head, are a parameter of the layer, `mix`. They
    start at 0, so that a layer begins as the window alone and opens to the memory where it helps. A token that
    remembers nothing reads its window alone. If not `causal`, remembered keys within the window are read by both.

    Args:
      **: as in `MemoryReadout`.

    Raises:
      ValueError: as `MemoryReadout`.

    References:
      Those of `MemoryReadout` and `MixedReadout`.
    """

    mixes: ClassVar[bool] = True

    def weigh(
        self, near: Branch, far: Branch, dropout: Dropout | None, mix: Float[Array, "heads"] | None
    ) -> tuple[Array, Array]:
        """See `MemoryReadout`; without `mix` this is the window alone, as at the start."""
        of_near, of_far = (None, None) if dropout is None else dropout.split()
        near_weights, far_weights = (
            attention_weights(jnp.where(branch.seen, branch.logits, hidden(branch.logits.dtype)), drops, head_axis=0)
            for branch, drops in ((near, of_near), (far, of_far))
        )
        if mix is None:
            return near_weights, jnp.zeros_like(far_weights)
        share = mix.astype(far_weights.dtype).reshape(-1, *[1] * (far_weights.ndim - 1))
        return near_weights, jnp.where(far.seen, share * far_weights, 0)

    def _attend_to_all(self, query, key, value, valid, selection, dropout, mix):
        of_near, of_far = (None, None) if dropout is None else dropout.split()
        nothing = selection.take(jnp.zeros((query.shape[1], 0), jnp.int32))
        near = attend_window(query, key, value, valid, nothing, self.radius, of_near)
        if mix is None:
            return near
        bias = selection.log_gates[:, None]
        far = attend(query, selection.gather(key), selection.gather(value), bias, of_far)
        exists = jnp.any(selection.exists, axis=1)[None, :, None]
        return near + mix.astype(far.dtype)[None, :, None] * jnp.where(exists, far, 0)
