"""The edge of the spectrum of couplings, by products with vectors alone."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# For the largest eigenvalue in magnitude, then for the lowest. Outlying ones, which matter most, converge fastest; a
# bulk edge is met to a few percent, and on sparse graphs to a tenth.
_ITERATIONS = 10, 20


def lowest_eigenvalue(
    couple: Callable[[Float[Array, "..."]], Float[Array, "..."]], shape: tuple[int, ...], dtype: jnp.dtype
) -> Float[Array, ""]:
    """Estimate of the lowest eigenvalue of the symmetric map `couple`; at most 0.

    By power iteration, first for the largest eigenvalue in magnitude, then shifted by it.
    """
    # A product takes out of the start what bits without couplings have, which would fade slowly.
    start = _normalized(couple(jax.random.normal(jax.random.key(0), shape, dtype)))

    def iterate(shift, count):
        def step(_, vector):
            return _normalized(shift * vector - couple(vector))

        vector = jax.lax.fori_loop(0, count, step, start)
        return vector, couple(vector)

    _, product = iterate(jnp.zeros((), dtype), _ITERATIONS[0])
    vector, product = iterate(_norm(product), _ITERATIONS[1])
    return jnp.minimum(jnp.sum(vector * product), 0)


def _norm(vector: Float[Array, "..."]) -> Float[Array, ""]:
    largest = jnp.max(jnp.abs(vector))
    return largest * jnp.sqrt(jnp.sum((vector / jnp.where(largest > 0, largest, 1)) ** 2))


def _normalized(vector: Float[Array, "..."]) -> Float[Array, "..."]:
    tiny = jnp.finfo(vector.dtype).tiny
    vector = vector / jnp.maximum(jnp.max(jnp.abs(vector)), tiny)
    return vector / jnp.maximum(jnp.sqrt(jnp.sum(vector**2)), tiny)
