"""Linear attention in the place of softmax, over all keys."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float


def linear_attention(
    query: Float[Array, "*batch queries heads head_dim"],
    key: Float[Array, "*batch keys heads head_dim"],
    value: Float[Array, "*batch keys heads head_dim"],
    mask: Bool[Array, "*batch 1 1 keys"] | None = None,
    **unused,
) -> Float[Array, "*batch queries heads head_dim"]:
    """An `attention_fn` of Flax, of O(N D²): Katharopoulos et al., arXiv:2006.16236, with φ(x) = elu(x) + 1.

    The other arguments that Flax passes are of dropout and of types, which no model here uses.
    """
    del unused
    query, key = jax.nn.elu(query) + 1, jax.nn.elu(key) + 1
    if mask is not None:
        key = key * mask[..., 0, 0, :, None, None].astype(key.dtype)
    total = jnp.einsum("...nhd,...hd->...nh", query, jnp.sum(key, axis=-3))
    features = jnp.einsum("...nhd,...hde->...nhe", query, jnp.einsum("...mhd,...mhe->...hde", key, value))
    return features / jnp.where(total > 0, total, 1)[..., None]


# The layer: Flax's, with the same parameters.
LinearAttention = functools.partial(nnx.MultiHeadAttention, attention_fn=linear_attention)
