"""Sweeps over the tokens of an array, block by block: what a block leaves in the caches is not fetched twice."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jaxtyping import Array, Shaped

_Carry = TypeVar("_Carry")

# Numbers of a block: 256 KiB in float32, so that a few such arrays fit the cache of a core.
NUMBERS = 2**16


def by_platform(function: Callable[..., Any], shape: tuple[int, int, int], *operands: Any) -> Any:
    """`function(block, *operands)` with the number of tokens in a block that suits the platform.

    Caches are a matter of CPUs. Accelerators want few and large operations, and so do several devices, over which the
    tokens may be sharded: for them one block holds all tokens, and `sweep` has no loop.

    Args:
      function: a computation that sweeps over tokens.
      shape: tokens, heads and head_dim of its arrays; the number of tokens may be symbolic.
      *operands: its arrays.
    """
    tokens, heads, head_dim = shape
    block = max(NUMBERS // (heads * head_dim) // 64, 1) * 64
    if not isinstance(tokens, int) or tokens <= block or jax.device_count() > 1:
        return function(tokens, *operands)
    return jax.lax.platform_dependent(
        *operands,
        cpu=lambda *operands: function(block, *operands),
        default=lambda *operands: function(tokens, *operands),
    )


def sweep(step: Callable[[_Carry, Any, Any], _Carry], carry: _Carry, tokens: Any, block: Any) -> _Carry:
    """`carry = step(carry, start, size)` for each block, the one that is not whole first."""
    if block == tokens:
        return step(carry, 0, tokens)
    whole, rest = divmod(tokens, block)
    if rest:
        carry = step(carry, whole * block, rest)
    return jax.lax.fori_loop(0, whole, lambda i, carry: step(carry, i * block, block), carry)


def take(array: Shaped[Array, "..."], start: Any, size: Any, axis: int) -> Shaped[Array, "..."]:
    """The tokens of a block."""
    return array if size == array.shape[axis] else jax.lax.dynamic_slice_in_dim(array, start, size, axis)


def put(array: Shaped[Array, "..."], block: Shaped[Array, "..."], start: Any, axis: int) -> Shaped[Array, "..."]:
    """`array` with its tokens from `start` on replaced by those of a block."""
    whole = array.shape[axis] == block.shape[axis]
    return block if whole else jax.lax.dynamic_update_slice_in_dim(array, block, start, axis)
