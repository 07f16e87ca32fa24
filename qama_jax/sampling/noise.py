"""Random numbers for sweeps: made where they are used, a few integer operations each, and never stored.

A sweep draws a number for every bit and visit, and with the cipher behind `jax.random` that is most of its time.
`jax.random` therefore gives two words for every step of a sweep, and the numbers of the step are the hashes of their
places under these two words.

References:
  The finalizer of MurmurHash3, Appleby, public domain (2011), as in Steele, Lea, Flood, "Fast splittable pseudorandom
  number generators", OOPSLA (2014).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt32

_GOLDEN = np.uint32(0x9E3779B9)  # 2^32 over the golden ratio: multiples are spread evenly


def draw_seeds(key: Key[Array, ""], steps: int) -> UInt32[Array, "steps 2"]:
    """Two words for each step of a sweep."""
    return jax.random.bits(key, (steps, 2), jnp.uint32)


def uniform(seed: UInt32[Array, "2"], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Independent numbers in (0, 1): odd multiples of 2^-24."""
    size = math.prod(shape)
    place = jnp.arange(size, dtype=jnp.uint32).reshape(shape)
    hashed = _mix(_mix(place * _GOLDEN + seed[0]) + seed[1])
    return ((hashed >> 9).astype(jnp.int32).astype(jnp.float32) + np.float32(0.5)) * np.float32(2.0**-23)


def exponential(seed: UInt32[Array, "2"], shape: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "..."]:
    """Independent standard exponential numbers."""
    return -jnp.log(uniform(seed, shape)).astype(dtype)


def logistic(seed: UInt32[Array, "2"], shape: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "..."]:
    """Independent standard logistic numbers."""
    drawn = uniform(seed, shape)
    return jnp.log(drawn / (1 - drawn)).astype(dtype)


def normal(seed: UInt32[Array, "2"], shape: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "..."]:
    """Independent standard normal numbers."""
    return (math.sqrt(2) * jax.lax.erf_inv(2 * uniform(seed, shape) - 1)).astype(dtype)


def _mix(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
