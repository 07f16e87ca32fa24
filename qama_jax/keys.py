"""Where random numbers start: the seeds of commands and samplers, the key of evaluation."""

import numbers

import jax
import numpy as np
from jaxtyping import Array, Key

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


def evaluation_key() -> Key[Array, ""]:
    """The key of layers that are deterministic or have no random stream: always the same."""
    return jax.random.key(0)
