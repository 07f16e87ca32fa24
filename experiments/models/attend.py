"""Dense attention over chosen keys, the part that the sparse baselines share."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def visible_keys(mask: Bool[Array, "*batch 1 1 keys"] | None, keys: int) -> Bool[Array, "*batch keys"]:
    """The padding mask of a block without its axes of heads and queries; all True without a mask.

    Raises:
      ValueError: if the mask is more than one of padding, the same for all heads and queries.
    """
    if mask is None:
        return jnp.ones(keys, bool)
    if mask.shape[-3:] != (1, 1, keys):
        raise ValueError(f"mask must be one of padding, [*batch, 1, 1, {keys}], got {mask.shape}")
    return mask[..., 0, 0, :].astype(bool)


def in_blocks(x: Array, blocks: int, size: int) -> Array:
    """[*batch, tokens, heads, head_dim] as [*batch, blocks, size, heads, head_dim], 0 beyond the end."""
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(0, blocks * size - x.shape[-3]), (0, 0), (0, 0)])
    return x.reshape(*x.shape[:-3], blocks, size, *x.shape[-2:])


def attend(
    query: Float[Array, "*batch queries heads head_dim"],
    key: Float[Array, "*batch keys heads head_dim"],
    value: Float[Array, "*batch keys heads head_dim"],
    visible: Bool[Array, "*batch #heads #queries keys"],
) -> Float[Array, "*batch queries heads head_dim"]:
    """Softmax attention over the visible keys; what a query that sees none gets is finite, and means nothing."""
    logits = jnp.einsum("...qhd,...khd->...hqk", query, key) / query.shape[-1] ** 0.5
    weights = jax.nn.softmax(jnp.where(visible, logits, jnp.finfo(logits.dtype).min))
    return jnp.einsum("...hqk,...khd->...qhd", weights, value)
