"""Numbers of tokens, which `jax.export` may leave symbolic."""

import jax.core


def at_most(smaller: int, larger: int) -> bool:
    """Whether `smaller <= larger`; False where a number is symbolic, and its constraints do not settle it."""
    return jax.core.max_dim(smaller, larger) == larger


def smaller_of(one: int, other: int) -> int:
    """The smaller number, itself symbolic where constraints do not settle which that is."""
    return jax.core.min_dim(one, other)


def larger_of(one: int, other: int) -> int:
    """The larger number, itself symbolic where constraints do not settle which that is."""
    return jax.core.max_dim(one, other)
