"""Longformer attention: a sliding window and global tokens."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from experiments.models.attend import attend, in_blocks, visible_keys
from qama_jax.checks import check_count


@dataclasses.dataclass(frozen=True)
class Longformer:
    """Softmax attention, equation (1), in the pattern of section 3.1: O(N (w + g) D) for windows of w = 2 r + 1 tokens.

    A token sees the tokens at most r away and the g global ones; a global token sees all and is seen by all. Windows
    are computed in blocks of r queries, which see their own block and the two beside it.

    The paper gives global tokens projections of their own, which start as copies of the others. Here they are shared,
    so that the layer has the parameters of softmax attention. The paper takes the class token or the question for
    global tokens; the first tokens are global here, for want of either.

    Args:
      radius: r.
      num_global: g, may be 0.

    Raises:
      ValueError: if a setting is out of range.

    References:
      Beltagy et al., "Longformer: The Long-Document Transformer", arXiv:2004.05150.
    """

    radius: int = 9
    num_global: int = 8

    def __post_init__(self):
        check_count(radius=self.radius)
        check_count(0, num_global=self.num_global)

    def layer(self, num_heads: int, in_features: int, **settings: Any) -> nnx.MultiHeadAttention:
        """Flax's layer with this attention; an `AttentionFactory`."""
        return nnx.MultiHeadAttention(num_heads, in_features, attention_fn=self, **settings)

    def __call__(
        self,
        query: Float[Array, "*batch tokens heads head_dim"],
        key: Float[Array, "*batch tokens heads head_dim"],
        value: Float[Array, "*batch tokens heads head_dim"],
        mask: Bool[Array, "*batch 1 1 tokens"] | None = None,
        **unused,
    ) -> Float[Array, "*batch tokens heads head_dim"]:
        """An `attention_fn` of Flax. Hidden tokens are seen by none.

        Raises:
          ValueError: if the mask is not one of padding.
        """
        del unused
        tokens = query.shape[-3]
        seen = visible_keys(mask, tokens)
        first = min(self.num_global, tokens)
        local = self._windows(query, key, value, seen, first)
        whole = attend(query[..., :first, :, :], key, value, seen[..., None, None, :])
        return jnp.concatenate([whole, local[..., first:, :, :]], axis=-3)

    def _windows(self, query, key, value, seen, first):
        """All queries over the keys of their windows and the first, global ones."""
        tokens = query.shape[-3]
        block = min(self.radius, tokens)
        blocks = -(-tokens // block)

        def neighbours(x):
            x = jnp.pad(in_blocks(x, blocks, block), [(0, 0)] * (x.ndim - 3) + [(1, 1), (0, 0), (0, 0), (0, 0)])
            beside = (x[..., start : blocks + start, :, :, :] for start in range(3))
            return jnp.concatenate(list(beside), axis=-3)

        def with_global(x):
            near = neighbours(x)
            shared = jnp.broadcast_to(x[..., None, :first, :, :], (*near.shape[:-3], first, *near.shape[-2:]))
            return jnp.concatenate([near, shared], axis=-3)

        position = jnp.arange(blocks * block).reshape(blocks, block, 1)
        offset = jnp.arange(3 * block) - block - jnp.arange(block)[:, None]
        near = (jnp.abs(offset) <= self.radius) & neighbours(seen[..., None, None])[..., None, :, 0, 0]
        far = (jnp.abs(position - jnp.arange(first)) > self.radius) & seen[..., None, None, :first]
        visible = jnp.concatenate([near, jnp.broadcast_to(far, (*near.shape[:-1], first))], axis=-1)
        features = attend(
            in_blocks(query, blocks, block), with_global(key), with_global(value), visible[..., None, :, :]
        )
        return features.reshape(*query.shape[:-3], blocks * block, *query.shape[-2:])[..., :tokens, :, :]
