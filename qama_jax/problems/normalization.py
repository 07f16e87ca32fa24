"""Standardisation over tokens: what the paper means by "Q, K, V have been normalized"."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qama_jax.batching import constant_like

# A spread below this share of the size is what rounding leaves of a constant.
_RELATIVE_SPREAD = 1e-5

# Powers of two between which values are brought to order 1; beyond, derivatives would leave the range of float32.
_EXPONENTS = -64, 126


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def standardize(
    values: Float[Array, "..."], mask: Bool[Array, "tokens"] | None, token_axis: int
) -> Float[Array, "..."]:
    """Shifts and scales every feature to mean 0 and standard deviation 1 over the valid tokens.

    A feature that is constant over them, up to rounding, says nothing about which token to select: it becomes
    0, and so does its gradient. Tokens outside `mask` become 0 and enter no statistic.
    """
    return _standardize_forward(values, mask, token_axis)[0]


def _standardize_forward(values, mask, token_axis):
    standardized, inverse_deviation = _standardize(values, _along(mask, token_axis, values.ndim), token_axis)
    return standardized, (standardized, inverse_deviation, mask)


def _standardize_backward(token_axis, residuals, cotangent):
    # In closed form, two reductions; differentiating the passes of the forward computation takes many more.
    standardized, inverse_deviation, mask = residuals
    one_feature = standardized[tuple(slice(None) if axis == token_axis else 0 for axis in range(standardized.ndim))]
    weights = constant_like(one_feature, 1) if mask is None else mask.astype(standardized.dtype)
    weights = weights / jnp.maximum(jnp.sum(weights), 1)
    mask = _along(mask, token_axis, standardized.ndim)

    def mean(values):
        # A product with a vector: on CPUs, XLA takes up to twenty times longer for a sum of products of two arrays.
        total = jnp.tensordot(weights, values, axes=(0, token_axis), precision=jax.lax.Precision.HIGHEST)
        return jnp.expand_dims(total, token_axis)

    cotangent = _where_valid(cotangent * inverse_deviation, mask)
    cotangent = cotangent - mean(cotangent) - standardized * mean(standardized * cotangent)
    return _where_valid(cotangent, mask), None


standardize.defvjp(_standardize_forward, _standardize_backward)


def _standardize(values: Float[Array, "..."], mask: Bool[Array, "..."] | None, axis: int):
    mean = functools.partial(_mean, mask=mask, axis=axis)
    values = _where_valid(values, mask)
    scale = power_of_two(jnp.max(jnp.abs(values), axis=axis, keepdims=True))
    values = values * scale
    shift = mean(values)
    values = _where_valid(values - shift, mask)
    # What rounding leaves of a mean much larger than the spread goes in the same pass as the variance.
    rest = mean(values)
    inverse = inverse_deviation(mean(values**2) - rest**2, shift)
    return _where_valid(values - rest, mask) * inverse, inverse * scale


def power_of_two(largest: Float[Array, "..."]) -> Float[Array, "..."]:
    """What brings values to order 1, of which these are the largest magnitudes.

    Else squares of large values overflow and those of small ones vanish; a power of two rounds nothing.
    """
    _, exponent = jnp.frexp(largest)
    return jnp.ldexp(jnp.ones((), largest.dtype), -jnp.clip(exponent, *_EXPONENTS))


def inverse_deviation(variance: Float[Array, "..."], mean: Float[Array, "..."]) -> Float[Array, "..."]:
    """One over the standard deviation, or 0 where the spread is what rounding leaves of a constant."""
    constant = variance <= _RELATIVE_SPREAD**2 * (variance + mean**2)
    return jnp.where(constant, 0, jax.lax.rsqrt(jnp.where(constant, 1, variance)))


def _along(mask: Bool[Array, "tokens"] | None, axis: int, ndim: int) -> Bool[Array, "..."] | None:
    return None if mask is None else jnp.expand_dims(mask, [other for other in range(ndim) if other != axis])


def _mean(values: Float[Array, "..."], *, mask: Bool[Array, "..."] | None, axis: int) -> Float[Array, "..."]:
    count = values.shape[axis] if mask is None else jnp.maximum(jnp.sum(mask.astype(values.dtype)), 1)
    return jnp.sum(values, axis=axis, keepdims=True) / count


def _where_valid(values: Float[Array, "..."], mask: Bool[Array, "..."] | None) -> Float[Array, "..."]:
    return values if mask is None else jnp.where(mask, values, 0)
