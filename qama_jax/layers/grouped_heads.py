"""Heads that share keys and values, as in grouped-query attention."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def for_every_head(array: Float[Array, "*batch tokens kv_heads head_dim"], heads: int) -> Float[Array, "..."]:
    """Every head's keys or values, [*batch, tokens, heads, head_dim], where several heads may share one."""
    kv_heads = array.shape[-2]
    if kv_heads == heads:
        return array
    sharding = jax.typeof(array).sharding
    # A mesh with explicit axes needs to be told the sharding: sharded heads stay sharded.
    out_sharding = sharding if sharding.mesh.explicit_axes else None
    return jnp.repeat(array, heads // kv_heads, axis=-2, out_sharding=out_sharding)
