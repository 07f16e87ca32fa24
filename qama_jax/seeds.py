"""Where random numbers start: the seeds of commands and samplers, and PRNG keys as arguments."""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_LIMIT = 2**32  # without x64, JAX takes larger seeds modulo this


def choose_seed(seed: int | None) -> int:
    """`seed` checked, or for None a fresh one from the system's entropy.

    Raises:
      ValueError: if `seed` is no integer between 0 and 2**32 - 1.
    """
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or not 0 <= seed < _LIMIT:
        raise ValueError(f"seed must be an integer between 0 and 2**32 - 1, got {seed!r}; leave it out for a fresh one")
    return int(seed)


def check_key(key: Any, name: str) -> None:
    """Raises `ValueError`, naming the argument, unless `key` is a single typed PRNG key."""
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise ValueError(f"{name} must be a typed PRNG key; pass jax.random.key(seed), not jax.random.PRNGKey(seed)")
    if key.shape != ():
        raise ValueError(f"{name} must be a single key, got shape {key.shape}; for a batch of keys, use jax.vmap")
