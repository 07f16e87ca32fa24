"""Standardisation over tokens: what the paper means by "Q, K, V have been normalized"."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# A spread below this share of the size is what rounding leaves of a constant.
_RELATIVE_SPREAD = 1e-5


def standardize(
    values: Float[Array, "tokens *features"], mask: Bool[Array, "tokens"] | None = None
) -> Float[Array, "tokens *features"]:
    """Shifts and scales every feature to mean 0 and standard deviation 1 over the valid tokens.

    A feature that is constant over them, up to rounding, says nothing about which token to select: it becomes
    0, and so does its gradient. Tokens outside `mask` become 0 and enter no statistic.
    """
    if mask is None:
        weights = jnp.ones((1,) * values.ndim, values.dtype)
        count = values.shape[0]
    else:
        weights = mask.astype(values.dtype).reshape(-1, *(1,) * (values.ndim - 1))
        values = jnp.where(weights > 0, values, 0)
        count = jnp.maximum(jnp.sum(weights), 1)
    size = jax.lax.stop_gradient(jnp.sum(values**2, axis=0, keepdims=True) / count)
    # The second pass removes what rounding leaves of a mean much larger than the spread.
    for _ in range(2):
        values = weights * (values - jnp.sum(values, axis=0, keepdims=True) / count)
    variance = jnp.sum(values**2, axis=0, keepdims=True) / count
    constant = variance <= _RELATIVE_SPREAD**2 * size
    return jnp.where(constant, 0, values) * jax.lax.rsqrt(jnp.where(constant, 1, variance))
