"""Checks of arguments: always of their shapes, and of their values where these are known."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from qama_jax.problems.base import Bits, Problem, as_float_array, check_bits


def checked_state(problem: Problem, bits: Any, name: str) -> Bits:
    """The bits of one state, those that the problem holds fixed at their values."""
    if not isinstance(problem, Problem):
        raise ValueError(
            f"problem must be a Qubo, an Ising or an AttentionHamiltonian, got {type(problem).__name__}; "
            "wrap a matrix as qama_jax.Qubo(matrix)"
        )
    bits = jnp.asarray(bits)
    if bits.shape != problem.shape:
        raise ValueError(
            f"{name} must have the shape of the problem {problem.shape}, got {bits.shape}; for a batch, jax.vmap"
        )
    check_bits(bits, name)
    return problem.clamp(bits.astype(jnp.int8))


def with_last_axis(values: Any, name: str, axis: str) -> Float[Array, "*batch n"]:
    """`values` as an array that has a last axis, which the message calls `axis`."""
    array = as_float_array(values, name)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"{name} must be [*batch, {axis}] with at least one of them, got shape {array.shape}")
    return array


def for_each_row(value: Any, name: str, rows: Float[Array, "*batch n"]) -> Float[Array, "*batch 1"]:
    """One value for all rows, or one for each, to be broadcast along them."""
    array = as_float_array(value, name).astype(rows.dtype)
    if array.shape not in ((), rows.shape[:-1]):
        raise ValueError(
            f"{name} must be a scalar or of shape {rows.shape[:-1]}, one for each problem, got shape {array.shape}"
        )
    return jnp.broadcast_to(array, rows.shape[:-1])[..., None]
