"""Numbers of tokens, which `jax.export` may leave symbolic."""

import jax.core


def at_most(smaller: int, larger: int) -> bool:
    """Whether `smaller <= larger`; False where a number is symbolic, and its constraints do not settle it."""
    return jax.core.max_dim(smaller, larger) == larger
